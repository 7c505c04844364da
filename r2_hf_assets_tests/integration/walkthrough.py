"""The section "Try it on this machine" of docs/guide.md: its commands in order, and what they print.

In its indented blocks a line `$ command` is followed by the command's output, where `...` stands for any lines. The
commands are typed into one bash on a pseudo-terminal, in a folder with the content of a clone.

    an output with ^C    Ctrl-C is typed once the progress bar has advanced
    $ dagster dev        runs in a terminal of its own until `make demo-down`; from then on `r2-hf status` is repeated
                         until it prints what the guide shows

`python -m r2_hf_assets_tests.integration.walkthrough --update` writes the output of a real run into the guide.
"""

import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from r2_hf_assets_tests.support.terminal import Terminal
from r2_hf_assets_tests.support.world import ROOT
from r2_hf_sandbox.processes import free_port
from r2_hf_sandbox.state import read_state

GUIDE = ROOT / "docs" / "guide.md"
TITLE = "## Try it on this machine\n"
INDENT, PROMPT, ANY_LINES, CTRL_C = "    ", "$ ", "...", "^C"
SERVER, REPEATED, END = "dagster dev", "r2-hf status", "make demo-down"
PATIENCE_S = 300.0  # of one command
SENSORS_S = 60.0  # within which an update expects the sensors' work to be done

# What differs between two runs; everything else must be equal.
MASKS = {
    r"127\.0\.0\.1:\d+": "127.0.0.1:PORT",
    r" in \d+(\.\d)? s\b": " in T s",
    r"^ *\d+%\|.*\]": "BAR",
    r"in the last .* takes .*": "in the last T",
    r"\(run [0-9a-f-]{36}\)": "(run ID)",
}
ADVANCED = re.compile(r"\b[1-9]\d*/\d+ \[[^]\r]*\]")  # a bar that counts an episode
DAGSTER_LOG = re.compile(r"\x1b\[32m\d{4}-\d\d-\d\d .* - ")


@dataclass(frozen=True)
class Step:
    """A command of the guide; its output there is `shown`, in the lines from `line` (0-based) on."""

    command: str
    shown: tuple[str, ...]
    line: int


def read_steps(text: str) -> list[Step]:
    """Return the commands of the section."""
    lines = text.splitlines()
    first = lines.index(TITLE.strip())
    end = next(number for number in range(first + 1, len(lines)) if lines[number].startswith("## "))
    starts = [number for number in range(first, end) if lines[number].startswith(INDENT + PROMPT)]
    steps = []
    for start in starts:
        stop = start + 1
        while stop < end and stop not in starts and (lines[stop].startswith(INDENT) or not lines[stop]):
            stop += 1
        while not lines[stop - 1]:
            stop -= 1
        output = tuple(line.removeprefix(INDENT) for line in lines[start + 1 : stop])
        steps.append(Step(lines[start].removeprefix(INDENT + PROMPT), output, start + 1))
    return steps


def elided(printed: list[str], shown: tuple[str, ...]) -> tuple[str, ...]:
    """Return the printed lines with `...` where the guide has it, unless nothing is left out."""
    if ANY_LINES not in shown or len(printed) < len(shown):
        return tuple(printed)
    head = shown.index(ANY_LINES)
    tail = len(shown) - head - 1
    return (*printed[:head], ANY_LINES, *printed[len(printed) - tail :])


def masked(lines: tuple[str, ...]) -> list[str]:
    """Return the lines without what differs between two runs; `...` may stand for no line."""
    for pattern, mask in MASKS.items():
        lines = tuple(re.sub(pattern, mask, line) for line in lines)
    return [line for line in lines if line != ANY_LINES]


@dataclass
class Walk:
    """A newcomer at two terminals, in a folder with the content of a clone."""

    folder: Path
    typing: Terminal
    serving: Terminal
    update: bool = False
    sees_server: bool = field(default=False, init=False)

    def do(self, step: Step) -> tuple[str, ...]:
        """Type a command, and return what it prints, elided as in the guide."""
        if step.command == SERVER:
            self.serving.start(f"{step.command} > ../served.log 2>&1")  # a terminal that nobody reads blocks its writer
            self.sees_server = True
            return ()
        if step.command == END:
            self.serving.interrupt()
        if not (self.sees_server and step.command == REPEATED):
            return self._type(step)
        deadline = time.monotonic() + (SENSORS_S if self.update else PATIENCE_S)
        while True:
            printed = self._type(step)
            if time.monotonic() > deadline or (not self.update and masked(printed) == masked(step.shown)):
                return printed
            time.sleep(1)

    def _type(self, step: Step) -> tuple[str, ...]:
        interrupted = any(line.endswith(CTRL_C) for line in step.shown)
        lines = self.typing.run(step.command, PATIENCE_S, interrupt_at=ADVANCED if interrupted else None)
        return elided([line for line in lines if not DAGSTER_LOG.match(line)], step.shown)


@contextmanager
def walk(folder: Path, *, update: bool = False) -> Iterator[Walk]:
    """Two terminals in `folder`; at the end nothing that they started runs any more."""
    clone = folder / "r2_hf_assets"
    clone.mkdir()
    for path in ROOT.iterdir():
        if not path.name.startswith("."):
            (clone / path.name).symlink_to(path)
    (clone / ".venv").symlink_to(sys.prefix)
    installed = folder / "installed"
    installed.touch()
    env = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "MAKEFLAGS": f"STAMP={installed}",  # the environment is there
        "DAGSTER_WEBSERVER_PORT": str(free_port()),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    with Terminal(clone, env) as serving, Terminal(clone, env) as typing:
        serving.run(". .venv/bin/activate", PATIENCE_S)
        try:
            yield Walk(clone, typing, serving, update)
        finally:
            typing.interrupt()
            serving.interrupt()
            if state := read_state(clone / ".demo"):
                state.stop()


def update_guide() -> None:
    """Write the output of a real run into the guide."""
    lines = GUIDE.read_text().splitlines()
    with tempfile.TemporaryDirectory() as folder, walk(Path(folder), update=True) as newcomer:
        steps = read_steps(GUIDE.read_text())
        outputs = []
        for step in steps:
            print(step.command, file=sys.stderr)
            outputs.append(newcomer.do(step))
    for step, printed in reversed(list(zip(steps, outputs, strict=True))):
        indented = [f"{INDENT}{line}".rstrip() for line in printed]
        lines[step.line : step.line + len(step.shown)] = indented
    GUIDE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit(__doc__)
    update_guide()
