"""Named places in the product at which a process of a site kills itself, or another one.

A point names a function of the product and a moment:

    before, after   it is called, has returned
    torn            it writes: the kernel ends the process in the middle of a write (RLIMIT_FSIZE and SIGXFSZ)
    during          it runs on for some milliseconds, then a thread kills; listed before the others of its function,
                    so that they are reached before it starts and after it ends

`install` wraps the functions in the processes of the site. Which points kill is decided outside of them: the harness
puts a file for each shot into the folder `armed`, and the first process that reaches the point takes the file by a
rename into `fired`, so each shot is fired once. The product has no seam for any of this.
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

from r2_hf_assets_tests.soak.victims import CODE_SERVER, DAEMON, HOST, HUB, RUN, aim, kill

PRODUCT = "r2_hf_assets."
_PATIENCE_S = 20.0  # a service that was just killed is up again by then
_SELF = (RUN, RUN, RUN, RUN, HOST)
_HUB_TOO = (RUN, HUB, HUB, HOST)


@dataclass(frozen=True)
class Point:
    """`target` is module:attribute below the package, or several; `only` names a filter on the call's arguments."""

    name: str
    target: str
    when: str
    victims: tuple[str, ...] = _SELF
    only: str = ""


PLAN_POINTS = (
    Point("before the first manifest", "plan.store:PlanStore.check_identity", "after"),
    Point("in the middle of a manifest", "plan.store:PlanStore.create", "torn", (RUN,)),
    Point("between manifests", "plan.store:PlanStore.create", "after"),
    Point("between manifests and index", "plan.store:PlanStore.write_index", "before"),
    Point("in the middle of the index", "plan.files:PlanFiles.overwrite", "torn", (RUN,), "an_index"),
    Point("between index and partitions", "plan.store:PlanStore.write_index", "after"),
    Point("between partitions and event", "assets.work_plan:scan_metadata", "before"),
    # Once in a site's life, and soon after its first scan.
    Point("while the repo is made", "hub.client:HubClient.create_repo", "during", (HUB, HUB, RUN)),
)
_PART = "hub.upload_xet:_XetPart.{0} hub.upload_files:_FilePart.{0}"  # whichever way the content goes
CHUNK_POINTS = (
    Point("before the build", "assets.parquet_shards:build_on_hub", "before"),
    Point("in the middle of a row group", "shards.writer:_Sink.write", "before"),
    Point("between row groups", "shards.writer:PartWriter.write", "after"),
    Point("during the upload", _PART.format("write"), "during", _HUB_TOO),
    Point("while a part is finished", _PART.format("finish"), "during", _HUB_TOO),
    Point("before a part is finished", _PART.format("finish"), "before", _HUB_TOO),
    Point("between finish and the end of the upload", _PART.format("finish"), "after", _HUB_TOO),
    Point("between upload and record", "shards.builds:BuildStore.write", "before", (*_SELF, CODE_SERVER, DAEMON)),
    Point("in the middle of the rejects ledger", "plan.files:PlanFiles.overwrite", "torn", (RUN,), "a_ledger"),
    Point("between ledger and record", "plan.files:PlanFiles.overwrite", "after", only="a_ledger"),
    Point("in the middle of the record", "plan.files:PlanFiles.overwrite", "torn", (RUN,), "a_record"),
    Point("after the record", "shards.builds:BuildStore.write", "after"),
    Point("between record and event", "assets.parquet_shards:result_for", "before"),
    Point("after the event of the shards", "dagster:DagsterInstance.handle_new_event", "after", only="shards_event"),
    Point("between the two assets", "assets.hub_commit:open_plan", "before"),
    Point("during the commit", "hub.client:HubClient.commit", "during", _HUB_TOO),
    Point("between record and commit", "hub.client:HubClient.commit", "before", _HUB_TOO),
    Point("after the commit", "hub.client:HubClient.commit", "after", _HUB_TOO),
    Point("between commit and the event", "assets.hub_commit:result_for", "before", (*_SELF, CODE_SERVER, DAEMON)),
    Point("after the event of the commit", "dagster:DagsterInstance.handle_new_event", "after", only="commit_event"),
)
POINTS = {point.name: point for point in (*PLAN_POINTS, *CHUNK_POINTS)}


@dataclass(frozen=True)
class Shot:
    """Kill `victim` at the point named, at the arrival after `skip` others. `size`: bytes (torn), or ms (during)."""

    point: str
    victim: str = RUN
    skip: int = 0
    size: int = 50


@dataclass(frozen=True)
class Fired:
    """A shot, the process that was there, and the ones that it killed: itself, or others."""

    shot: Shot
    pid: int
    killed: tuple[int, ...]


def arm(folder: Path, number: int, shot: Shot) -> None:
    path = folder / "armed" / f"{number:05d}"
    path.parent.mkdir(parents=True, exist_ok=True)
    (folder / "fired").mkdir(exist_ok=True)
    temporary = folder / "arming"
    temporary.write_text(json.dumps(asdict(shot)))
    temporary.rename(path)


def disarm(folder: Path) -> None:
    for path in (folder / "armed").glob("*"):
        path.unlink(missing_ok=True)


def armed(folder: Path) -> dict[int, float]:
    """When each shot that waits was armed (wall clock), by number."""
    found = {}
    for path in (folder / "armed").glob("*"):
        try:
            found[int(path.name)] = path.stat().st_mtime
        except FileNotFoundError:
            continue  # just fired
    return found


def fired(folder: Path) -> dict[int, Fired]:
    """The shots fired so far, by number."""
    found = {}
    for path in sorted((folder / "fired").glob("*.*")):
        number, pid = path.name.split(".")
        told = json.loads(path.read_text())
        killed = told.pop("killed", None)
        if killed is not None:
            found[int(number)] = Fired(Shot(**told), int(pid), tuple(killed))
    return found


def install(site: Path) -> None:
    """Wrap every point's function in this process. Raises AttributeError when the product has it no more."""
    shots = _Shots(site)
    for point in POINTS.values():
        for owner, name in owners(point):
            setattr(owner, name, _wrapped(getattr(owner, name), point, shots))


def owners(point: Point) -> list[tuple[Any, str]]:
    """Where its functions are found: an object, and the attribute's name."""
    return [_owner(target) for target in point.target.split()]


def _owner(target: str) -> tuple[Any, str]:
    module, _, path = target.partition(":")
    owner: Any = importlib.import_module(module if module == "dagster" else PRODUCT + module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    return owner, name


@dataclass(frozen=True)
class _Claim:
    """A shot that this process has taken, and fires."""

    shot: Shot
    path: Path
    site: Path

    def fire(self) -> None:
        """Kill; comes back only when this process is not among the victims. One that is down is waited for."""
        pids = [os.getpid()] if self.shot.victim == RUN else aim(self.site, self.shot.victim)
        end = time.monotonic() + _PATIENCE_S
        while not pids and time.monotonic() < end:
            time.sleep(0.1)
            pids = aim(self.site, self.shot.victim)
        self.tell(pids)
        kill(pids)

    def tell(self, pids: list[int]) -> None:
        temporary = self.path.with_suffix("")
        temporary.write_text(json.dumps(asdict(self.shot) | {"killed": pids}))
        temporary.replace(self.path)


class _Shots:
    """The shots of a site as one of its processes sees them."""

    def __init__(self, site: Path) -> None:
        self._site = site
        self._folder = site / "points"
        self._arrivals: Counter[str] = Counter()

    def take(self, point: Point) -> _Claim | None:
        """The shot that is to be fired here and now. Whoever gets one fires it."""
        for path in sorted((self._folder / "armed").glob("*")):
            try:
                shot = Shot(**json.loads(path.read_text()))
                if shot.point != point.name:
                    continue
                self._arrivals[point.name] += 1
                if self._arrivals[point.name] > shot.skip:
                    mine = self._folder / "fired" / f"{path.name}.{os.getpid()}"
                    path.rename(mine)
                    return _Claim(shot, mine, self._site)
            except FileNotFoundError:
                continue  # another process was faster
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
    claim.tell([os.getpid()])
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, and would get an OSError
    resource.setrlimit(resource.RLIMIT_FSIZE, (claim.shot.size, hard))
    call()
    kill([os.getpid()])  # it wrote less than that


def _during(call: _Call, take: _Take) -> Any:
    claim = take()
    if claim is None:
        return call()
    timer = threading.Timer(claim.shot.size / 1000, claim.fire)
    timer.start()
    try:
        return call()
    finally:
        timer.join()  # a shot that was taken is fired, however short the call is


_MOMENTS = {"before": _before, "after": _after, "torn": _torn, "during": _during}


def _wrapped(function: Callable[..., Any], point: Point, shots: _Shots) -> Callable[..., Any]:
    matches, moment, take = _FILTERS[point.only], _MOMENTS[point.when], functools.partial(shots.take, point)

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


_FILTERS: dict[str, Callable[[tuple[Any, ...]], bool]] = {
    "": lambda _: True,
    "an_index": lambda args: args[1] == "plan/index.json",
    "a_ledger": lambda args: str(args[1]).endswith(".rejects.parquet"),
    "a_record": lambda args: "/chunk-" in args[1] and args[1].endswith(".json"),
    "shards_event": _event_of("parquet_shards"),
    "commit_event": _event_of("hub_commit"),
}
