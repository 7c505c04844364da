"""Killed anywhere, the short form: chosen kills on real processes, then every promise. `make soak` is the long one."""

import sys
from collections import Counter
from pathlib import Path

import pytest

from r2_hf_assets_tests.soak import points
from r2_hf_assets_tests.soak.points import POINTS, Shot
from r2_hf_assets_tests.soak.soak import run_round
from r2_hf_assets_tests.soak.victims import HOST, HUB
from r2_hf_sandbox.hub.repos import Repos
from r2_hf_sandbox.sandbox import Sandbox

SEED = 7
EPISODES = {"deu": 3}
SCAN = [Shot("between manifests", skip=1)]
CHUNKS = [
    # First, because a run that died with its host is noticed late; the others go on meanwhile.
    Shot("between record and event", HOST),
    Shot("in the middle of a row group", skip=1),
    Shot("before a part is finished"),
    Shot("between finish and the end of the upload", HUB),
    Shot("between upload and record"),
    Shot("between record and commit"),
    Shot("during the commit", HUB, size=20),
    Shot("after the commit"),
]


@pytest.mark.slow
@pytest.mark.xdist_group("kills")
@pytest.mark.timeout(400)
@pytest.mark.filterwarnings("ignore")  # Dagster warns with a trace whenever the code server is down
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_killed_at_chosen_points_everything_arrives_once(sandbox: Sandbox, tmp_path: Path) -> None:
    said: list[str] = [f"seed {SEED}"]
    done = run_round(
        0,
        tmp_path / "site",
        sandbox.s3,
        seed=SEED,
        kills=len(SCAN) + len(CHUNKS),
        say=said.append,
        shots=CHUNKS,
        scan_shots=SCAN,
        wave=EPISODES,
        at_random=False,
        episodes_a_chunk=3,
    )
    print("\n".join([*said, *done.broken]))
    assert done.broken == []
    assert Counter((kill.where, kill.victim) for kill in done.kills) == Counter(
        (shot.point, shot.victim) for shot in (*SCAN, *CHUNKS)
    )
    assert done.rows.found == done.rows.expected > 0
    assert done.runs["retries"] > 0


def test_every_point_is_a_place_in_the_product() -> None:
    for point in POINTS.values():
        assert all(callable(getattr(owner, name)) for owner, name in points.owners(point)), point


def test_a_hub_killed_while_it_made_a_repository_makes_it_when_asked_again(tmp_path: Path) -> None:
    made = Repos(tmp_path).create("me/speech", private=False, author="me", first={})
    assert made is not None
    (commit,) = (made.folder / "commits").iterdir()
    commit.unlink()
    again = Repos(tmp_path)
    assert again.get("me/speech") is None
    assert again.create("me/speech", private=False, author="me", first={}) is not None
    assert len(Repos(tmp_path).get("me/speech").commits) == 1  # type: ignore[union-attr]
