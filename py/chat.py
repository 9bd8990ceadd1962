"""Talk to a run's adapter, or to the base model, in the terminal; or ask one question.

    python py/chat.py tiny-llm_train_2000 -- llamafactory-cli api --model_name_or_path saves/tiny/base ...
    python py/chat.py tiny-llm_train_2000 --ask "A valve with a spring." -- llamafactory-cli api ...

bin/chat.sh starts it.

Exit status: 0 ended, 1 the server ended or an answer failed (--ask), 2 something for the user to mend,
130/143/129 ended by a signal.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import select
import sys
from collections.abc import Callable, Iterator

from fewshot_sft import runs
from fewshot_sft.evaluation.open_server import open_server
from fewshot_sft.identity import read_record, split_command
from fewshot_sft.program import DONE, FAILED, end_on_signals, run
from fewshot_sft.serving import probe_set
from fewshot_sft.serving.conversation import Conversation, Failed
from fewshot_sft.settings import Settings

PASTE = 0.05  # seconds within which the next line of a pasted text arrives
HELP = "/reset forgets what was said, /system shows the instruction, /quit ends"


def main(argv: list[str]) -> int:
    """Start the server, talk, end it."""
    ours, command = split_command(argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", metavar="RUN", help="name of a run of this sweep (default: the base model)")
    parser.add_argument("--ask", metavar="TEXT", help="ask this, print the answer alone, end")
    args = parser.parse_args(ours)
    settings = Settings.read()
    chosen = runs.named(settings, args.run) if args.run else runs.zero_shot(settings)
    end_on_signals()
    with open_server([chosen], command) as server:
        system = probe_set.items(settings)[0]["instruction"]
        conversation = Conversation(server.url, chosen.served_as, system, settings)
        if args.ask is not None:
            return DONE if answer(conversation, args.ask) else FAILED
        print(f"{chosen.title} of {settings.sweep_name}. {HELP}.\nsystem: {system}")
        if prefix := read_record(settings.data_dir / "manifest.json").get("document_prefix"):
            print(f"The training had {json.dumps(prefix)} before each text; what you type is sent as it is.")
        print(flush=True)
        for message in messages():
            if message == "/quit":
                break
            if message == "/reset":
                conversation.reset()
                print("forgotten")
            elif message == "/system":
                print(f"system: {system}")
            elif message.startswith("/") and " " not in message:
                print(HELP)
            elif not answer(conversation, message) and server.has_ended(wait=1.0):
                server.show_log()
                return FAILED
    return DONE


def answer(conversation: Conversation, message: str) -> bool:
    """Print the answer as it comes; return whether there was one."""
    said = ""
    try:
        for said in conversation.ask(message):
            print(said, end="", flush=True)
    except Failed as error:
        if said:
            print(flush=True)
        print(f"error: {error}", file=sys.stderr, flush=True)
        return False
    print(flush=True)
    return True


def messages() -> Iterator[str]:
    """Yield what is typed, a message a line; lines that arrive together were pasted, and are one message."""
    read, source, ended = line_reader(), sys.stdin.fileno(), False
    while not ended:
        lines = []
        try:
            lines.append(read("> "))
            while select.select([source], [], [], PASTE)[0]:
                lines.append(read(""))
        except EOFError:
            ended = True
        if message := "\n".join(lines).strip():
            yield message


def line_reader() -> Callable[[str], str]:
    """Return what asks for a line as ``input`` does.

    On a terminal that is GNU readline: history, editing, and a pasted text as one line with line feeds in it. Elsewhere
    nothing is read ahead, so that ``select`` tells whether there is more.
    """
    if sys.stdin.isatty():
        with contextlib.suppress(ImportError):
            import readline

            readline.parse_and_bind("set enable-bracketed-paste on")
        return input
    return unbuffered


def unbuffered(prompt: str) -> str:
    """Return the next line of standard input."""
    print(prompt, end="", flush=True)
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as source:
        line = source.readline()
    if not line:
        raise EOFError
    return line.decode("utf-8", "replace").rstrip("\r\n")


if __name__ == "__main__":
    run(main)
