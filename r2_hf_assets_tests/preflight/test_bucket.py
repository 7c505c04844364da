"""The findings about a real bucket, one trouble at a time."""

from dataclasses import replace
from urllib.parse import parse_qs

import obstore
import pytest

from r2_hf_assets.preflight import FAIL, WARN, Finding
from r2_hf_assets.preflight.bucket import check_bucket
from r2_hf_assets.settings import BucketSettings
from r2_hf_assets_tests.support.objects_server import BUCKET, ObjectsServer, Response, error
from r2_hf_assets_tests.support.world import World


def levels(found: list[Finding]) -> dict[str, str]:
    return {finding.name: finding.level for finding in found}


def named(found: list[Finding], name: str) -> Finding:
    (finding,) = [finding for finding in found if finding.name == name]
    return finding


def test_a_bucket_as_it_should_be(world: World, r2: BucketSettings) -> None:
    world.upload(episodes={"en": 1}, awkward=False, expect=False)
    found = check_bucket(r2)
    assert levels(found) == {"bucket": "ok", "episode": "ok"}
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
    found = named(check_bucket(replace(r2, **change)), "bucket")  # type: ignore[arg-type]
    assert found.level == FAIL
    assert advice in found.advice


def test_an_endpoint_that_is_dead_or_silent(r2: BucketSettings, silent: str) -> None:
    for endpoint in ("http://127.0.0.1:9", silent):
        (found,) = check_bucket(replace(r2, endpoint_url=endpoint))
        assert found.level == FAIL and found.advice.endswith("check R2_ENDPOINT_URL if this lasts")


def listing(key: str, _count: int) -> Response | None:
    """Below any prefix the folders `en` and `fr`, and more behind them."""
    if not key.startswith("?"):
        return None
    below = parse_qs(key[1:])["prefix"][0]
    names = "".join(f"<CommonPrefixes><Prefix>{below}{name}/</Prefix></CommonPrefixes>" for name in ("en", "fr"))
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>2</NextContinuationToken>"
    body = f"<ListBucketResult>{more}{names}</ListBucketResult>".encode()
    return Response(200, body)


def test_a_bucket_is_asked_four_times() -> None:
    objects = {"processed/en/en/all_segments.json": b"[{}]", "processed/en/en/en_000000.mp3": b"ID3"}
    with ObjectsServer(objects, listing) as server:
        found = check_bucket(BucketSettings(server.url, "key", "secret", BUCKET))
    assert levels(found) == {"bucket": "ok", "episode": "ok"}
    assert "2 or more language folders" in named(found, "bucket").seen and server.requests.total() == 4


def test_a_refusal_for_the_clock_is_one_line_that_says_so() -> None:
    with ObjectsServer({}, lambda key, n: error(403, "RequestTimeTooSkewed")) as server:
        (found,) = check_bucket(BucketSettings(server.url, "key", "secret", BUCKET))
    assert found.advice.endswith("this machine's clock is wrong (RequestTimeTooSkewed); set it")
    assert server.requests.total() == 1


def test_a_bucket_with_nothing_or_strange_things_in_it(world: World, r2: BucketSettings) -> None:
    assert named(check_bucket(r2), "bucket").level == WARN
    obstore.put(world.store(), "processed/en/new/new_000000.mp3", b"x")
    found = check_bucket(r2)
    assert levels(found) == {"bucket": "ok", "episode": "warn"}
    obstore.put(world.store(), "processed/en/new/all_segments.json", b"{}")
    assert "metadata_not_a_list" in named(check_bucket(r2), "episode").seen
    obstore.put(world.store(), "elsewhere/2024-01/a/b", b"x")
    strange = named(check_bucket(replace(r2, prefix="elsewhere/")), "bucket")
    assert strange.level == WARN and "PROCESSED_PREFIX" in strange.advice
