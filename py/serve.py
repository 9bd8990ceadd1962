"""Serve runs behind an OpenAI-compatible API until a signal ends it.

    python py/serve.py tiny-llm_train_2000 -- llamafactory-cli api --model_name_or_path saves/tiny/base ...

bin/serve.sh starts it. Prints the URL, the key and the names of the models, once.

Exit status: 1 the server ended, 2 something for the user to mend, 130/143/129 ended by a signal.
"""

from __future__ import annotations

import argparse
import socket

from fewshot_sft import runs
from fewshot_sft.evaluation.open_server import open_server
from fewshot_sft.identity import split_command
from fewshot_sft.program import FAILED, end_on_signals, run
from fewshot_sft.serving.endpoint import api_key, port_of
from fewshot_sft.serving.server import HOST
from fewshot_sft.settings import Settings


def main(argv: list[str]) -> int:
    """Serve; returns when the server has ended by itself."""
    ours, command = split_command(argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="name of a run of this sweep")
    parser.add_argument("--host", default=HOST, help="where to listen (default: %(default)s)")
    args = parser.parse_args(ours)
    settings = Settings.read()
    chosen = [runs.named(settings, name) for name in args.runs]
    end_on_signals()
    with open_server(chosen, command, args.host) as server:
        names = dict.fromkeys(each.served_as for each in chosen)
        machine = HOST if args.host == HOST else socket.gethostname()
        print(f"url:    http://{machine}:{port_of(server.url)}/v1", f"key:    {api_key()}", sep="\n")
        print(f"models: {', '.join(names)}", "Ctrl-C ends it.", sep="\n", flush=True)
        while not server.has_ended(wait=1.0):
            pass
        server.show_log()
    return FAILED


if __name__ == "__main__":
    run(main)
