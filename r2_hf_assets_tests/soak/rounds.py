"""Rounds of kills, each on a site of its own.

Episodes are uploaded in waves, content is removed and refreshed (amender.py), and processes are killed until the
round's share of kills is made. Then all runs complete without kills, and the invariants are checked.
"""

import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dagster import DagsterInstance

from r2_hf_assets_tests.soak import amended, invariants
from r2_hf_assets_tests.soak.amender import KINDS, Amender
from r2_hf_assets_tests.soak.invariants import Rows
from r2_hf_assets_tests.soak.kill_points import KillSpec
from r2_hf_assets_tests.soak.kill_schedule import Kill, KillSchedule
from r2_hf_assets_tests.soak.requester import RunRequester
from r2_hf_assets_tests.soak.site import Site, open_site
from r2_hf_sandbox.s3.server import S3Server
from r2_hf_sandbox.samples.bucket import SampleSummary

# The most episodes that a wave adds, by folder. `en` has the damaged ones besides.
_WAVE = {"en": 3, "en-US": 2, "deu": 2, "fr": 2, "in": 1, "yue": 2, "junk": 1}
_TICK_S = 0.4
_WAVE_LIMIT_S = 600.0


class Stuck(Exception):
    """A round does not end."""


@dataclass
class Round:
    """The result of a round; `broken` has a line for each violated invariant."""

    number: int
    folder: Path
    kills: list[Kill] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)
    rows: Rows = field(default_factory=lambda: Rows(0, 0, 0, 0, 0))
    chunks: int = 0
    commits: int = 0
    removals: Counter[str] = field(default_factory=Counter)
    refreshes: int = 0
    called_again: int = 0
    files_read: int = 0
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)


def run_round(
    number: int,
    folder: Path,
    s3: S3Server,
    *,
    seed: int,
    kills: int,
    log: Callable[[str], None],
    chosen: Sequence[KillSpec] | None = None,
    wave: Mapping[str, int] | None = None,
    state_on_s3: bool = False,
    lfs: bool = False,
    episodes_a_chunk: int = 2,
    amend: Sequence[str] | None = None,
) -> Round:
    """Run one round, in a folder that is created.

    Args:
        chosen: the only kills, after which the round ends; None: points in turn, and kills at random.
        wave: the episodes that each wave adds, by folder; None: chosen by the seed.
        lfs: whether content is uploaded over LFS, from scratch files.
        amend: the kinds of the removals and refreshes of each wave; None: chosen by the seed.
    """
    result, started = Round(number, folder), time.monotonic()

    def log_kill(kill: Kill) -> None:
        log(f"round {number}, {time.monotonic() - started:5.1f} s, kill {len(result.kills)}: {kill}")

    with (
        open_site(folder, s3, seed=seed, state_on_s3=state_on_s3, lfs=lfs, episodes_a_chunk=episodes_a_chunk) as site,
        DagsterInstance.from_config(str(site.home)) as instance,
    ):
        requester = RunRequester(site, instance)
        rng = random.Random(f"kills {seed} {number}")
        schedule = KillSchedule(requester, rng, kills, log_kill, None if chosen is None else [*chosen])
        result.kills = schedule.kills
        amender = Amender(
            requester,
            rng,
            lambda: len(amended.commits_of(site)),
            schedule.arm_for_command,
            lambda line: log(f"round {number}, {time.monotonic() - started:5.1f} s, r2-hf {line}"),
        )
        try:
            bucket = _run_waves(result, schedule, amender, wave, amend)
            _check_invariants(result, requester, amender, bucket)
        except (Stuck, RuntimeError) as error:
            result.broken.append(str(error))
        finally:
            amender.stop()
        result.broken += amender.broken
        result.removals = Counter(removal.kind for removal in amender.removals)
        result.refreshes, result.called_again = amender.refreshes, amender.again
        result.runs = requester.counts() + Counter(ended_as_lost=requester.ended_as_lost)
    result.seconds = time.monotonic() - started
    return result


def _run_waves(
    result: Round,
    schedule: KillSchedule,
    amender: Amender,
    wave: Mapping[str, int] | None,
    amend: Sequence[str] | None,
) -> SampleSummary:
    """Upload, scan, build and amend in waves until all kills are made; return what the bucket holds then."""
    requester, rng = schedule.requester, schedule.rng
    site = requester.site
    number, episodes = 0, Counter({"en": 0})
    manifests: dict[str, bytes] = {}
    while True:
        episodes.update(wave or {name: rng.randint(0, most) for name, most in _WAVE.items()})
        bucket = site.upload(episodes)
        amender.begin_wave(bucket, rng.sample(KINDS, rng.randint(3, 5)) if amend is None else amend)
        done = requester.done_keys()
        requester.request_scan(f"scan {number}")
        for key in rng.sample(done, min(2, len(done))):
            requester.request_rerun(f"again {number} {key}", key)
        schedule.arm_for_scan()
        _run_until_done(schedule, amender)
        result.broken += invariants.plan_intact(site, manifests)
        manifests = invariants.read_manifests(site)
        number += 1
        if schedule.finished:
            if amender.edits:
                amender.refresh_all()
                _run_until_done(schedule, amender)
            return bucket


def _run_until_done(schedule: KillSchedule, amender: Amender) -> None:
    """Request runs, amend and kill until nothing is due."""
    requester = schedule.requester
    limit = time.monotonic() + _WAVE_LIMIT_S
    while not (amender.idle and requester.tick()):
        if not amender.idle:
            amender.tick(quiet=requester.tick())
        if time.monotonic() > limit:
            runs = [f"{run.run_id} {run.status.value} {dict(run.tags)}" for run in requester.open_runs()]
            raise Stuck(f"stuck: due {requester.due_keys()}, extra {requester.extra_runs}, open runs {runs}")
        requester.site.check_services()
        schedule.tick()
        time.sleep(_TICK_S)
    schedule.tick()


def _check_invariants(result: Round, requester: RunRequester, amender: Amender, bucket: SampleSummary) -> None:
    """Check the invariants, make a second pass, and check that it changed nothing."""
    site, expected = requester.site, amender.expected()
    manifests = invariants.read_manifests(site)
    planned = requester.planned()
    result.chunks = len(planned)
    result.rows, broken = invariants.rows_on_hub(site, expected)
    commits, twice = invariants.commits(site, planned, amender.edited)
    broken += twice + invariants.history(requester.instance, planned) + invariants.plan_intact(site, manifests)
    broken += invariants.build_records(site, planned) + invariants.indexes(site, expected, planned)
    invariants.age_leftovers(site)
    broken += _second_pass(site)
    result.commits, _ = invariants.commits(site, planned)
    if result.commits != commits:
        broken.append(f"the second pass made {result.commits - commits} commits")
    broken += invariants.plan_intact(site, manifests) + invariants.history(requester.instance, planned)
    broken += invariants.build_records(site, planned) + invariants.indexes(site, expected, planned)
    result.files_read, stayed = amended.removed_stays_out(site, amender.removals, bucket)
    gone = {key for removal in amender.removals for key in removal.keys}
    broken += stayed + amended.log_copied(site) + amended.edits_arrived(site, amender.edits, gone)
    broken += amended.restores(site) + invariants.no_orphans(site)
    result.broken += dict.fromkeys(broken)


def _second_pass(site: Site) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "r2_hf_assets_tests.soak.second_pass"],
        cwd=site.folder,
        env=site.process_env(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        return [f"the second pass ended with {done.returncode}: {done.stderr[-2000:]}"]
    result = json.loads(done.stdout.splitlines()[-1])
    broken = [f"second pass: {error}" for error in result["errors"]]
    return broken + ([f"a second scan planned {result['added']} chunks"] if result["added"] else [])


def soak(
    folder: Path, s3: S3Server, *, seed: int, kills: int, a_round: int, keep: bool, log: Callable[[str], None]
) -> list[Round]:
    """Run rounds until that many kills are made; with `keep`, the folder of a round with a violation stays."""
    rounds: list[Round] = []
    while (left := kills - sum(len(done.kills) for done in rounds)) > 0:
        number = len(rounds)
        done = run_round(
            number,
            folder / f"round-{number:02d}",
            s3,
            seed=seed,
            kills=min(left, a_round),
            log=log,
            lfs=number % 3 == 1,
            state_on_s3=number % 3 == 2,
        )
        rounds.append(done)
        rows = done.rows
        log(
            f"round {number}: {len(done.kills)} kills, {done.runs['runs']} runs, {done.chunks} chunks, {done.commits} "
            f"commits, {rows.found} of {rows.expected} rows, {done.removals.total()} removals, "
            f"{done.refreshes} refreshes, {len(done.broken)} violations, {done.seconds:.0f} s"
        )
        for line in done.broken:
            log(f"VIOLATED in round {number}: {line}")
        if not (keep and done.broken):
            shutil.rmtree(done.folder, ignore_errors=True)
    return rounds
