"""The doctor's rules: each in the state in which it finds nothing, and in those in which it finds something."""

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from r2_hf_assets.doctor.clock import judge_clock
from r2_hf_assets.doctor.configuration import look_at_settings, secrets_of
from r2_hf_assets.doctor.finding import Level, examine, hide, ok
from r2_hf_assets.doctor.hub import judge_repo, judge_token, may_create
from r2_hf_assets.doctor.machine import (
    judge_env_file,
    judge_files,
    judge_languages,
    judge_scratch,
    judge_versions,
    look_at_disks,
    look_at_shell,
    look_at_versions,
)
from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.retry import parse_http_date
from r2_hf_assets.settings import HubSettings, ShardSettings, load

OK, WARN, FAIL = Level.OK, Level.WARN, Level.FAIL


def identity(role: str, *, scoped: list[dict[str, Any]] | None = None, orgs: dict[str, str] | None = None) -> dict:
    """What whoami answers, in the Hub's form."""
    token: dict[str, Any] = {"displayName": "mine", "role": role}
    if scoped is not None:
        token["fineGrained"] = {"canReadGatedRepos": False, "global": [], "scoped": scoped}
    teams = [{"type": "org", "name": name, "roleInOrg": member} for name, member in (orgs or {}).items()]
    return {"type": "user", "name": "me", "orgs": teams, "auth": {"type": "access_token", "accessToken": token}}


def scope(kind: str, name: str, *permissions: str) -> dict[str, Any]:
    return {"entity": {"_id": "0", "type": kind, "name": name}, "permissions": list(permissions)}


@pytest.mark.parametrize(
    ("who", "repo", "level"),
    [
        (identity("write"), "me/speech", OK),
        (identity("read"), "me/speech", FAIL),
        (identity("write", orgs={"team": "write"}), "team/speech", OK),
        (identity("write", orgs={"team": "admin"}), "team/speech", OK),
        (identity("write", orgs={"team": "read"}), "team/speech", FAIL),
        (identity("write", orgs={"team": "contributor"}), "team/speech", WARN),
        (identity("write"), "others/speech", WARN),
        (identity("fineGrained", scoped=[]), "me/speech", FAIL),
        (identity("fineGrained", scoped=[scope("user", "me", "repo.content.read")]), "me/speech", FAIL),
        (identity("fineGrained", scoped=[scope("user", "me", "repo.write")]), "me/speech", OK),
        (identity("fineGrained", scoped=[scope("dataset", "me/speech", "repo.write")]), "me/speech", OK),
        (identity("fineGrained", scoped=[scope("dataset", "me/other", "repo.write")]), "me/speech", FAIL),
        (
            identity("fineGrained", scoped=[scope("org", "team", "repo.write")], orgs={"team": "write"}),
            "team/speech",
            OK,
        ),
        (identity("fineGrained", scoped=[scope("user", "me", "repo.write")], orgs={"team": "write"}), "team/a", FAIL),
        (identity("something new"), "me/speech", WARN),
        ({}, "me/speech", WARN),
    ],
)
def test_what_a_token_may_do(who: dict, repo: str, level: Level) -> None:
    found = judge_token(who, repo)
    assert (found.name, found.level) == ("token", level)
    assert bool(found.advice) is (level is not OK)


def test_a_token_for_one_repo_may_not_create_it() -> None:
    single = identity("fineGrained", scoped=[scope("dataset", "me/speech", "repo.write")])
    assert not may_create(single, "me/speech")
    assert may_create(identity("fineGrained", scoped=[scope("user", "me", "repo.write")]), "me/speech")
    assert may_create(identity("write"), "me/speech")


@pytest.mark.parametrize(
    ("status", "info", "private", "creatable", "level", "said"),
    [
        (200, {"private": False}, False, True, OK, "there, public"),
        (200, {"private": True}, True, True, OK, "there, private"),
        (200, {"private": True}, False, True, OK, "there, private"),
        (200, {"private": False}, True, True, WARN, "there, public"),
        (200, {"private": False, "disabled": True}, False, True, FAIL, "disabled"),
        (404, {}, True, True, OK, "creates it, private"),
        (404, {}, False, True, OK, "creates it, public"),
        (404, {}, False, False, FAIL, "nor may it create it"),
        (401, {}, False, True, FAIL, "may not be seen"),
        (503, {}, False, True, WARN, "HTTP 503"),
    ],
)
def test_the_repo(status: int, info: dict, private: bool, creatable: bool, level: Level, said: str) -> None:
    hub = HubSettings("me/speech", "hf_x", private=private)
    found = judge_repo(status, info, hub, creatable)
    assert found.level == level
    assert said in found.seen


@pytest.mark.parametrize(
    ("date", "level", "said"),
    [
        ("Wed, 25 Nov 2026 15:00:10 GMT", OK, "within 10 s"),
        ("Wed, 25 Nov 2026 14:57:00 GMT", WARN, "180 s ahead"),
        ("Wed, 25 Nov 2026 15:16:00 GMT", FAIL, "960 s behind"),
        (None, WARN, "says no time"),
        ("yesterday", WARN, "says no time"),
    ],
)
def test_the_clock(date: str | None, level: Level, said: str) -> None:
    found = judge_clock(
        "clock", "the bucket", parse_http_date(date or ""), datetime(2026, 11, 25, 15, 0, 0, tzinfo=UTC)
    )
    assert found.level == level
    assert said in found.seen


@pytest.mark.parametrize(("free", "keep", "level"), [(3 * 10**9, False, OK), (10**9, False, FAIL), (10**9, True, FAIL)])
def test_the_disk_must_hold_one_part_where_content_goes_over_lfs(free: int, keep: bool, level: Level) -> None:
    assert judge_scratch(Path("/data"), free, ShardSettings("s", "k", keep=keep)).level == level


def test_kept_shards_grow_with_the_dataset() -> None:
    found = judge_scratch(Path("/data"), 10**12, ShardSettings("s", "k", keep=True))
    assert found.level == WARN and "this grows with the dataset" in found.seen


def test_scratch_is_looked_at_only_where_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def names(**values: str) -> list[str]:
        return [found.name for found in look_at_disks(load({"DAGSTER_HOME": str(tmp_path), **values}, needs=()))]

    monkeypatch.delenv("HF_HUB_DISABLE_XET", raising=False)
    assert names() == ["HF_HOME"]
    assert names(KEEP_SHARDS="1") == ["HF_HOME", "scratch"]
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    assert names() == ["HF_HOME", "scratch"]


def test_shards_of_an_earlier_release_are_named_with_their_size(tmp_path: Path) -> None:
    shards = tmp_path / "r2_hf_assets" / "shards"
    (shards / "en").mkdir(parents=True)
    home = {"DAGSTER_HOME": str(tmp_path)}
    assert [found.name for found in look_at_disks(load(home, needs=()))] == ["HF_HOME"], "nothing lies there"
    with (shards / "en" / "chunk-00000.parquet").open("wb") as file:
        file.truncate(3 * 10**9)
    left = look_at_disks(load(home, needs=()))[-1]
    assert (left.level, left.seen) == (WARN, f"3.0 GB at {shards} are read by nobody")
    assert left.advice == f"delete it: rm -r {shards}"
    kept = [found.name for found in look_at_disks(load({**home, "KEEP_SHARDS": "1"}, needs=()))]
    assert kept == ["HF_HOME", "scratch"], "with KEEP_SHARDS they are wanted"


@pytest.mark.parametrize(
    ("limit", "workers", "level"),
    [(-1, 128, OK), (1024, 128, OK), (256, 128, WARN), (128, 128, FAIL), (1024, 2000, FAIL)],
)
def test_open_files(limit: int, workers: int, level: Level) -> None:
    found = judge_files(limit, workers)
    assert found.level == level
    assert ("ulimit -n" in found.advice) is (level is not OK)


def test_versions() -> None:
    needs = {"pyarrow": Requirement("pyarrow>=21"), "obstore": Requirement("obstore>=0.8")}
    assert judge_versions({"pyarrow": "26.0.1", "obstore": "0.12.1"}, needs).level == OK
    old = judge_versions({"pyarrow": "20.0.0", "obstore": None}, needs)
    assert old.level == FAIL
    assert "pyarrow>=21 is needed, 20.0.0 is here" in old.seen
    assert "obstore>=0.8 is needed, none is here" in old.seen
    assert [found.level for found in look_at_versions()] == [OK]


def test_uploads_over_lfs_are_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    assert [found.level for found in look_at_versions()] == [OK, WARN]


def test_an_env_file_that_others_may_read(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    assert judge_env_file(env).level == OK
    env.touch(mode=0o600)
    assert judge_env_file(env).level == OK
    env.chmod(0o644)
    assert judge_env_file(env).level == WARN


def test_an_exported_module_name_is_a_trap(tmp_path: Path) -> None:
    trap = look_at_shell({"DAGSTER_MODULE_NAME": "r2_hf_assets.definitions"}, tmp_path / ".env")
    assert [found.level for found in trap] == [OK, WARN]
    assert [found.level for found in look_at_shell({"DAGSTER_MODULE_NAME": ""}, tmp_path / ".env")] == [OK]


def test_languages() -> None:
    assert judge_languages(LANGUAGES, {}).level == OK
    fits = judge_languages(LANGUAGES, {"languages_that_fit": "LANGUAGES=de,en", "folders_left_out": {}})
    assert fits.level == OK and "LANGUAGES=de,en would make" in fits.seen
    left_out = judge_languages(("de", "en"), {"folders_left_out": {"fr": 2}})
    assert left_out.level == WARN and "fr (2 folders)" in left_out.seen


FULL = {
    "R2_ENDPOINT_URL": "http://127.0.0.1:9",
    "R2_ACCESS_KEY_ID": "key-id-to-hide",
    "R2_SECRET_ACCESS_KEY": "secret-to-hide",
    "R2_BUCKET": "podcasts",
    "HF_REPO_ID": "me/speech",
    "HF_TOKEN": "hf_token-to-hide",
}


def test_settings_and_what_is_left_of_them() -> None:
    (fine,), settings = look_at_settings(FULL)
    assert fine.level == OK and settings.r2 and settings.hub
    (wrong,), settings = look_at_settings(FULL | {"HF_REPO_ID": "speech", "DOWNLOAD_WORKERS": "many"})
    assert wrong.level == FAIL and "DOWNLOAD_WORKERS='many'" in wrong.seen
    assert settings.r2 is not None and settings.r2.workers == 128
    assert settings.hub is None
    (missing,), settings = look_at_settings({})
    assert missing.level == FAIL and settings.r2 is None


def test_one_that_hangs_or_breaks_costs_only_its_own_answer() -> None:
    over = threading.Event()

    def hangs() -> list:
        over.wait(60)
        return []

    def breaks() -> list:
        raise RuntimeError("first line\nsecond line")

    found = examine({"hangs": hangs, "breaks": breaks, "well": lambda: [ok("well", "fine")]}, deadline_s=0.2)
    over.set()
    assert [(f.name, f.level) for f in found] == [("hangs", FAIL), ("breaks", FAIL), ("well", OK)]
    assert "no answer within 0.2 s" in found[0].seen
    assert found[1].seen == "could not be looked at: RuntimeError: first line"


def test_no_secret_is_shown_and_a_finding_is_one_line() -> None:
    quoted = ok("hub", "said: secret-to-hide\nand key-id-to-hide")
    (found,) = hide([quoted], secrets_of(FULL))
    assert found.seen == "said: *** and ***"
