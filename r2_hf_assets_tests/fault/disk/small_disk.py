"""Runs the product on a real small disk: a tmpfs of a few MB in its own mount namespace.

`SmallDisk(folder, size, command).run(env, *steps)` starts this module below `unshare`. Only its processes have the
disk, and the kernel unmounts it at their end. This requires a user namespace or root, and drops the capabilities that
override file permissions, so that they apply to root.

Steps: `scan`, `build` and `rows` (all return the error's line or null; the last one is of `r2-hf reconcile --rows` for
a million rows), `fill [BYTES LEFT]`, `free`, `read-only`, `writable`, `chmod MODE PATH`, `file PATH` (in place of a
folder) and `files` (returns the files on the disk). Paths are relative to the disk.
"""

import contextlib
import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from r2_hf_assets_tests.support.world import ROOT

# In order of preference: a user namespace; root, where user namespaces are disabled.
_UNSHARE = (("unshare", "--user", "--map-root-user", "--mount"), ("unshare", "--mount"))
# Without these capabilities, file permissions apply to root.
_WITHOUT_OVERRIDE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
_FILLER = ".filler"


def find_namespace_command() -> tuple[str, ...] | None:
    """Return the command that opens a namespace where a disk can be mounted, or None."""
    probe = "mount -t tmpfs -o size=64k none /tmp && mount -o remount,ro /tmp"
    for unshare in _UNSHARE:
        command = (*unshare, *_WITHOUT_OVERRIDE)
        with contextlib.suppress(OSError):
            if subprocess.run([*command, "sh", "-c", probe], capture_output=True, check=False).returncode == 0:
                return command
    return None


@dataclass(frozen=True)
class SmallDisk:
    """A disk of `size` (as for mount: 8m) at `folder` during `run`. `command` is from find_namespace_command."""

    folder: Path
    size: str
    command: tuple[str, ...]

    def run(self, env: dict[str, str], *steps: str) -> list[Any]:
        """Run steps with the variables `env`, and return the results of `scan`, `build` and `files`."""
        self.folder.mkdir(exist_ok=True)
        mount = f"mount -t tmpfs -o size={self.size} none {self.folder}"
        inside = f'{mount} && exec {sys.executable} -m {__name__} {self.folder} "$@"'
        done = subprocess.run(
            [*self.command, "sh", "-c", inside, "sh", *steps],
            cwd=self.folder.parent,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DAGSTER_DISABLE_TELEMETRY": "1", **env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return [json.loads(line) for line in done.stdout.splitlines()]


def _work(verb: str) -> str | None:
    """Return the first error of a scan or of a build of all due partitions, or None."""
    from dagster import DagsterInstance

    from r2_hf_assets.cli.in_process import due_chunks, run_chunks, run_scan

    try:
        with DagsterInstance.get() as instance:
            if verb == "scan":
                return run_scan(instance)
            return next((run.error for run in run_chunks(instance, due_chunks(instance)) if run.error), None)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _look_at_rows(scratch: Path) -> str | None:
    """Return the error of looking at ten synthetic indexes, or None."""
    from r2_hf_assets.errors import DiskError
    from r2_hf_assets.reconcile.whole import COMPARED, Index, summarize

    count = 100_000
    noise = pa.py_buffer(random.Random(1).randbytes(8 * count))  # it can't be compressed
    hashes = pa.Array.from_buffers(pa.uint64(), count, [None, noise])
    columns = {"episode": ["en/a"] * count, "audio_bytes": [5000] * count, "audio_hash": hashes, "row": [0] * count}
    table = pa.table(columns, COMPARED)
    try:
        summarize([Index(("en", number), table, None) for number in range(10)], scratch)
    except DiskError as error:
        return str(error)
    return None


def _fill(disk: Path, left: int) -> None:
    with (disk / _FILLER).open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(bytes(4096)):
            pass
    os.truncate(disk / _FILLER, max(0, (disk / _FILLER).stat().st_size - left))


def _files(disk: Path) -> list[str]:
    return sorted(str(path.relative_to(disk)) for path in disk.rglob("*") if path.is_file() and path.name != _FILLER)


def _step(disk: Path, verb: str, arguments: list[str]) -> Any:
    match verb, arguments:
        case "scan" | "build", []:
            return _work(verb)
        case "rows", []:
            return _look_at_rows(disk / "scratch")
        case "files", []:
            return _files(disk)
        case "fill", _:
            _fill(disk, int(arguments[0]) if arguments else 0)
        case "free", []:
            (disk / _FILLER).unlink()
        case "read-only" | "writable", []:
            option = "remount,ro" if verb == "read-only" else "remount,rw"
            subprocess.run(["mount", "-o", option, str(disk)], check=True)
        case "chmod", [mode, path]:
            (disk / path).chmod(int(mode, 8))
        case "file", [path]:
            (disk / path).touch()
        case _:
            raise ValueError(f"unknown step: {verb} {arguments}")
    return _NO_RESULT


_NO_RESULT = object()


def main(folder: str, *steps: str) -> None:
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the product's stdout goes to stderr
    for step in steps:
        verb, *arguments = step.split()
        result = _step(Path(folder), verb, arguments)
        if result is not _NO_RESULT:
            print(json.dumps(result), file=results, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
