"""Decides, from a seed, what is killed next and at which moment, and keeps the list of kills.

Two kinds: at random, after a random wait, whatever the victim is doing; and chosen, at a named point (points.py). Of
the chosen ones a few wait at any time, dealt from a shuffled deck, so that all points have their turn.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from r2_hf_assets_tests.soak import points
from r2_hf_assets_tests.soak.points import CHUNK_POINTS, PLAN_POINTS, POINTS, Point, Shot
from r2_hf_assets_tests.soak.requester import Asker
from r2_hf_assets_tests.soak.site import Site
from r2_hf_assets_tests.soak.victims import CODE_SERVER, DAEMON, HOST, HUB, RUN, aim, kill, processes

_RANDOM_WAIT_S = (2.0, 8.0)
_RANDOM_VICTIMS = {RUN: 40, HUB: 30, CODE_SERVER: 10, DAEMON: 12, HOST: 8}
_STARTING = 0.1  # how often a run may be killed that only starts: on a busy machine most of them do
_WAITING_SHOTS = 5
_STUCK_S = 25.0  # a shot at a point that nobody reaches gives way to another
AT_RANDOM = "at random"


@dataclass(frozen=True)
class Kill:
    """`about`: the chunk (or scan) of the run that was killed, or at whose point something else was."""

    victim: str
    where: str
    pids: tuple[int, ...]
    about: str = ""
    detail: str = ""

    def __str__(self) -> str:
        about = f" of {self.about}" if self.about and self.victim == RUN else ""
        beside = f", a run of {self.about} there" if self.about and self.victim != RUN else ""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.victim}{about} {self.where}{beside}{detail}, pid {', '.join(map(str, self.pids))}"


@dataclass
class Killer:
    """`shots`: the chosen kills that are left; None deals them from a deck without end. Ends at `budget` kills."""

    site: Site
    asker: Asker
    rng: random.Random
    budget: int
    say: Callable[[Kill], None]
    shots: list[Shot] | None = None
    at_random: bool = True
    kills: list[Kill] = field(default_factory=list)
    _number: int = 0
    _next: float = 0.0
    _told: set[int] = field(default_factory=set)
    _deck: list[Shot] = field(default_factory=list)
    _runs: dict[int, str] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        return len(self.kills) >= self.budget or (self.shots == [] and not points.armed(self.site.points))

    def arm_scan(self) -> None:
        """Lay shots for the scan that comes next."""
        if self.shots is None and not self.over:
            for _ in range(self.rng.choice((1, 1, 2, 3))):
                self._arm(self._shot(self.rng.choice(PLAN_POINTS)))

    def tick(self) -> None:
        self._runs |= {
            pid: run.tags.get("dagster/partition", "a scan") for pid, run in self.asker.runs_by_pid().items()
        }
        self._tell_fired()
        if self.over:
            points.disarm(self.site.points)
            return
        self._deal()
        if self.at_random and time.monotonic() >= self._next and self._kill_at_random():
            self._next = time.monotonic() + self.rng.uniform(*_RANDOM_WAIT_S)

    def _deal(self) -> None:
        waiting = points.armed(self.site.points)
        for number, since in waiting.items():
            if time.time() - since > _STUCK_S and self.shots is None:
                (self.site.points / "armed" / f"{number:05d}").unlink(missing_ok=True)
        room = min(_WAITING_SHOTS - len(waiting), self.budget - len(self.kills) - len(waiting))
        for _ in range(room):
            if self.shots is not None:
                if self.shots:
                    self._arm(self.shots.pop(0))
                continue
            if not self._deck:
                self._deck = [self._shot(point) for point in CHUNK_POINTS]
                self.rng.shuffle(self._deck)
            self._arm(self._deck.pop())

    def _shot(self, point: Point) -> Shot:
        size = self.rng.randint(0, 120) if point.when == "during" else self.rng.choice((4, 40, 90))
        # A row group is written in many pieces, a part in a few.
        most = 40 if point.target.endswith("_Sink.write") else 2 if "hub.upload" in point.target else 1
        skip = self.rng.choice((0, 0, self.rng.randint(1, most)))
        return Shot(point.name, self.rng.choice(point.victims), skip, size)

    def _arm(self, shot: Shot) -> None:
        assert shot.point in POINTS
        self._number += 1
        points.arm(self.site.points, self._number, shot)

    def _tell_fired(self) -> None:
        for number, fired in points.fired(self.site.points).items():
            if number not in self._told:
                self._told.add(number)
                if fired.killed:  # else its victim was down already
                    about = self._runs.get(fired.pid, "")
                    self._note(Kill(fired.shot.victim, fired.shot.point, fired.killed, about))

    def _kill_at_random(self) -> bool:
        """Kill one, if a run is at work: else there is little to break, and services that only start up starve all."""
        living = processes(self.site.folder)
        if RUN not in living.values():
            return False
        victim = self.rng.choices(list(_RANDOM_VICTIMS), list(_RANDOM_VICTIMS.values()))[0]
        found = sorted(pid for pid, kind in living.items() if kind == victim)
        if victim == RUN and self.rng.random() > _STARTING:
            found = [pid for pid in found if pid in self._runs]
        if victim == HOST:
            found = aim(self.site.folder, HOST)
            kill(found)
            self._note(Kill(HOST, AT_RANDOM, tuple(found)))
        elif found:
            pid = self.rng.choice(found)
            run = self.asker.runs_by_pid().get(pid)
            where = self.asker.where(run) if run else ""
            kill([pid])
            about = self._runs.get(pid, "one that starts") if victim == RUN else ""
            self._note(Kill(victim, AT_RANDOM, (pid,), about, where))
        return bool(found)

    def _note(self, made: Kill) -> None:
        self.kills.append(made)
        self.say(made)
