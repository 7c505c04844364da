"""Calls `r2-hf remove` and `r2-hf refresh` while runs are under way, and calls a killed one again as a user would.

A removal is of an episode, of a speaker or of a segment: of a chunk whose commit waits at a kill point (a run that read
the plan before the removal), of a chunk that is being built, of one that is committed, or of one that is not planned.
A refresh follows a change of an episode's metadata in the bucket. All is chosen by the seed.
"""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import obstore
from dagster._core.storage.tags import PARTITION_NAME_TAG

from r2_hf_assets.partitions import read_key
from r2_hf_assets.plan.chunks import Name
from r2_hf_assets_tests.soak import kill_points
from r2_hf_assets_tests.soak.kill_points import KillSpec
from r2_hf_assets_tests.soak.points import HELD
from r2_hf_assets_tests.soak.requester import RunRequester
from r2_hf_assets_tests.soak.site import ROOT
from r2_hf_sandbox.samples.bucket import SampleSummary
from r2_hf_sandbox.samples.episode import ExpectedReject, ExpectedRow

HOLD, RUNNING, COMMITTED, UNPLANNED, REFRESH = "held", "running", "committed", "unplanned", "refresh"
KINDS = (HOLD, RUNNING, COMMITTED, UNPLANNED, REFRESH)
_WAIT_S = (0.0, 5.0)
_TRIES = 8
_MOST_REMOVED = 0.3  # share of the episodes


@dataclass
class Removal:
    """What was removed. After its command returned, the Hub had `commits` commits; None: it did not return."""

    number: int
    kind: str
    word: str
    episode: str
    keys: frozenset[str]
    whole: bool
    commits: int | None = None


@dataclass
class _Command:
    arguments: tuple[str, ...]
    removal: Removal | None
    held: int | None
    process: subprocess.Popen[bytes]
    tries: int = 1


@dataclass
class Amender:
    """`commits` returns how many commits the Hub has; `arm_kill` is called before a command starts."""

    requester: RunRequester
    rng: random.Random
    commits: Callable[[], int]
    arm_kill: Callable[[], None]
    log: Callable[[str], None]
    removals: list[Removal] = field(default_factory=list)
    refreshes: int = 0
    again: int = 0
    broken: list[str] = field(default_factory=list)
    edits: dict[str, bytes] = field(default_factory=dict)
    edited: list[str] = field(default_factory=list)
    _bucket: SampleSummary | None = None
    _waiting: list[str] = field(default_factory=list)
    _commands: list[_Command] = field(default_factory=list)
    _since: float = 0.0

    def begin_wave(self, bucket: SampleSummary, kinds: Sequence[str]) -> None:
        """Write the edits of earlier waves again, which the upload reverted, and begin these operations."""
        for key, body in self.edits.items():
            obstore.put(self.requester.site.store(), key, body)
        # First, because a scan is requested at the same time.
        self._waiting = sorted(kinds, key=lambda kind: kind != UNPLANNED)
        self._bucket, self._since = bucket, time.monotonic()

    @property
    def idle(self) -> bool:
        return not self._waiting and not self._commands

    def tick(self, quiet: bool) -> None:
        """Start and end commands; `quiet`: there is nothing left to run."""
        for command in [*self._commands]:
            if command.process.poll() is not None:
                self._end(command)
        if self._waiting and time.monotonic() > self._since and len(self._commands) < 2:
            self._begin(quiet)

    def stop(self) -> None:
        for command in self._commands:
            command.process.kill()
            command.process.wait()

    def expected(self) -> SampleSummary:
        """Return what the dataset must have now: the rows of the bucket, and rejects for what was removed."""
        assert self._bucket is not None
        planned, prefix = self._chunks(), self.requester.site.plan().prefix
        gone = {key for removal in self.removals for key in removal.keys}
        whole = {removal.episode for removal in self.removals if removal.whole}
        rejects = [one for one in self._bucket.rejects if _episode(one.key) not in whole]
        rejects += [
            ExpectedReject("episode", f"{prefix}{episode}/all_segments.json", "removed")
            for episode in sorted(whole & planned.keys())
        ]
        partly = {key for removal in self.removals if not removal.whole for key in removal.keys}
        rejects += [ExpectedReject("segment", key, "removed") for key in sorted(partly) if _episode(key) not in whole]
        rows = tuple(row for row in self._bucket.rows if row.key not in gone)
        return replace(self._bucket, rows=rows, rejects=tuple(rejects))

    def refresh_all(self) -> None:
        """Begin a refresh of what was built from earlier metadata, while it was due anyway."""
        self._start(("refresh",), None, None)

    def _begin(self, quiet: bool) -> None:
        """Start the first operation that has a candidate; when nothing is left to run, a removal of any episode."""
        if not self._chunks():
            return  # before the first scan there is no plan
        taken = {removal.episode for removal in self.removals}
        free = sorted(episode for episode in self._episodes() if episode not in taken and episode not in self.edited)
        for kind in self._waiting:
            held = self._hold() if kind == HOLD else None
            if wanted := self._wanted(kind, held, free):
                break
            if held is not None:
                kill_points.release(self.requester.site.points, held)
        else:
            if not quiet:
                return
            kind, held = self._waiting[0], None
        self._waiting.remove(kind)
        if kind == HOLD:
            kill_points.disarm_one(self.requester.site.points, kill_points.HOLDS)
        self._since = time.monotonic() + self.rng.uniform(*_WAIT_S)
        if kind == REFRESH:
            if wanted:
                self._edit(self.rng.choice(wanted))
                self.refreshes += 1
                self._start(("refresh",), None, None)
        elif wanted or free:
            few = len(taken) < _MOST_REMOVED * len(self._episodes())
            with_rows = [episode for episode in wanted or free if episode in self._with_rows()]
            self._remove(kind if wanted else "any", self.rng.choice(with_rows or wanted or free), held, whole=few)

    def _hold(self) -> int | None:
        """Return the process of a run whose commit is held; have the next one held when there is none."""
        points, runs = self.requester.site.points, self.requester.runs_by_pid()
        held = next((pid for pid in kill_points.held(points) if pid in runs), None)
        if held is None:
            kill_points.arm(points, kill_points.HOLDS, KillSpec(HELD.name))
        return held

    def _wanted(self, kind: str, held: int | None, free: Sequence[str]) -> list[str]:
        """Return the episodes that an operation of this kind may be about."""
        chunks = self._chunks()
        if kind == UNPLANNED:
            return [episode for episode in free if episode not in chunks]
        if kind in (COMMITTED, REFRESH):
            names = {read_key(key) for key in self.requester.done_keys()}
        else:
            runs = self.requester.runs_by_pid()
            keys = (run.tags.get(PARTITION_NAME_TAG) for pid, run in runs.items() if kind != HOLD or pid == held)
            names = {read_key(key) for key in keys if key}
        allowed = self._intact() if kind == REFRESH else self._with_rows() if kind == HOLD else set(free)
        return [episode for episode in free if episode in allowed and chunks.get(episode) in names]

    def _remove(self, kind: str, episode: str, held: int | None, *, whole: bool) -> None:
        rows = [row for row in self._rows() if _episode(row.key) == episode]
        row = self.rng.choice(rows) if rows and episode in self._intact() else None
        prefix = self.requester.site.plan().prefix
        form = self.rng.choice(("episode", "episode", "speaker", "segment")) if whole else "segment"
        if row is None or form == "episode":
            keys = {key for key in self._keys() if key.startswith(f"{prefix}{episode}/")}
            removal = Removal(len(self.removals), kind, episode, episode, frozenset(keys), True)
        elif form == "speaker":
            keys = {one.key for one in rows if one.speaker == row.speaker}
            removal = Removal(len(self.removals), kind, f"{episode}:{row.speaker}", episode, frozenset(keys), False)
        else:
            removal = Removal(len(self.removals), kind, row.key, episode, frozenset({row.key}), False)
        self.removals.append(removal)
        self._start(("remove", removal.word, "--reason", "test"), removal, held)

    def _edit(self, episode: str) -> None:
        """Change the texts of an episode in the bucket."""
        store, key = self.requester.site.store(), f"{self.requester.site.plan().prefix}{episode}/all_segments.json"
        entries = json.loads(bytes(obstore.get(store, key).bytes()))
        for entry in entries:
            entry["text"] = f"{entry['text']} edited"
        self.edits[key] = json.dumps(entries).encode()
        self.edited.append(episode)
        obstore.put(store, key, self.edits[key])

    def _start(self, arguments: tuple[str, ...], removal: Removal | None, held: int | None) -> None:
        self.arm_kill()
        self._commands.append(_Command(arguments, removal, held, self._popen(arguments)))

    def _popen(self, arguments: tuple[str, ...]) -> "subprocess.Popen[bytes]":
        site = self.requester.site
        command = [sys.executable, "-m", "r2_hf_assets_tests.soak.command", *arguments]
        with (site.folder / "commands.log").open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, env=site.process_env(), stdout=log, stderr=log)

    def _end(self, command: _Command) -> None:
        """Note that a command has returned, or call it again."""
        status, what = command.process.returncode, " ".join(command.arguments)
        if status and command.tries < _TRIES:
            self.log(f"{what}: ended with {status}; again")
            self.again += 1
            command.tries += 1
            command.process = self._popen(command.arguments)
            return
        self._commands.remove(command)
        if status:
            log = (self.requester.site.folder / "commands.log").read_text(errors="replace")
            self.broken.append(f"{what}: ended with {status} {command.tries} times: {log.splitlines()[-1:]}")
        if command.removal and not status:
            command.removal.commits = self.commits()
        if command.held is not None:
            kill_points.release(self.requester.site.points, command.held)
        kind = f", {command.removal.kind}" if command.removal else ""
        self.log(f"{what}{kind}: returned {status}")

    def _chunks(self) -> dict[str, Name]:
        plan = self.requester.site.plan()
        names = [(language, number) for language, numbers in plan.numbers().items() for number in numbers]
        return {episode: chunk.name for chunk in plan.read_many(names) for episode in chunk.episodes}

    def _rows(self) -> Sequence[ExpectedRow]:
        return self._bucket.rows if self._bucket else ()

    def _keys(self) -> set[str]:
        rejects = self._bucket.rejects if self._bucket else ()
        return {row.key for row in self._rows()} | {one.key for one in rejects if one.level == "segment"}

    def _episodes(self) -> set[str]:
        rejects = self._bucket.rejects if self._bucket else ()
        return {_episode(row.key) for row in self._rows()} | {_episode(one.key) for one in rejects}

    def _with_rows(self) -> set[str]:
        return {_episode(row.key) for row in self._rows()}

    def _intact(self) -> set[str]:
        """Return the episodes without a defect."""
        damaged = {_episode(one.key) for one in self._bucket.rejects} if self._bucket else set()
        damaged |= {_episode(row.key) for row in self._rows() if row.speaker is None or row.duration is None}
        return {_episode(row.key) for row in self._rows()} - damaged


def _episode(key: str) -> str:
    """Return "<folder>/<episode_id>" of an object's key; the samples' prefix has one part."""
    return "/".join(key.split("/")[1:3])
