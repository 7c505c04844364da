"""The findings about a real bucket, one fault at a time."""

from dataclasses import replace
from urllib.parse import parse_qs

import obstore
import pytest

from r2_hf_assets.preflight import FAIL, WARN, Finding
from r2_hf_assets.preflight.bucket import check_bucket
from r2_hf_assets.settings import BucketSettings
from r2_hf_assets_tests.preflight.conftest import levels
from r2_hf_assets_tests.support.objects_server import BUCKET, ObjectsServer, Response, error
from r2_hf_assets_tests.support.world import World


def named(findings: list[Finding], name: str) -> Finding:
    (finding,) = [finding for finding in findings if finding.name == name]
    return finding


def test_a_readable_bucket_is_ok(world: World, r2: BucketSettings) -> None:
    world.upload(episodes={"en": 1}, awkward=False, expect=False)
    findings = check_bucket(r2)
    assert levels(findings) == {"bucket": "ok", "episode": "ok"}
    assert "segments" in named(findings, "episode").seen


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"secret_access_key": "wrong"}, "R2_SECRET_ACCESS_KEY"),
        ({"access_key_id": "nobody"}, "R2_ACCESS_KEY_ID"),
        ({"name": "no-such-bucket"}, "check R2_BUCKET"),
    ],
)
def test_rejected_credentials_or_names_fail_with_advice(
    r2: BucketSettings, change: dict[str, str], advice: str
) -> None:
    finding = named(check_bucket(replace(r2, **change)), "bucket")  # type: ignore[arg-type]
    assert finding.level == FAIL
    assert advice in finding.advice


def test_a_dead_or_silent_endpoint_fails_with_advice(r2: BucketSettings, silent: str) -> None:
    for endpoint in ("http://127.0.0.1:9", silent):
        (finding,) = check_bucket(replace(r2, endpoint_url=endpoint))
        assert finding.level == FAIL and finding.advice.endswith("check R2_ENDPOINT_URL if this lasts")


def listing(key: str, _count: int) -> Response | None:
    """Respond with the folders `en` and `fr` below any prefix, and a token for more."""
    if not key.startswith("?"):
        return None
    below = parse_qs(key[1:])["prefix"][0]
    names = "".join(f"<CommonPrefixes><Prefix>{below}{name}/</Prefix></CommonPrefixes>" for name in ("en", "fr"))
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>2</NextContinuationToken>"
    body = f"<ListBucketResult>{more}{names}</ListBucketResult>".encode()
    return Response(200, body)


def test_a_check_makes_four_requests() -> None:
    objects = {"processed/en/en/all_segments.json": b"[{}]", "processed/en/en/en_000000.mp3": b"ID3"}
    with ObjectsServer(objects, listing) as server:
        findings = check_bucket(BucketSettings(server.url, "key", "secret", BUCKET))
    assert levels(findings) == {"bucket": "ok", "episode": "ok"}
    assert "2 or more language folders" in named(findings, "bucket").seen and server.requests.total() == 4


def test_a_wrong_clock_is_named_in_one_line() -> None:
    with ObjectsServer({}, lambda key, n: error(403, "RequestTimeTooSkewed")) as server:
        (finding,) = check_bucket(BucketSettings(server.url, "key", "secret", BUCKET))
    assert finding.advice.endswith("this machine's clock is wrong (RequestTimeTooSkewed); set it")
    assert server.requests.total() == 1


def test_an_empty_bucket_or_unexpected_content_is_a_warning(world: World, r2: BucketSettings) -> None:
    assert named(check_bucket(r2), "bucket").level == WARN
    obstore.put(world.store(), "processed/en/new/new_000000.mp3", b"x")
    findings = check_bucket(r2)
    assert levels(findings) == {"bucket": "ok", "episode": "warn"}
    obstore.put(world.store(), "processed/en/new/all_segments.json", b"{}")
    assert "metadata_not_a_list" in named(check_bucket(r2), "episode").seen
    obstore.put(world.store(), "elsewhere/2024-01/a/b", b"x")
    unknown = named(check_bucket(replace(r2, prefix="elsewhere/")), "bucket")
    assert unknown.level == WARN and "PROCESSED_PREFIX" in unknown.advice
