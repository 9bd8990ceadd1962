"""Show a page that labels texts by the runs of a sweep, until a signal ends it.

    python py/demo.py [--host 0.0.0.0]

bin/demo.sh starts it. The page itself is fewshot_sft/demo/page.py; the server of the adapters is started by it.

Exit status: 2 something for the user to mend, 130/143/129 ended by a signal.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
from pathlib import Path

from fewshot_sft import runs
from fewshot_sft.demo import session
from fewshot_sft.errors import UserError
from fewshot_sft.evaluation import questions
from fewshot_sft.program import end_on_signals, run
from fewshot_sft.serving import ports
from fewshot_sft.serving.server import HOST
from fewshot_sft.settings import Settings

PORT = 8501  # Streamlit's own
PAGE = Path(__file__).parent / "fewshot_sft/demo/page.py"
OPTIONS = {
    "global.developmentMode": False,
    "server.headless": True,
    "server.fileWatcherType": "none",
    "server.maxUploadSize": 20,  # MB
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "minimal",
    "theme.primaryColor": "#1f5fa8",  # not the red that others keep for errors
    "client.showErrorDetails": "none",
}


def main(argv: list[str]) -> int:
    """Show the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default=HOST, help="where to listen (default: %(default)s)")
    args = parser.parse_args(argv)
    settings = Settings.read()
    if settings.task == runs.GENERATION:
        raise UserError("TASK=generation: the page compares labels; talk to a run with bin/chat.sh")
    questions.load(settings.data_dir, "test")  # what is wrong with it is said here
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the GPU is the server's
    end_on_signals()
    with ports.claim(PORT) as port:
        session.begin(settings)
        try:
            return 128 + asyncio.run(show(args.host, port))
        finally:
            session.shared().server.close()


async def show(host: str, port: int) -> int:
    """Show the page until a signal comes; return its number."""
    from streamlit import config, logger
    from streamlit.web.server import Server

    for name, value in (OPTIONS | {"server.address": host, "server.port": port}).items():
        config.set_option(name, value)
    logger.set_log_level("ERROR")
    heard: list[int] = []
    server = Server(str(PAGE), is_hello=False)

    def end(number: int) -> None:
        heard.append(number)
        server.stop()

    await server.start()
    for each in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(each) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(each, end, each)
    machine = HOST if host == HOST else socket.gethostname()
    print(f"page:   http://{machine}:{port}", "Ctrl-C ends it.", sep="\n", flush=True)
    await server.stopped
    return heard[0]


if __name__ == "__main__":
    run(main)
