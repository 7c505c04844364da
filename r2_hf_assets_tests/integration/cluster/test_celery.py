"""One Dagster, PostgreSQL and Redis, two machines with a Celery worker each: the short form of make cluster-demo.

What is missing is installed; where that is impossible the tests are skipped with the reason.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from r2_hf_assets_tests.integration.cluster import network
from r2_hf_assets_tests.integration.cluster.cluster import Cluster, cluster
from r2_hf_assets_tests.integration.cluster.installed import NotInstalled
from r2_hf_assets_tests.integration.cluster.kill import backfill_and_kill, hanging_run
from r2_hf_assets_tests.support.world import World
from r2_hf_sandbox.processes import wait_until
from r2_hf_sandbox.samples.bucket import SampleSummary, upload_samples
from r2_hf_sandbox.sandbox import Sandbox

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),  # the first time, apt installs PostgreSQL
]
EPISODES = {"en": 4, "de": 4}


@pytest.fixture(scope="module")
def running(sandbox: Sandbox) -> Iterator[tuple[Cluster, SampleSummary]]:
    """A cluster of two machines, four chunks planned on it."""
    folder = Path(tempfile.mkdtemp(prefix="r2-hf-cluster-"))
    try:
        world = World.make(sandbox, folder, "cluster")
        expected = upload_samples(sandbox.s3, world.bucket, seed=3, episodes=EPISODES, segments=(2, 3))
        state = f"s3://{world.bucket}/r2_hf/state"
        env = {**world.env, "STATE_URL": state, "LANGUAGES": ",".join(EPISODES), "EPISODES_PER_CHUNK": "2"}
        with cluster(sandbox, folder, ("w1", "w2"), env) as made:
            yield made, expected
    except NotInstalled as reason:
        pytest.skip(str(reason))
    finally:
        sandbox.hub.clear_faults()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_terminated_run_is_canceled_and_not_retried(running: tuple[Cluster, SampleSummary]) -> None:
    on, _ = running
    mark = on.sandbox.hub.mark()
    on.sandbox.hub.inject({"method": "POST", "path_regex": f"{on.env['HF_REPO_ID']}/commit/", "delay_s": 300})
    backfill = on.webserver.backfill(["en|chunk_0001"])
    run = hanging_run(on, mark)
    on.webserver.terminate(run.id)
    assert wait_until(lambda: on.webserver.run(run.id).finished, 120, 1.0), on.logs()
    on.sandbox.hub.clear_faults()
    assert on.webserver.run(run.id).status == "CANCELED", on.logs()
    # A retry would be launched before the backfill ends.
    assert wait_until(lambda: on.webserver.backfill_status(backfill) not in ("REQUESTED", "CANCELING"), 120, 1.0)
    assert [each.id for each in on.webserver.runs() if each.key] == [run.id]


def test_every_partition_is_committed_once_when_a_machine_crashes_during_a_commit(
    running: tuple[Cluster, SampleSummary],
) -> None:
    on, expected = running
    lines: list[str] = []
    done = backfill_and_kill(on, expected, after_commits=1, restart=False, log=lines.append)
    print("\n".join(lines))
    assert done.broken == [], on.logs()
    assert len(done.keys) == 4 and done.rows == len(expected.rows) > 0
    finished = [run for runs in done.runs.values() for run in runs if run.status == "SUCCESS"]
    survivor = {"w1": "w2", "w2": "w1"}[done.killed]
    assert survivor in {on.worker_of(run) for run in finished}
    assert on.worker_of(on.webserver.run(done.lost_run)) == done.killed
    assert (network.available() is True) == all(machine.namespace for machine in on.net.machines)
    check_logs_in_the_bucket(on)


def check_logs_in_the_bucket(on: Cluster) -> None:
    """Check that the bucket has the compute logs of every run, of both workers."""
    client, bucket = on.sandbox.s3.client(), on.env["R2_BUCKET"]
    listed = client.list_objects_v2(Bucket=bucket, Prefix="dagster/compute_logs/").get("Contents", [])
    logs = [item["Key"] for item in listed if item["Key"].endswith(".err")]
    runs = {run.id for run in on.webserver.runs() if run.key and run.status == "SUCCESS"}
    assert runs and runs <= {key.split("/")[3] for key in logs}, json.dumps(logs)
    body = client.get_object(Bucket=bucket, Key=logs[-1])["Body"].read().decode()
    assert "RUN_" in body or "STEP_" in body
