"""Rounds of kills. A round has a site of its own: episodes come in waves, runs are killed until the round's share of
kills is used up, then nothing is killed any more, all is finished, and the promises are counted.
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

from r2_hf_assets_tests.soak import promises
from r2_hf_assets_tests.soak.killer import Kill, Killer
from r2_hf_assets_tests.soak.points import Shot
from r2_hf_assets_tests.soak.promises import Rows
from r2_hf_assets_tests.soak.requester import Asker
from r2_hf_assets_tests.soak.site import Site, open_site
from r2_hf_sandbox.s3.server import S3Server
from r2_hf_sandbox.samples.bucket import SampleSummary

# What each wave adds, at the most: episodes by folder. `en` has the awkward ones besides.
_WAVE = {"en": 3, "en-US": 2, "deu": 2, "fr": 2, "in": 1, "yue": 2, "junk": 1}
_TICK_S = 0.4
_WAVE_LIMIT_S = 400.0


class Stuck(Exception):
    """A round does not come to its end."""


@dataclass
class Round:
    """What a round gave."""

    number: int
    folder: Path
    kills: list[Kill] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)
    rows: Rows = field(default_factory=lambda: Rows(0, 0, 0, 0, 0))
    chunks: int = 0
    commits: int = 0
    starts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)


def run_round(
    number: int,
    folder: Path,
    s3: S3Server,
    *,
    seed: int,
    kills: int,
    say: Callable[[str], None],
    shots: Sequence[Shot] | None = None,
    scan_shots: Sequence[Shot] = (),
    wave: Mapping[str, int] | None = None,
    at_random: bool = True,
    state_on_s3: bool = False,
    lfs: bool = False,
    episodes_a_chunk: int = 2,
) -> Round:
    """One round, in a folder that is made.

    Args:
        shots: only these are fired at chunks, and the round ends with them; None: points and victims as they come.
        wave: the episodes that each wave adds, by folder; None: as they come.
        lfs: whether content goes over LFS, by scratch files.
    """
    result, started = Round(number, folder), time.monotonic()
    rng = random.Random(f"kills {seed} {number}")

    def tell(kill: Kill) -> None:
        say(f"round {number}, {time.monotonic() - started:5.1f} s, kill {len(result.kills)}: {kill}")

    with (
        open_site(folder, s3, seed=seed, state_on_s3=state_on_s3, lfs=lfs, episodes_a_chunk=episodes_a_chunk) as site,
        DagsterInstance.from_config(str(site.home)) as instance,
    ):
        asker = Asker(site, instance)
        killer = Killer(site, asker, rng, kills, tell, None if shots is None else [*scan_shots, *shots], at_random)
        result.kills = killer.kills
        try:
            expected = _waves(result, site, asker, killer, rng, wave)
            _judge(result, site, asker, expected)
        except (Stuck, RuntimeError) as error:
            result.broken.append(str(error))
        result.runs = asker.counts() + Counter(asked=asker.asked, ended_as_lost=asker.ended_as_lost)
        result.starts = {service.name: service.starts for service in site.services}
    result.seconds = time.monotonic() - started
    return result


def _waves(
    result: Round, site: Site, asker: Asker, killer: Killer, rng: random.Random, wave: Mapping[str, int] | None
) -> SampleSummary:
    """Upload, scan and build under kills, in waves, until the kills are used up; then finish in peace."""
    number, episodes = 0, Counter({"en": 0})
    manifests: dict[str, bytes] = {}
    while True:
        episodes.update(wave or {name: rng.randint(0, most) for name, most in _WAVE.items()})
        expected = site.upload(episodes)
        done = asker.done_keys()
        asker.want_scan(f"scan {number}")
        for key in rng.sample(done, min(2, len(done))):
            asker.want_again(f"again {number} {key}", key)
        killer.arm_scan()
        _finish(site, asker, killer)
        result.broken += promises.plan_intact(site, manifests)
        manifests = promises.read_manifests(site)
        number += 1
        if killer.over:
            return expected


def _finish(site: Site, asker: Asker, killer: Killer) -> None:
    """Ask and kill until nothing is due."""
    limit = time.monotonic() + _WAVE_LIMIT_S
    while not asker.tick():
        if time.monotonic() > limit:
            runs = [f"{run.run_id} {run.status.value} {dict(run.tags)}" for run in asker.open_runs()]
            raise Stuck(f"stuck: due {asker.due_keys()}, errands {asker.errands}, open runs {runs}")
        site.check_services()
        killer.tick()
        time.sleep(_TICK_S)
    killer.tick()


def _judge(result: Round, site: Site, asker: Asker, expected: SampleSummary) -> None:
    """Count, let a second pass change nothing, and count again."""
    manifests = promises.read_manifests(site)
    planned = asker.planned()
    result.chunks = len(planned)
    result.rows, broken = promises.rows_on_hub(site, expected)
    commits, twice = promises.commits(site, planned)
    broken += twice + promises.history(asker.instance, planned) + promises.plan_intact(site, manifests)
    broken += promises.build_records(site, expected.rejects, planned)
    promises.age_leftovers(site)
    broken += _second_pass(site)
    result.commits, _ = promises.commits(site, planned)
    if result.commits != commits:
        broken.append(f"the second pass made {result.commits - commits} commits")
    broken += promises.plan_intact(site, manifests) + promises.history(asker.instance, planned)
    broken += promises.build_records(site, expected.rejects, planned) + promises.nothing_left(site)
    result.broken += dict.fromkeys(broken)


def _second_pass(site: Site) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "r2_hf_assets_tests.soak.calm"],
        cwd=site.folder,
        env=site.process_env(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        return [f"the second pass ended with {done.returncode}: {done.stderr[-2000:]}"]
    told = json.loads(done.stdout.splitlines()[-1])
    broken = [f"second pass: {error}" for error in told["errors"]]
    return broken + ([f"a second scan planned {told['added']} chunks"] if told["added"] else [])


def soak(
    folder: Path, s3: S3Server, *, seed: int, kills: int, a_round: int, keep: bool, say: Callable[[str], None]
) -> list[Round]:
    """Rounds until that many kills are made. A sound round's folder is removed, a broken one's is kept when asked."""
    rounds: list[Round] = []
    while (left := kills - sum(len(done.kills) for done in rounds)) > 0:
        number = len(rounds)
        done = run_round(
            number,
            folder / f"round-{number:02d}",
            s3,
            seed=seed,
            kills=min(left, a_round),
            say=say,
            lfs=number % 3 == 1,
            state_on_s3=number % 3 == 2,
        )
        rounds.append(done)
        rows = done.rows
        say(
            f"round {number}: {len(done.kills)} kills, {done.runs['runs']} runs, {done.chunks} chunks, {done.commits} "
            f"commits, {rows.found} of {rows.expected} rows, {len(done.broken)} promises broken, {done.seconds:.0f} s"
        )
        for line in done.broken:
            say(f"BROKEN in round {number}: {line}")
        if not (keep and done.broken):
            shutil.rmtree(done.folder, ignore_errors=True)
    return rounds
