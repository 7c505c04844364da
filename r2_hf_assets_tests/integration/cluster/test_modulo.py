"""Shared-nothing: four machines with a DAGSTER_HOME each, `--chunk-mod 4 --chunk-rem R`, and the plan on S3."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

import pytest
from dagster import DagsterInstance

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.plan.due import find_due
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.plural import plural
from r2_hf_assets.runs.history import recorded_digests
from r2_hf_assets.settings import load
from r2_hf_assets_tests.cli.calls import start
from r2_hf_assets_tests.support.world import World

MACHINES = 4
EPISODES = {"en": 6, "de": 3}
CHUNKS = {"en": 6, "de": 3}  # one episode each


@contextmanager
def at(world: World, machine: int, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`r2-hf ARGUMENTS` on a machine: a working folder with a .env, and its own DAGSTER_HOME."""
    folder = world.folder / f"machine{machine}"
    home = folder / "dagster_home"
    home.mkdir(parents=True, exist_ok=True)
    own = {"DAGSTER_HOME": str(home), "HF_HOME": str(folder / "hf_home"), "STATE_URL": f"s3://{world.bucket}/state"}
    there = World(world.sandbox, folder, world.bucket, world.repo_id, {**world.env, **own, "EPISODES_PER_CHUNK": "1"})
    there.write_dotenv()
    process = start(there, *arguments)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()


def on_each(world: World, machines: Sequence[int], *arguments: str) -> list[tuple[int | None, str, str]]:
    """Run the same command on these machines at once; R in it is the machine's number."""
    with ExitStack() as stack:
        words = [[word.replace("R", str(machine)) for word in arguments] for machine in machines]
        started = [stack.enter_context(at(world, m, *call)) for m, call in zip(machines, words, strict=True)]
        outputs = [process.communicate() for process in started]
        return [(process.returncode, out, err) for process, (out, err) in zip(started, outputs, strict=True)]


def share(machine: int) -> int:
    """Return how many chunks are this machine's by modulo."""
    return sum(number % MACHINES == machine for count in CHUNKS.values() for number in range(count))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_four_machines_share_the_chunks_by_modulo(world: World) -> None:
    expected = world.upload(episodes=EPISODES, segments=(1, 2), seconds=(0.2, 0.3))
    total = sum(CHUNKS.values())
    # Two machines scan at once, two never: there is one plan.
    for code, out, err in on_each(world, (0, 1), "scan"):
        assert code == 0, err
        assert out.strip() == f"{total} chunks planned", err
    listed = world.sandbox.s3.client().list_objects_v2(Bucket=world.bucket, Prefix="state/plan/")["Contents"]
    manifests = [json.loads(world.object(item["Key"])) for item in listed if "/chunk_" in item["Key"]]
    assert Counter(manifest["language"] for manifest in manifests) == CHUNKS
    members = [episode for manifest in manifests for episode in manifest["episodes"]]
    assert len(members) == len(set(members)) == expected.episodes

    done = on_each(world, range(MACHINES), "process", "--chunk-mod", str(MACHINES), "--chunk-rem", "R")
    for machine, (code, _, err) in enumerate(done):
        assert code == 0, err
        assert f"{plural(share(machine), 'chunk')} done, 0 failed" in err
    assert len(world.commits()) == len(set(world.commits())) == total
    assert world.row_keys() == sorted(row.key for row in expected.rows)

    # A machine's history has its own commits; those of the others are read from the Hub.
    assert status(world, 3) == {"committed": share(3), "due": total - share(3)}
    ((code, _, err),) = on_each(world, (3,), "reconcile", "--record")
    assert code == 0, err
    assert status(world, 3) == {"committed": total, "due": 0}
    assert len(world.commits()) == total


def status(world: World, machine: int) -> dict[str, int]:
    """Return what `r2-hf status` counts on a machine over all languages."""
    settings = load({**world.env, "STATE_URL": f"s3://{world.bucket}/state"})
    planned = open_plan(settings.plan, settings.r2).planned()
    with DagsterInstance.from_config(str(world.folder / f"machine{machine}" / "dagster_home")) as instance:
        left = find_due(planned, recorded_digests(instance, COMMIT))
    return {"committed": len(planned) - len(left), "due": len(left)}
