"""The demo: a cluster on this machine, one of its machines crashes during a backfill, and the outcome."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from r2_hf_assets_tests.integration.cluster.cluster import Cluster, cluster
from r2_hf_assets_tests.integration.cluster.installed import NotInstalled
from r2_hf_assets_tests.integration.cluster.kill import ClusterError, Outcome, backfill_and_kill
from r2_hf_sandbox.processes import SandboxError
from r2_hf_sandbox.samples.bucket import upload_samples
from r2_hf_sandbox.sandbox import Sandbox, start_sandbox

_NAMES = ("w1", "w2")
# 12 partitions: 3 languages with 4 chunks of 2 episodes each.
_EPISODES = {"en": 8, "de": 8, "fr": 8}
_EPISODES_A_CHUNK = 2
_AFTER_COMMITS = 4


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is stopped and removed
    separate = False if options.no_namespaces else None
    folder = Path(tempfile.mkdtemp(prefix="r2-hf-cluster-"))
    started = time.monotonic()
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        with start_sandbox(folder / "sandbox") as sandbox:
            expected = upload_samples(sandbox.s3, sandbox.bucket, seed=7, episodes=_EPISODES, segments=(8, 12))
            _print(f"{expected.episodes} episodes with {expected.segments} segments in the bucket")
            with cluster(sandbox, folder, _NAMES, _environment(sandbox), separate=separate) as running:
                _print_addresses(running, started)
                done = backfill_and_kill(running, expected, after_commits=_AFTER_COMMITS, restart=True, log=_print)
                _table(running, done, len(expected.rows))
    except (NotInstalled, SandboxError, ClusterError) as error:
        sys.exit(f"cluster-demo: {error}")
    finally:
        if options.keep_logs:
            _print(f"logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    _print(f"everything is stopped and removed; {time.monotonic() - started:.0f} s in all")
    return 1 if done.broken else 0


def _environment(sandbox: Sandbox) -> dict[str, str]:
    state = f"s3://{sandbox.bucket}/r2_hf/state"
    more = {"LANGUAGES": ",".join(_EPISODES), "EPISODES_PER_CHUNK": str(_EPISODES_A_CHUNK), "SETTLE_MINUTES": "0"}
    return {**sandbox.env(), "STATE_URL": state, **more}


def _print_addresses(running: Cluster, started: float) -> None:
    where = ", ".join(
        f"{machine.name} at {machine.address}" + ("" if machine.namespace else " (without a namespace)")
        for machine in running.net.machines
    )
    _print(f"up after {time.monotonic() - started:.0f} s: webserver at {running.webserver.url}, machines {where}")


def _table(running: Cluster, done: Outcome, rows: int) -> None:
    _print(f"\n  {'partition':16}{'worker':>12}{'runs':>28}{'commits':>9}")
    work: Counter[str] = Counter()
    for key in done.keys:
        runs = done.runs[key]
        workers = [running.worker_of(run) or "-" for run in runs]
        work.update(name for name, run in zip(workers, runs, strict=True) if run.status == "SUCCESS")
        statuses = ", ".join(run.status for run in runs)
        _print(f"  {key:16}{', '.join(workers):>12}{statuses:>28}{done.commits.get(key, 0):>9}")
    _print(
        f"\n  backfill {done.backfill}; {done.rows} of {rows} rows on the Hub; chunks done by "
        + ", ".join(f"{name}: {work[name]}" for name in _NAMES)
    )
    _print(f"  {done.killed} was killed during a commit; its run was ended after {done.lost_s:.0f} s, and retried")
    for line in done.broken:
        _print(f"  WRONG: {line}")
    if not done.broken:
        _print(f"  all {len(done.keys)} partitions committed exactly once\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m r2_hf_assets_tests.integration.cluster", description=__doc__)
    parser.add_argument("--no-namespaces", action="store_true", help="all workers on this machine's network")
    parser.add_argument("--keep-logs", action="store_true", help="keep the folder with the logs, and print its path")
    return parser.parse_args()


def _print(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
