"""Services that are restarted when they are killed, as under systemd with Restart=always."""

import threading
from collections.abc import Callable

from r2_hf_sandbox.processes import Process, SandboxError, log_tail

RESTART_S = 0.3
STOP_GRACE_S = 3.0
# A service is given up after this many starts in a row that each ended within SHORT_LIFE_S.
MAX_FAILED_STARTS = 12
SHORT_LIFE_S = 5.0


class Service:
    """Keeps one process running in a thread of its own. A context manager."""

    def __init__(self, name: str, start: Callable[[], Process]) -> None:
        self.name = name
        self.error: str | None = None
        self._start = start
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep_running, name=f"restarts of {name}", daemon=True)

    def __enter__(self) -> "Service":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _keep_running(self) -> None:
        failures = 0
        while not self._stopped.is_set() and failures < MAX_FAILED_STARTS:
            try:
                process = self._start()
            except SandboxError as error:  # killed while it came up, or its port is taken for a moment
                failures, self.error = failures + 1, str(error)
                self._stopped.wait(RESTART_S)
                continue
            seconds = 0.0
            while process.alive() and not self._stopped.wait(0.1):
                seconds += 0.1
            failures = failures + 1 if seconds < SHORT_LIFE_S else 0
            self.error = f"it ends at once; its log ends:\n{log_tail(process.log)}"
            process.stop(STOP_GRACE_S)
            self._stopped.wait(RESTART_S)

    def failure(self) -> str | None:
        """Return why it is not started any more; None while it is."""
        return None if self._thread.is_alive() else self.error
