"""A disk that is really full: a tmpfs of a few MB in a mount namespace of its own, and the product at work on it.

`SmallDisk(folder, size).run(steps, env)` starts this module below `unshare`, where only it and its children see the
disk; the kernel takes the disk away with them. It needs no right but to make a user namespace (or to be root), and
gives up the root's right to pass by file permissions, so that a folder's rights hold for root too.

Steps, each a line of words: `scan` and `build` (both answer with the error's line or null), `fill [BYTES LEFT]`,
`free`, `read-only`, `writable`, `chmod MODE PATH`, `remove PATH`, `file PATH` (in the place of a folder), and `files`
(answers with what lies on the disk). Paths are relative to the disk.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2_hf_assets_tests.support.world import ROOT

# In the order of preference: as anyone, in a user namespace; as root, where those are turned off.
_UNSHARE = (("unshare", "--user", "--map-root-user", "--mount"), ("unshare", "--mount"))
# Without these two, root is asked for a file's permissions like everyone.
_AS_EVERYONE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
_FILLER = ".filler"


def way_in() -> tuple[str, ...] | None:
    """The command that opens a namespace in which a disk can be mounted; None when this machine allows none."""
    probe = "mount -t tmpfs -o size=64k none /tmp && mount -o remount,ro /tmp"
    for unshare in _UNSHARE:
        command = (*unshare, *_AS_EVERYONE)
        with contextlib.suppress(OSError):
            if subprocess.run([*command, "sh", "-c", probe], capture_output=True, check=False).returncode == 0:
                return command
    return None


@dataclass(frozen=True)
class SmallDisk:
    """A disk of `size` (of mount's kind: 8m) at `folder`, there only while `run` works below `command` (see way_in)."""

    folder: Path
    size: str
    command: tuple[str, ...]

    def run(self, env: dict[str, str], *steps: str) -> list[Any]:
        """What the steps that answer answered, in order. `env` holds the product's own variables."""
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
    """The first error of a scan, or of a build of every due partition, in its own words; None when all went well."""
    from dagster import DagsterInstance

    from r2_hf_assets.cli.in_process import due_chunks, run_chunks, run_scan

    try:
        with DagsterInstance.get() as instance:
            if verb == "scan":
                return run_scan(instance)
            return next((run.error for run in run_chunks(instance, due_chunks(instance)) if run.error), None)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _fill(disk: Path, left: int) -> None:
    with (disk / _FILLER).open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(bytes(4096)):
            pass
    os.truncate(disk / _FILLER, max(0, (disk / _FILLER).stat().st_size - left))


def _files(disk: Path) -> list[str]:
    return sorted(str(path.relative_to(disk)) for path in disk.rglob("*") if path.is_file() and path.name != _FILLER)


def _step(disk: Path, verb: str, words: list[str]) -> Any:
    match verb, words:
        case "scan" | "build", []:
            return _work(verb)
        case "files", []:
            return _files(disk)
        case "fill", _:
            _fill(disk, int(words[0]) if words else 0)
        case "free", []:
            (disk / _FILLER).unlink()
        case "read-only" | "writable", []:
            option = "remount,ro" if verb == "read-only" else "remount,rw"
            subprocess.run(["mount", "-o", option, str(disk)], check=True)
        case "chmod", [mode, path]:
            (disk / path).chmod(int(mode, 8))
        case "remove", [path]:
            shutil.rmtree(disk / path)
        case "file", [path]:
            (disk / path).touch()
        case _:
            raise ValueError(f"{verb} {words} is no step")
    return _SILENT


_SILENT = object()


def main(folder: str, *steps: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the product prints is talk
    for step in steps:
        verb, *words = step.split()
        answer = _step(Path(folder), verb, words)
        if answer is not _SILENT:
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
