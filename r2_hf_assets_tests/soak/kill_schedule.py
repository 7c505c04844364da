"""Choose from a seed what is killed next and at which moment, and keep the list of kills.

Kills are of two kinds: random, after a random wait, and chosen, at a named point (kill_points.py). A few chosen ones
are armed at a time, from a shuffled list of all points.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from r2_hf_assets.partitions import partition_key
from r2_hf_assets_tests.soak import kill_points
from r2_hf_assets_tests.soak.kill_points import KillSpec
from r2_hf_assets_tests.soak.points import AMEND_POINTS, CHUNK_POINTS, PLAN_POINTS, POINTS, KillPoint
from r2_hf_assets_tests.soak.requester import RunRequester
from r2_hf_assets_tests.soak.site import Site
from r2_hf_assets_tests.soak.targets import CODE_SERVER, DAEMON, HOST, HUB, RUN, find_targets, kill, processes

_RANDOM_WAIT_S = (2.0, 8.0)
_RANDOM_TARGETS = {RUN: 40, HUB: 30, CODE_SERVER: 10, DAEMON: 12, HOST: 8}
_STARTING = 0.1  # share of kills of a run that is still starting, as most are on a busy machine
_COMMANDS = 0.7  # share of commands that a kill is armed for
_ARMED_AT_ONCE = 5
_UNREACHED_S = 25.0  # then a kill at a point that no process reaches is replaced
AT_RANDOM = "at random"


@dataclass(frozen=True)
class Kill:
    """`about`: the chunk (or scan) of the run that was killed, or that reached the point."""

    target: str
    where: str
    pids: tuple[int, ...]
    about: str = ""
    detail: str = ""

    def __str__(self) -> str:
        about = f" of {self.about}" if self.about and self.target == RUN else ""
        beside = f", a run of {self.about} there" if self.about and self.target != RUN else ""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.target}{about} {self.where}{beside}{detail}, pid {', '.join(map(str, self.pids))}"


@dataclass
class KillSchedule:
    """`chosen`: the kills at points that are left; None: all points in turn. Ends at `budget` kills."""

    requester: RunRequester
    rng: random.Random
    budget: int
    log: Callable[[Kill], None]
    chosen: list[KillSpec] | None = None
    kills: list[Kill] = field(default_factory=list)
    _number: int = 0
    _next: float = 0.0
    _recorded: set[int] = field(default_factory=set)
    _shuffled: list[KillSpec] = field(default_factory=list)
    _runs: dict[int, str] = field(default_factory=dict)

    @property
    def site(self) -> Site:
        return self.requester.site

    @property
    def finished(self) -> bool:
        return len(self.kills) >= self.budget or (self.chosen == [] and not kill_points.armed(self.site.points))

    def arm_for_command(self) -> None:
        """Arm a kill for a command that is about to start, most of the time."""
        if self.chosen is None and not self.finished and self.rng.random() < _COMMANDS:
            self.arm(self._spec(self.rng.choice(AMEND_POINTS)))

    def arm_for_scan(self) -> None:
        """Arm kills for the next scan."""
        if self.chosen is None and not self.finished:
            for _ in range(self.rng.choice((1, 1, 2, 3))):
                self.arm(self._spec(self.rng.choice(PLAN_POINTS)))

    def tick(self) -> None:
        self._runs |= {
            pid: run.tags.get("dagster/partition", "a scan") for pid, run in self.requester.runs_by_pid().items()
        }
        self._record_fired()
        if self.finished:
            kill_points.disarm(self.site.points)
            return
        self._arm_chosen()
        # At most half of the kills: on a busy machine no run would reach a point between two of them.
        at_random = sum(kill.where == AT_RANDOM for kill in self.kills)
        room = self.chosen is None and at_random <= len(self.kills) / 2 + 1
        if room and time.monotonic() >= self._next and self._kill_at_random():
            self._next = time.monotonic() + self.rng.uniform(*_RANDOM_WAIT_S)

    def _arm_chosen(self) -> None:
        armed = kill_points.armed(self.site.points)
        for number, since in armed.items():
            if time.time() - since > _UNREACHED_S and self.chosen is None:
                kill_points.disarm_one(self.site.points, number)
        room = min(_ARMED_AT_ONCE - len(armed), self.budget - len(self.kills) - len(armed))
        for _ in range(room):
            if self.chosen is not None:
                if self.chosen:
                    self.arm(self.chosen.pop(0))
                continue
            if not self._shuffled:
                self._shuffled = [self._spec(point) for point in CHUNK_POINTS]
                self.rng.shuffle(self._shuffled)
            self.arm(self._shuffled.pop())

    def _spec(self, point: KillPoint) -> KillSpec:
        size = self.rng.randint(0, 120) if point.when == "during" else self.rng.choice((4, 40, 90))
        # A row group is written in many pieces, a part in a few.
        most = 40 if point.functions.endswith("_Sink.write") else 2 if "hub.upload" in point.functions else 1
        skip = self.rng.choice((0, 0, self.rng.randint(1, most)))
        return KillSpec(point.name, self.rng.choice(point.targets), skip, size)

    def arm(self, spec: KillSpec) -> None:
        assert spec.point in POINTS
        self._number += 1
        kill_points.arm(self.site.points, self._number, spec)

    def _record_fired(self) -> None:
        for number, fired in kill_points.fired(self.site.points).items():
            if number not in self._recorded:
                self._recorded.add(number)
                if fired.killed:  # else the target was down already
                    about = self._runs.get(fired.pid, "")
                    detail = "amended" if self._is_amended(about) else ""
                    self._record(Kill(fired.spec.target, fired.spec.point, fired.killed, about, detail))

    def _kill_at_random(self) -> bool:
        """Kill one process, if a run is active: else kills only delay the start of services."""
        running = processes(self.site.folder)
        if RUN not in running.values():
            return False
        target = self.rng.choices(list(_RANDOM_TARGETS), list(_RANDOM_TARGETS.values()))[0]
        pids = sorted(pid for pid, kind in running.items() if kind == target)
        if target == RUN and self.rng.random() > _STARTING:
            pids = [pid for pid in pids if pid in self._runs]
        if target == HOST:
            pids = find_targets(self.site.folder, HOST)
            kill(pids)
            self._record(Kill(HOST, AT_RANDOM, tuple(pids)))
        elif pids:
            pid = self.rng.choice(pids)
            run = self.requester.runs_by_pid().get(pid)
            detail = self.requester.last_event(run) if run else ""
            kill([pid])
            about = self._runs.get(pid, "a starting run") if target == RUN else ""
            self._record(Kill(target, AT_RANDOM, (pid,), about, detail))
        return bool(pids)

    def _is_amended(self, about: str) -> bool:
        """Return whether the run is of a chunk with an amendment."""
        named = {target.chunk for one in self.site.plan().amendments() for target in one.targets if target.chunk}
        return about in {str(partition_key(*name)) for name in named}

    def _record(self, made: Kill) -> None:
        self.kills.append(made)
        self.log(made)
