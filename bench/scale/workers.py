"""Four workers against one: `python -m bench.scale.workers --by modulo` (or `celery`).

60 ms are added to every response of the bucket, and a worker has 8 requests in flight, so it is bound by the line, as a
machine of its own would be, and not by the cores that all workers share here. A chunk takes 83 s at that rate.
Every run has its own plan, dataset and history; the runs alternate.

modulo: `r2-hf process --chunk-mod N --chunk-rem R` in N processes that start at once, each with its own DAGSTER_HOME;
from their start to the end of the last one.

celery: a backfill over all chunks, on a cluster of N workers with the files of deploy/celery (integration/cluster);
from the start of the first run to the end of the last one. The daemon's interval before a backfill begins is not part
of it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tabulate import tabulate  # type: ignore[import-untyped]

from bench.baselines import BIN
from bench.data import fill_bucket
from bench.line import open_line
from r2_hf_assets.bucket.client import object_store
from r2_hf_assets.settings import BucketSettings
from r2_hf_assets_tests.integration.cluster.cluster import cluster
from r2_hf_sandbox.processes import wait_until
from r2_hf_sandbox.sandbox import Sandbox, start_sandbox

_ROOT = Path(__file__).parents[2]
DELAY_S = 0.060
IN_FLIGHT = 8
_SECONDS = (0.5, 1.5)  # of a segment, 6 kB each
_PATIENCE_S = 3600.0


@dataclass(frozen=True)
class _Job:
    """What every run builds, and where: `env` has the product's settings but for state and dataset."""

    sandbox: Sandbox
    folder: Path
    env: Mapping[str, str]
    chunks: int

    def run_env(self, name: str) -> dict[str, str]:
        own = {"STATE_URL": f"s3://{self.sandbox.bucket}/{name}", "HF_REPO_ID": f"sandbox/{name}"}
        return {**self.env, **own}


def modulo(job: _Job, name: str, workers: int) -> float:
    """Return the seconds from the start of all workers to the end of the last."""
    env = {**os.environ, **job.run_env(name)}
    homes = [_home(job.folder / f"{name}-{number}") for number in range(workers)]
    subprocess.run(
        [BIN / "r2-hf", "scan"], env={**env, "DAGSTER_HOME": homes[0]}, check=True, stderr=subprocess.DEVNULL
    )
    started = time.monotonic()
    running = [
        subprocess.Popen(
            [BIN / "r2-hf", "process", "--chunk-mod", str(workers), "--chunk-rem", str(number), "--no-card"],
            env={**env, "DAGSTER_HOME": home, "HF_HOME": f"{home}/hf_home"},
            stderr=(Path(home) / "process.log").open("wb"),
        )
        for number, home in enumerate(homes)
    ]
    if any([process.wait() for process in running]):
        sys.exit((Path(homes[0]) / "process.log").read_text())
    return time.monotonic() - started


def celery(job: _Job, name: str, workers: int) -> float:
    """Return the seconds from the start of the first run to the end of the last."""
    names = [f"w{number}" for number in range(1, workers + 1)]
    folder = job.folder / name
    folder.mkdir()
    with cluster(job.sandbox, folder, names, job.run_env(name), separate=False, quick=False) as running:
        server = running.webserver
        backfill = server.backfill([f"en|chunk_{number:04d}" for number in range(job.chunks)])
        wait_until(lambda: server.backfill_status(backfill) not in ("REQUESTED", "CANCELING"), _PATIENCE_S, 1.0)
        runs = [run for run in server.runs() if run.key]
        if [run.status for run in runs] != ["SUCCESS"] * job.chunks:
            sys.exit(running.logs())
        return max(run.ended or 0.0 for run in runs) - min(run.started or 0.0 for run in runs)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scale.workers", description=__doc__)
    parser.add_argument("--by", choices=["modulo", "celery"], default="modulo")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--chunks", type=int, default=8)
    parser.add_argument("--episodes", type=int, default=110, help="in each chunk")
    parser.add_argument("--segments", type=int, default=100, help="in each episode")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    measure: Callable[[_Job, str, int], float] = {"modulo": modulo, "celery": celery}[options.by]
    folder = Path(tempfile.mkdtemp(prefix="r2-hf-workers-"))
    times: dict[int, list[float]] = {1: [], options.workers: []}
    try:
        with start_sandbox(folder / "sandbox") as sandbox, open_line(delay_s=DELAY_S) as line:
            line.connect(sandbox.s3.endpoint_url)
            _fill(sandbox, options.chunks * options.episodes, options.segments)
            env = {
                **sandbox.env(),
                "R2_ENDPOINT_URL": line.url,
                "DOWNLOAD_WORKERS": str(IN_FLIGHT),
                "EPISODES_PER_CHUNK": str(options.episodes),
                "SETTLE_MINUTES": "0",
                "HF_HUB_DISABLE_TELEMETRY": "1",
                "DAGSTER_DISABLE_TELEMETRY": "1",
            }
            job = _Job(sandbox, folder, env, options.chunks)
            for turn in range(options.rounds):
                for workers in times:
                    times[workers].append(measure(job, f"{options.by}-{workers}-{turn}", workers))
                    print(f"{workers}: {times[workers][-1]:.1f} s", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    objects = options.chunks * options.episodes * (options.segments + 1)
    bound = objects * DELAY_S / IN_FLIGHT
    alone = median(times[1])
    rows = [(count, median(taken), bound / count, alone / median(taken)) for count, taken in times.items()]
    print(tabulate(rows, [options.by, "s", "s by the line", "times one"], "github", floatfmt=("", ".1f", ".1f", ".2f")))


def _fill(sandbox: Sandbox, episodes: int, segments: int) -> None:
    s3 = sandbox.s3
    store = object_store(BucketSettings(s3.endpoint_url, s3.access_key, s3.secret_key, sandbox.bucket))
    fill_bucket(store, seed=5, episodes={"en": episodes}, segments=(segments,) * 2, seconds=_SECONDS)


def _home(folder: Path) -> str:
    folder.mkdir()
    shutil.copy(_ROOT / "dagster.yaml", folder)
    return str(folder)


if __name__ == "__main__":
    main()
