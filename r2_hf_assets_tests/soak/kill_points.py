"""Named places in the product at which a process of a site kills itself, or another one.

A point names a function of the product and a moment:

    before, after   before the call, after it returned
    torn            the kernel ends the process in the middle of a write (RLIMIT_FSIZE and SIGXFSZ)
    during          a thread kills some milliseconds after the call began; listed before the other points of its
                    function, so that they apply before the timer starts and after it ends
    held            nothing is killed: the process waits there until it is released (`release`), or for _HELD_S

points.py lists them. `install` wraps the functions in the processes of the site. The harness puts a file for each kill
into the folder `armed`. The first process that reaches the point renames the file into `fired`, so each kill is made
once. The product has no code for this.
"""

import functools
import importlib
import json
import os
import resource
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from r2_hf_assets_tests.soak.points import POINTS, KillPoint
from r2_hf_assets_tests.soak.targets import COMMAND, RUN, find_targets, kill

PRODUCT = "r2_hf_assets."
_RESTARTED_S = 20.0  # a service that was just killed is restarted by then
_HELD_S = 20.0
HOLDS = 90_000  # numbers from here on are not of kills, but of processes to be held


@dataclass(frozen=True)
class KillSpec:
    """Kill `target` at a point, when a process reaches it after `skip` times. `size`: bytes (torn) or ms (during)."""

    point: str
    target: str = RUN
    skip: int = 0
    size: int = 50


@dataclass(frozen=True)
class FiredKill:
    """A kill that was made: by which process, and of which: itself, or others."""

    spec: KillSpec
    pid: int
    killed: tuple[int, ...]


def arm(folder: Path, number: int, spec: KillSpec) -> None:
    path = folder / "armed" / f"{number:05d}"
    path.parent.mkdir(parents=True, exist_ok=True)
    (folder / "fired").mkdir(exist_ok=True)
    temporary = folder / "arming"
    temporary.write_text(json.dumps(asdict(spec)))
    temporary.rename(path)


def disarm(folder: Path) -> None:
    """Disarm all kills."""
    for number in armed(folder):
        disarm_one(folder, number)


def disarm_one(folder: Path, number: int) -> None:
    (folder / "armed" / f"{number:05d}").unlink(missing_ok=True)


def armed(folder: Path) -> dict[int, float]:
    """Return when each armed kill was armed (wall clock), by number."""
    times = {}
    for path in (folder / "armed").glob("*"):
        try:
            times[int(path.name)] = path.stat().st_mtime
        except FileNotFoundError:
            continue  # just fired
    return {number: since for number, since in times.items() if number < HOLDS}


def fired(folder: Path) -> dict[int, FiredKill]:
    """Return the kills made so far, by number."""
    made = {}
    for path in sorted((folder / "fired").glob("*.*")):
        number, pid = path.name.split(".")
        fields = json.loads(path.read_text())
        killed = fields.pop("killed", None)
        if killed is not None:
            made[int(number)] = FiredKill(KillSpec(**fields), int(pid), tuple(killed))
    return made


def held(folder: Path) -> list[int]:
    """List the processes that wait at a point."""
    return [int(path.name) for path in (folder / "held").glob("*")]


def release(folder: Path, pid: int) -> None:
    (folder / "held" / str(pid)).unlink(missing_ok=True)


def install(site: Path) -> None:
    """Wrap every point's functions in this process. Raises AttributeError when the product has none of that name."""
    kills = _ArmedKills(site)
    for point in POINTS.values():
        for owner, name in owners(point):
            setattr(owner, name, _wrapped(getattr(owner, name), point, kills))


def owners(point: KillPoint) -> list[tuple[Any, str]]:
    """Return the object that has each of its functions, and the attribute's name."""
    return [_owner(function) for function in point.functions.split()]


def _owner(function: str) -> tuple[Any, str]:
    module, _, path = function.partition(":")
    owner: Any = importlib.import_module(module if module == "dagster" else PRODUCT + module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    return owner, name


@dataclass(frozen=True)
class _Claim:
    """A kill that this process has taken and must make."""

    spec: KillSpec
    path: Path
    site: Path

    def fire(self) -> None:
        """Kill the targets, after a wait for one that is down. Returns only when this process is not among them."""
        pids = [os.getpid()] if self.spec.target in (RUN, COMMAND) else find_targets(self.site, self.spec.target)
        end = time.monotonic() + _RESTARTED_S
        while not pids and time.monotonic() < end:
            time.sleep(0.1)
            pids = find_targets(self.site, self.spec.target)
        self.record(pids)
        kill(pids)

    def record(self, pids: list[int]) -> None:
        temporary = self.path.with_suffix("")
        temporary.write_text(json.dumps(asdict(self.spec) | {"killed": pids}))
        temporary.replace(self.path)


class _ArmedKills:
    """The armed kills of a site, in one of its processes."""

    def __init__(self, site: Path) -> None:
        self._site = site
        self._folder = site / "points"
        self._arrivals: Counter[str] = Counter()

    def take(self, point: KillPoint) -> _Claim | None:
        """Take the kill that is armed for this arrival; None when there is none."""
        for path in sorted((self._folder / "armed").glob("*")):
            try:
                spec = KillSpec(**json.loads(path.read_text()))
                if spec.point != point.name:
                    continue
                self._arrivals[point.name] += 1
                if self._arrivals[point.name] > spec.skip:
                    taken = self._folder / "fired" / f"{path.name}.{os.getpid()}"
                    path.rename(taken)
                    return _Claim(spec, taken, self._site)
            except FileNotFoundError:
                continue  # another process took it
        return None


_Call = Callable[[], Any]
_Take = Callable[[], _Claim | None]


def _before(call: _Call, take: _Take) -> Any:
    if claim := take():
        claim.fire()
    return call()


def _after(call: _Call, take: _Take) -> Any:
    result = call()
    if claim := take():
        claim.fire()
    return result


def _torn(call: _Call, take: _Take) -> Any:
    claim = take()
    if claim is None:
        return call()
    claim.record([os.getpid()])
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, and would get an OSError
    resource.setrlimit(resource.RLIMIT_FSIZE, (claim.spec.size, hard))
    call()
    kill([os.getpid()])  # the call wrote less than that


def _during(call: _Call, take: _Take) -> Any:
    claim = take()
    if claim is None:
        return call()
    timer = threading.Timer(claim.spec.size / 1000, claim.fire)
    timer.start()
    try:
        return call()
    finally:
        timer.join()  # a taken kill is made, however short the call is


def _held(call: _Call, take: _Take) -> Any:
    if claim := take():
        claim.record([])
        waiting, end = claim.site / "points" / "held" / str(os.getpid()), time.monotonic() + _HELD_S
        waiting.parent.mkdir(exist_ok=True)
        waiting.touch()
        while waiting.exists() and time.monotonic() < end:
            time.sleep(0.05)
        waiting.unlink(missing_ok=True)
    return call()


_MOMENTS = {"before": _before, "after": _after, "torn": _torn, "during": _during, "held": _held}


def _wrapped(function: Callable[..., Any], point: KillPoint, kills: _ArmedKills) -> Callable[..., Any]:
    matches, moment, take = _FILTERS[point.only], _MOMENTS[point.when], functools.partial(kills.take, point)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = functools.partial(function, *args, **kwargs)
        return moment(call, take) if matches(args) else call()

    return wrapper


def _event_of(asset: str) -> Callable[[tuple[Any, ...]], bool]:
    def matches(args: tuple[Any, ...]) -> bool:
        event = args[1].dagster_event if len(args) > 1 else None
        return bool(event and event.is_step_materialization and event.step_key == asset)

    return matches


def _commit_of(title: str) -> Callable[[tuple[Any, ...]], bool]:
    return lambda args: str(args[4]).startswith(title)


_FILTERS: dict[str, Callable[[tuple[Any, ...]], bool]] = {
    "": lambda _: True,
    "a_chunk": _commit_of("Add "),
    "an_amendment": _commit_of("Record amendments"),
    "the_log": lambda args: args[1] == "plan/amendments.json",
    "an_index": lambda args: args[1] == "plan/index.json",
    "a_record": lambda args: "/chunk-" in args[1] and args[1].endswith(".json"),
    "shards_event": _event_of("parquet_shards"),
    "commit_event": _event_of("hub_commit"),
}
