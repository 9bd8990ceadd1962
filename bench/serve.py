"""Run a command while a server runs, as py/eval.py starts it: URL, SERVER_PID and the key are in its environment.

    python bench/serve.py RUN LOG [--adapter RUN]... -- llamafactory-cli api ... -- COMMAND...

RUN is the one that the server answers as; with SERVER=vllm the other runs' adapters are loaded into it. LOG.json tells
after how many seconds it was ready. Exit status: the command's, 1 when there is no server.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

from fewshot_sft import runs
from fewshot_sft.children import Child
from fewshot_sft.identity import split_command
from fewshot_sft.program import FAILED, end_on_signals, run
from fewshot_sft.serving.check import check
from fewshot_sft.serving.fused import for_vllm
from fewshot_sft.serving.server import NoServer, Server, serve
from fewshot_sft.settings import Settings


def main(argv: list[str]) -> int:
    """Serve, run the command, end the server."""
    ours, rest = split_command(argv)
    server_command, command = split_command(rest)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("log", type=Path)
    parser.add_argument("--adapter", action="append", default=[])
    args = parser.parse_args(ours)
    end_on_signals()
    settings = Settings.read()
    wait = settings.ready_timeout

    def usable(server: Server) -> None:
        ready = args.log.with_suffix(".json")
        check(runs.named(settings, args.run), server.url, server.pid, wait, ready=ready)
        for name in args.adapter:
            each = runs.named(settings, name)
            check(each, server.url, server.pid, wait, load=for_vllm(each.adapter))

    try:
        with serve(runs.named(settings, args.run), server_command, args.log, usable) as server:
            told = {"URL": server.url, "SERVER_PID": str(server.pid)}
            with Child("the bench", command, patience=settings.stop_timeout, environment=told) as child:
                while (status := child.wait(60)) is None:
                    pass
                return status
    except NoServer:
        return FAILED


if __name__ == "__main__":
    run(main)
