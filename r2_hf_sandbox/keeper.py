"""Run one server process that never outlives the process that started it.

`python keeper.py PARENT_PID GRACE_S LOG --unlink [PATH ...] -- COMMAND ...` starts COMMAND with its output in LOG,
prints the command's pid, and waits for the first of: the end of standard input (a pipe from the parent, which the
kernel closes however the parent ends), another parent than PARENT_PID (a fork of the parent may hold the pipe open),
or the end of the command. Then it terminates the command, kills it after GRACE_S, and removes the paths.

Linux's PR_SET_PDEATHSIG is tied to the thread that forked: a server started from a worker thread would end with that
thread. The keeper has one thread that forks, so the call is safe here, and it covers a kill of the keeper itself.
Only the standard library is imported, so it starts in 20 ms.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1  # linux/prctl.h
POLL_S = 0.5  # of the parent's pid, for the case that a fork of it holds the pipe


def _set_death_signal() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _stop(child: subprocess.Popen[bytes], grace_s: float) -> None:
    if grace_s > 0:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(grace_s)
            return
    child.kill()
    child.wait()


def _wait(child: subprocess.Popen[bytes], parent: int) -> None:
    """Return when the parent has ended or closed the pipe, or the child has ended."""
    ended_r, ended_w = os.pipe()
    threading.Thread(target=lambda: (child.wait(), os.write(ended_w, b".")), daemon=True).start()
    while os.getppid() == parent:
        ready, _, _ = select.select([0, ended_r], [], [], POLL_S)
        if ended_r in ready or (0 in ready and not os.read(0, 1024)):
            return


def main(argv: list[str]) -> int:
    split = argv.index("--")
    parent, grace_s, log = int(argv[0]), float(argv[1]), argv[2]
    unlink = argv[4:split]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, and so the pipe
    with open(log, "ab") as output:
        child = subprocess.Popen(
            argv[split + 1 :],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=_set_death_signal,
        )

    def terminate(*_: object) -> None:
        _stop(child, grace_s)
        sys.exit(0)

    signal.signal(signal.SIGTERM, terminate)
    os.write(1, f"{child.pid}\n".encode())
    _wait(child, parent)
    _stop(child, grace_s if child.poll() is None else 0)
    for path in unlink:
        with contextlib.suppress(OSError):
            os.unlink(path)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
