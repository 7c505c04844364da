"""The doctor on a real bucket and Hub: what it sees of what is wrong there, one trouble at a time."""

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import obstore
import pytest

from r2_hf_assets.bucket.client import object_store
from r2_hf_assets.doctor import bucket, hub, stores
from r2_hf_assets.doctor.bucket import look_at_bucket
from r2_hf_assets.doctor.finding import Finding, Level
from r2_hf_assets.doctor.hub import look_at_hub
from r2_hf_assets.doctor.stores import look_at_plan, look_at_state
from r2_hf_assets.plan.scan import ScanRules, scan
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.settings import BucketSettings, HubSettings, PlanSettings, load
from r2_hf_assets_tests.objects_server import BUCKET, Answer, ObjectsServer, error
from r2_hf_assets_tests.world import World


def levels(found: list[Finding]) -> dict[str, str]:
    return {finding.name: finding.level.value for finding in found}


def named(found: list[Finding], name: str) -> Finding:
    (finding,) = [finding for finding in found if finding.name == name]
    return finding


@pytest.fixture
def r2(world: World) -> BucketSettings:
    settings = load(world.env).r2
    assert settings is not None
    return settings


@pytest.fixture
def repo(world: World) -> HubSettings:
    settings = load(world.env).hub
    assert settings is not None
    return settings


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An endpoint that takes connections and never answers; the doctor's patience is short."""
    for module in (bucket, hub):
        monkeypatch.setattr(module, "PATIENCE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_bucket_as_it_should_be(world: World, r2: BucketSettings) -> None:
    world.upload(episodes={"en": 1}, awkward=False, expect=False)
    found = look_at_bucket(r2)
    assert levels(found) == {"bucket": "ok", "episode": "ok", "clock (S3)": "ok"}
    assert "segments" in named(found, "episode").seen


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"secret_access_key": "wrong"}, "R2_SECRET_ACCESS_KEY"),
        ({"access_key_id": "nobody"}, "R2_ACCESS_KEY_ID"),
        ({"name": "no-such-bucket"}, "check R2_BUCKET"),
    ],
)
def test_a_bucket_that_refuses(r2: BucketSettings, change: dict[str, str], advice: str) -> None:
    found = named(look_at_bucket(replace(r2, **change)), "bucket")  # type: ignore[arg-type]
    assert found.level == Level.FAIL
    assert advice in found.advice


def test_an_endpoint_that_is_dead_or_silent(r2: BucketSettings, silent: str) -> None:
    for endpoint in ("http://127.0.0.1:9", silent):
        (found,) = look_at_bucket(replace(r2, endpoint_url=endpoint))
        assert found.level == Level.FAIL and found.advice.endswith("check R2_ENDPOINT_URL if this lasts")


def listing(key: str, _count: int) -> Answer | None:
    """By a clock that is an hour behind: below any prefix the folders `en` and `fr`, and more behind them."""
    if not key.startswith("?"):
        return None
    below = parse_qs(key[1:])["prefix"][0]
    names = "".join(f"<CommonPrefixes><Prefix>{below}{name}/</Prefix></CommonPrefixes>" for name in ("en", "fr"))
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>2</NextContinuationToken>"
    body = f"<ListBucketResult>{more}{names}</ListBucketResult>".encode()
    return Answer(200, body, {"Date": formatdate(time.time() - 3600, usegmt=True)})


def test_a_bucket_is_asked_four_times_and_its_clock_is_read() -> None:
    objects = {"processed/en/en/all_segments.json": b"[{}]", "processed/en/en/en_000000.mp3": b"ID3"}
    with ObjectsServer(objects, listing) as server:
        found = look_at_bucket(BucketSettings(server.url, "key", "secret", BUCKET))
    assert levels(found) == {"bucket": "ok", "episode": "ok", "clock (S3)": "FAIL"}
    assert "2 or more language folders" in named(found, "bucket").seen and server.asked.total() == 4


def test_a_bucket_that_says_no_time_is_not_compared() -> None:
    empty = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    with ObjectsServer({}, lambda key, n: Answer(200, empty, {"Date": ""})) as server:
        found = look_at_bucket(BucketSettings(server.url, "key", "secret", BUCKET))
    assert levels(found) == {"bucket": "warn", "clock (S3)": "warn"}


def test_a_refusal_for_the_clock_is_one_line_that_says_so() -> None:
    with ObjectsServer({}, lambda key, n: error(403, "RequestTimeTooSkewed")) as server:
        (found,) = look_at_bucket(BucketSettings(server.url, "key", "secret", BUCKET))
    assert found.advice.endswith("this machine's clock is wrong (RequestTimeTooSkewed); set it")
    assert server.asked.total() == 1


def test_a_bucket_with_nothing_or_strange_things_in_it(world: World, r2: BucketSettings) -> None:
    assert named(look_at_bucket(r2), "bucket").level == Level.WARN
    obstore.put(world.store(), "processed/en/new/new_000000.mp3", b"x")
    found = look_at_bucket(r2)
    assert levels(found) == {"bucket": "ok", "episode": "warn", "clock (S3)": "ok"}
    obstore.put(world.store(), "processed/en/new/all_segments.json", b"{}")
    assert "metadata_not_a_list" in named(look_at_bucket(r2), "episode").seen
    obstore.put(world.store(), "elsewhere/2024-01/a/b", b"x")
    strange = named(look_at_bucket(replace(r2, prefix="elsewhere/")), "bucket")
    assert strange.level == Level.WARN and "PROCESSED_PREFIX" in strange.advice


def test_stores_that_can_be_written_are_left_as_they_were(world: World, r2: BucketSettings, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    url = f"s3://{world.bucket}/state"
    for place in (str(folder), url):
        assert levels(look_at_state(place, r2)) == {"STATE_URL": "ok"}
    assert list(folder.iterdir()) == []
    assert [item["path"] for batch in obstore.list(world.store(), "state") for item in batch] == []
    assert levels(look_at_state(str(tmp_path / "new"), r2)) == {"STATE_URL": "ok"}
    assert not (tmp_path / "new").exists()


def test_stores_that_can_not(r2: BucketSettings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (str(tmp_path / "file" / "state"), "s3://no-such-bucket/state"):
        assert levels(look_at_state(place, r2)) == {"STATE_URL": "FAIL"}
    wrong_key = replace(r2, secret_access_key="wrong")
    (refused,) = look_at_state("s3://state", wrong_key)
    assert refused.level == Level.FAIL and "R2_SECRET_ACCESS_KEY" in refused.seen
    assert levels(look_at_state("s3://b/p", None)) == {"STATE_URL": "warn"}


def test_a_store_in_which_a_second_writer_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = obstore.put

    def careless(store: Any, path: str, data: bytes, **_: Any) -> Any:
        return real(store, path, data)

    monkeypatch.setattr(stores.obstore, "put", careless)
    (found,) = look_at_state(str(tmp_path), None)
    assert found.level == Level.FAIL and "second writer" in found.seen
    assert list(tmp_path.iterdir()) == []


def test_the_plan(world: World, tmp_path: Path) -> None:
    settings = load(world.env)
    assert settings.r2 is not None
    plan = settings.plan
    (none_yet,) = look_at_plan(plan, settings.r2)
    assert none_yet.level == Level.OK and "none yet" in none_yet.seen
    world.upload(episodes={"en": 4}, awkward=False, expect=False)
    scan(object_store(settings.r2), open_plan(plan, settings.r2), ScanRules(frozenset({"en"}), 3))
    (there,) = look_at_plan(plan, settings.r2)
    assert there.level == Level.OK and "2 chunks in 1 languages" in there.seen
    (foreign,) = look_at_plan(plan, replace(settings.r2, name="another"))
    assert foreign.level == Level.FAIL and "set STATE_URL" in foreign.seen
    (tmp_path / "empty").mkdir()
    assert levels(look_at_plan(PlanSettings(str(tmp_path / "empty")), settings.r2)) == {"plan": "ok"}
    manifest = next(Path(plan.state_url).rglob("chunk_0000.json"))
    manifest.unlink()
    (gap,) = look_at_plan(plan, settings.r2)
    assert gap.level == Level.FAIL and "restore it" in gap.seen


def test_a_hub_as_it_should_be(world: World, repo: HubSettings) -> None:
    found = look_at_hub(repo)
    assert levels(found) == {"hub": "ok", "token": "ok", "repo": "ok", "clock (Hub)": "ok"}
    assert "the first commit creates it, public" in named(found, "repo").seen
    world.api().create_repo(world.repo_id, repo_type="dataset")
    assert "is there, public" in named(look_at_hub(repo), "repo").seen
    assert named(look_at_hub(replace(repo, private=True)), "repo").level == Level.WARN


def test_tokens_that_will_not_do(world: World, repo: HubSettings) -> None:
    reader = look_at_hub(replace(repo, token=world.sandbox.hub.read_token))
    assert levels(reader) == {"hub": "ok", "token": "FAIL", "repo": "ok", "clock (Hub)": "ok"}
    assert "role read: it may not write" in named(reader, "token").seen
    unknown = look_at_hub(replace(repo, token="hf_nobody"))
    assert levels(unknown) == {"hub": "ok", "token": "FAIL", "repo": "FAIL", "clock (Hub)": "ok"}
    assert "expired or revoked" in named(unknown, "token").seen


def test_a_token_of_one_repo_that_is_not_there(world: World, repo: HubSettings) -> None:
    scope = {"entity": {"type": "dataset", "name": repo.repo_id}, "permissions": ["repo.write"]}
    token = {"displayName": "one", "role": "fineGrained", "fineGrained": {"scoped": [scope]}}
    who = {"name": "sandbox", "orgs": [], "auth": {"accessToken": token}}
    world.sandbox.hub.faults({"method": "GET", "path_regex": "/whoami-v2", "times": 1, "status": 200, "body": who})
    assert levels(look_at_hub(repo)) == {"hub": "ok", "token": "ok", "repo": "FAIL", "clock (Hub)": "ok"}


def test_a_hub_that_is_dead_silent_or_another_thing(
    world: World, repo: HubSettings, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for endpoint in ("http://127.0.0.1:9", silent):
        (found,) = look_at_hub(replace(repo, endpoint=endpoint))
        assert (found.level, found.advice) == (Level.FAIL, "check HF_ENDPOINT")
    world.sandbox.hub.faults(
        {"method": "GET", "path_regex": "/api/", "times": 2, "status": 503, "body": json.dumps("down")}
    )
    assert levels(look_at_hub(repo))["hub"] == "FAIL"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in look_at_hub(repo)[0].seen
