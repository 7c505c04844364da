"""Services that come back when they are killed, as under systemd with Restart=always."""

import threading
from collections.abc import Callable

from r2_hf_sandbox.processes import Process, SandboxError, log_tail

RESTART_S = 0.3
STOP_GRACE_S = 3.0
# A service that never lives that long will not come up at all.
HOPELESS_STARTS = 12
SHORT_LIFE_S = 5.0


class Service:
    """Keeps one process running in a thread of its own. A context manager."""

    def __init__(self, name: str, start: Callable[[], Process]) -> None:
        self.name = name
        self.starts = 0
        self.error: str | None = None
        self._start = start
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._guard, name=f"guard of {name}", daemon=True)

    def __enter__(self) -> "Service":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _guard(self) -> None:
        failures = 0
        while not self._over.is_set() and failures < HOPELESS_STARTS:
            try:
                process = self._start()
            except SandboxError as error:  # killed while it came up, or its port is taken for a moment
                failures, self.error = failures + 1, str(error)
                self._over.wait(RESTART_S)
                continue
            self.starts += 1
            lived = 0.0
            while process.alive() and not self._over.wait(0.1):
                lived += 0.1
            failures = failures + 1 if lived < SHORT_LIFE_S else 0
            self.error = f"it ends at once, its log says\n{log_tail(process.log)}"
            process.stop(STOP_GRACE_S)
            self._over.wait(RESTART_S)

    def hopeless(self) -> str | None:
        """Why it will not come up again; None while it may."""
        return None if self._thread.is_alive() else self.error
