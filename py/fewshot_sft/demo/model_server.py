"""The server of the page: bin/serve.sh, started for the run that is asked, and ended before another one is."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from ..children import Child
from ..errors import UserError
from ..log import start_log, tail
from ..provenance import PROJECT
from ..runs import Run
from ..settings import VARIABLE, Settings

SERVED = re.compile(r"url: +(\S+)\nkey: +(\S+)\n.*Ctrl-C", re.DOTALL)


class ModelServer:
    """One server at a time. Several sessions of the page share it: each has it for itself while it asks."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; nothing is started yet."""
        self._settings = settings
        self.log = Path(settings["LOGS_DIR"]) / f"{settings['SWEEP_NAME']}.demo.log"
        self._lock = threading.Lock()
        # The kernel ends a child with the thread that has started it, and the page's threads are short-lived.
        self._starter = ThreadPoolExecutor(1)
        self._child: Child | None = None
        self._names: list[str] = []
        self._address = ("", "")
        self._closed = False

    def serves(self, run: Run, others: Sequence[Run]) -> bool:
        """Return whether it can be asked for the run at once."""
        return self._names == self._wanted(run, others) and self._child is not None and self._child.status() is None

    @contextmanager
    def serving(self, run: Run, others: Sequence[Run]) -> Iterator[tuple[str, str]]:
        """Yield URL and key of a server that serves the run, while the ``with`` block runs.

        Args:
            run: whom to ask.
            others: what `vllm serve` serves beside it, as far as they are of the same sweep.

        Raises:
            UserError: there is none; the message is the server's own.
        """
        with self._lock:
            if not self.serves(run, others):
                self.stop()
                self._start(run, self._wanted(run, others))
            yield self._address

    def close(self) -> None:
        """End it, in whatever state it is, for good."""
        self._closed = True
        self.stop()
        self._starter.shutdown()

    def _wanted(self, run: Run, others: Sequence[Run]) -> list[str]:
        if run.settings["SERVER"] != "vllm":
            return [run.served_as]
        return [each.name for each in others if each.settings is run.settings]

    def _start(self, run: Run, names: list[str]) -> None:
        command = ["bash", str(PROJECT / "bin/serve.sh"), *names]
        start_log(self.log, command)
        read, write = os.pipe()
        # serve.sh itself ends what it has started, which may take as long.
        patience = 3 * self._settings.stop_timeout + 60
        # With MODELS each model has a sweep with settings of its own.
        its = {VARIABLE: str(run.settings.kept)} if run.settings is not self._settings else {}
        try:
            self._child = self._starter.submit(
                lambda: Child(
                    "the server of the page", command, patience=patience, log=self.log, environment=its, stdout=write
                )
            ).result()
        finally:
            os.close(write)
        if self._closed:
            self.stop()
        said = ""
        with open(read, encoding="utf-8") as stream:
            for line in stream:
                said += line
                if found := SERVED.search(said):
                    self._names, self._address = names, (found[1], found[2])
                    return
        self.stop()
        errors = [line for line in tail(self.log).splitlines() if line.startswith("error: ")]
        raise UserError(errors[-1].removeprefix("error: ") if errors else f"the server did not start; see {self.log}")

    def stop(self) -> None:
        """End it; the next who asks starts another. For those who have it for themselves."""
        if self._child is not None:
            self._child.stop()
        self._child, self._names = None, []
