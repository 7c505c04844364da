"""Findings about the Hub's limits: the rules on both sides of each limit, a real repo, and the guide's figures."""

from dataclasses import replace
from pathlib import Path

import pytest

from r2_hf_assets.plan.chunks import Name
from r2_hf_assets.preflight import OK, WARN, limits
from r2_hf_assets.preflight.limits import RepoUse, check_commits, check_files, check_limits
from r2_hf_assets.settings import HubSettings, Settings, load
from r2_hf_assets_tests.support.world import World

GUIDE = (Path(__file__).parents[2] / "docs/guide.md").read_text()


def chunks(language: str, first: int, last: int) -> list[Name]:
    return [(language, number) for number in range(first, last)]


def committed(names: list[Name], parts: int = 1, commits: int = 0) -> RepoUse:
    """Return a repo with the index and the parts of each chunk, and a README."""
    files = ["README.md"]
    for language, number in names:
        stem = f"chunk-{number:05d}"
        parted = [f"{stem}-part-{part:02d}" for part in range(parts)] if parts > 1 else [stem]
        files += [f"data/{language}/{part}.parquet" for part in parted]
        files.append(f"metadata/{language}/{stem}.parquet")
    return RepoUse(tuple(files), commits)


@pytest.mark.parametrize(
    ("use", "planned", "level", "seen"),
    [
        (RepoUse(), [], OK, "0 in the fullest folder (the root), 0 in all"),
        (
            RepoUse(),
            chunks("en", 0, 4),
            OK,
            "0 in the fullest folder (data/en), 0 in all; with 4 chunks to come 4 and 8",
        ),
        (
            committed(chunks("en", 0, 2), parts=8),
            chunks("en", 0, 3),
            OK,
            "16 in the fullest folder (data/en), 19 in all; with 1 chunk to come 24 and 28",
        ),
        # A language without a committed chunk counts with the average of the others.
        (
            committed(chunks("de", 0, 1), parts=8),
            chunks("de", 0, 1) + chunks("en", 0, 999),
            OK,
            "0 in the fullest folder (data/en), 10 in all; with 999 chunks to come 7,992 and 9,001",
        ),
        (
            committed(chunks("en", 0, 1), parts=8),
            chunks("en", 0, 1000),
            WARN,
            "8 in the fullest folder (data/en), 10 in all; with 999 chunks to come 8,000 and 9,001",
        ),
        (
            committed([("en", 0), *chunks("de", 0, 8000)]),
            [],
            WARN,
            "8,000 in the fullest folder (data/de), 16,003 in all",
        ),
        # No folder is near its limit, but all files are.
        (
            RepoUse(tuple(f"{number // 100}/{number % 100}" for number in range(80_000))),
            [],
            WARN,
            "100 in the fullest folder (0), 80,000 in all",
        ),
    ],
)
def test_files(use: RepoUse, planned: list[Name], level: str, seen: str) -> None:
    finding = check_files(use, planned)
    assert (finding.level, finding.seen) == (level, seen)
    assert (level == WARN) is ("fewer than 10,000 and 100,000: raise PARQUET_MAX_BYTES" in finding.advice)


@pytest.mark.parametrize(
    ("use", "planned", "level", "seen"),
    [
        (RepoUse(commits=31), [], OK, "31 so far"),
        (RepoUse(commits=31), chunks("en", 0, 128), OK, "128 chunks to come, within the quota of 128 an hour"),
        (RepoUse(commits=31), chunks("en", 0, 1280), OK, "1,280 chunks to come, at least 10 hours by the quota of 128"),
        (committed(chunks("en", 0, 2399), commits=2399), chunks("en", 0, 2399), OK, "2,399 so far"),
        (committed(chunks("en", 0, 2399), commits=2399), chunks("en", 0, 2400), WARN, "1 chunk to come, within"),
        (RepoUse(commits=2400), [], WARN, "2,400 so far"),
    ],
)
def test_commits(use: RepoUse, planned: list[Name], level: str, seen: str) -> None:
    finding = check_commits(use, planned)
    assert finding.level == level and seen in finding.seen, finding
    assert (level == WARN) is ("after a few thousand commits: raise EPISODES_PER_CHUNK" in finding.advice)


@pytest.fixture
def settings(world: World) -> Settings:
    return load(world.env)


def test_a_repo_and_its_plan(in_process: World, settings: Settings) -> None:
    before = sorted(in_process.folder.rglob("*"))
    files, commits = check_limits(settings)
    assert files.seen == "0 in the fullest folder (the root), 0 in all" and commits.seen == "0 so far"
    assert sorted(in_process.folder.rglob("*")) == before, "looking creates no folder"
    in_process.upload(episodes={"en": 4}, segments=(2, 2), seconds=(0.3, 0.4))
    assert in_process.scan() is None
    assert in_process.build("en|chunk_0000") is None
    files, commits = check_limits(settings)
    paths = in_process.api().list_repo_files(in_process.repo_id, repo_type="dataset")
    history = in_process.api().list_repo_commits(in_process.repo_id, repo_type="dataset")
    root = sum("/" not in path for path in paths)
    assert files.seen.startswith(f"{root} in the fullest folder (the root), {len(paths)} in all; with 1 chunk to come")
    assert files.seen.endswith(f"{root} and {len(paths) + 2}")
    assert commits.seen == f"{len(history)} so far; 1 chunk to come, within the quota of 128 an hour"


def test_a_hub_that_does_not_respond_has_no_findings(settings: Settings, silent: str) -> None:
    for endpoint in ("http://127.0.0.1:9", silent):
        elsewhere = HubSettings(settings.hub.repo_id, settings.hub.token, endpoint)
        assert check_limits(replace(settings, hub=elsewhere)) == []


def test_a_response_of_something_else_has_no_findings(world: World, settings: Settings) -> None:
    world.api().create_repo(world.repo_id, repo_type="dataset")
    for status, body in ((503, "a proxy's page"), (200, "a proxy's page"), (200, "{}"), (200, "[]")):
        world.sandbox.hub.inject({"path_regex": f"/api/datasets/{world.repo_id}$", "status": status, "body": body})
        assert check_limits(settings) == [], body
        world.sandbox.hub.clear_faults()


def test_the_guide_has_the_same_figures() -> None:
    table = GUIDE.partition("## Hub limits")[2].partition("\n## ")[0]
    assert "November 2026" in table and "November 2026" in (limits.__doc__ or "")
    for figure in (limits.FOLDER_FILES, limits.REPO_FILES):
        assert f"{figure:,} files" in table
    assert f"{limits.COMMITS_AN_HOUR} commits an hour" in table
