"""Keeps one server process, and sees to it that the server never outlives whoever started it.

Run as a script: `python keeper.py PARENT_PID GRACE_S LOG [--unlink PATH ...] -- COMMAND ...`. It starts COMMAND with
its output in LOG, prints the command's pid, and then waits for the first of: the end of its standard input (the pipe
that the starter holds, and that the kernel closes however the starter dies), another parent than PARENT_PID (a fork of
the starter may hold the pipe open), or the end of the command. Then it terminates the command, waits GRACE_S, kills it,
and removes the paths named.

Why a process of its own: Linux's "die with the parent" (PR_SET_PDEATHSIG) is tied to the thread that forked, so a
server started from a worker thread would die with that thread. Here the one thread of the keeper forks, so the same
call is safe, and it covers a kill of the keeper itself. Only the standard library, so that it starts in 20 ms.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time

PR_SET_PDEATHSIG = 1  # linux/prctl.h
POLL_S = 0.5  # how late a lost parent may be noticed when a fork of it still holds the pipe


def _die_with_keeper() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(child: subprocess.Popen[bytes], grace_s: float) -> None:
    if grace_s > 0:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(grace_s)
            return
    child.kill()
    child.wait()


def _wait(child: subprocess.Popen[bytes], parent: int) -> None:
    """Return when the starter is gone, has closed the pipe, or the child has ended."""
    ended_r, ended_w = os.pipe()
    threading.Thread(target=lambda: (child.wait(), os.write(ended_w, b".")), daemon=True).start()
    while os.getppid() == parent:
        ready, _, _ = select.select([0, ended_r], [], [], POLL_S)
        if ended_r in ready or (0 in ready and not os.read(0, 1024)):
            return


def main(argv: list[str]) -> int:
    split = argv.index("--")
    parent, grace_s, log = int(argv[0]), float(argv[1]), argv[2]
    unlink = argv[4:split] if argv[3] == "--unlink" else []
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the starter, who then closes the pipe
    with open(log, "ab") as output:
        child = subprocess.Popen(
            argv[split + 1 :],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=_die_with_keeper,
        )

    def asked_to_end(*_: object) -> None:
        _end(child, grace_s)
        sys.exit(0)

    signal.signal(signal.SIGTERM, asked_to_end)
    os.write(1, f"{child.pid} {time.time()}\n".encode())
    _wait(child, parent)
    _end(child, grace_s if child.poll() is None else 0)
    for path in unlink:
        with contextlib.suppress(OSError):
            os.unlink(path)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
