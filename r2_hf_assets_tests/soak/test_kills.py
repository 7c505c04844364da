"""The short form of the soak: chosen kills of real processes, then every invariant. `make soak` is the long form."""

import sys
from collections import Counter
from pathlib import Path

import pytest

from r2_hf_assets_tests.soak import kill_points
from r2_hf_assets_tests.soak.amender import HOLD
from r2_hf_assets_tests.soak.kill_points import KillSpec
from r2_hf_assets_tests.soak.points import POINTS
from r2_hf_assets_tests.soak.rounds import run_round
from r2_hf_assets_tests.soak.targets import COMMAND, HOST, HUB
from r2_hf_sandbox.hub.repos import Repos
from r2_hf_sandbox.sandbox import Sandbox

SEED = 7
EPISODES = {"deu": 3}
SCAN = [KillSpec("between manifests", skip=1)]
CHUNKS = [
    # First, because a run that died with its host is noticed late; the others continue meanwhile.
    KillSpec("between record and event", HOST),
    KillSpec("in the middle of a row group", skip=1),
    KillSpec("before a part is finished"),
    KillSpec("between finish and the end of the upload", HUB),
    KillSpec("between upload and record"),
    KillSpec("between record and commit"),
    KillSpec("during the commit", HUB, size=20),
    KillSpec("after the commit"),
]
# Of a removal of an episode that a run holds, right before its commit.
COMMANDS = [KillSpec("after the amendment is stored", COMMAND), KillSpec("before the copy's commit", HUB)]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # Dagster warns with a trace whenever the code server is down
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_every_row_arrives_once_when_processes_are_killed_at_chosen_points(sandbox: Sandbox, tmp_path: Path) -> None:
    lines = [f"seed {SEED}"]
    done = run_round(
        0,
        tmp_path / "site",
        sandbox.s3,
        seed=SEED,
        kills=len(SCAN) + len(CHUNKS) + len(COMMANDS),
        log=lines.append,
        chosen=[*COMMANDS, *SCAN, *CHUNKS],
        wave=EPISODES,
        episodes_a_chunk=3,
        amend=[HOLD],
    )
    print("\n".join([*lines, *done.broken]))
    assert done.broken == []
    assert Counter((kill.where, kill.target) for kill in done.kills) == Counter(
        (spec.point, spec.target) for spec in (*SCAN, *CHUNKS, *COMMANDS)
    )
    assert done.removals[HOLD] == 1 and done.files_read > 0
    assert done.rows.found == done.rows.expected > 0
    assert done.runs["retries"] > 0


def test_every_kill_point_names_a_function_of_the_product() -> None:
    for point in POINTS.values():
        assert all(callable(getattr(owner, name)) for owner, name in kill_points.owners(point)), point


def test_a_repository_is_created_when_an_earlier_attempt_was_killed_midway(tmp_path: Path) -> None:
    repo = Repos(tmp_path).create("me/speech", private=False, author="me", first={})
    assert repo is not None
    (commit,) = (repo.folder / "commits").iterdir()
    commit.unlink()
    again = Repos(tmp_path)
    assert again.get("me/speech") is None
    assert again.create("me/speech", private=False, author="me", first={}) is not None
    assert len(Repos(tmp_path).get("me/speech").commits) == 1  # type: ignore[union-attr]
