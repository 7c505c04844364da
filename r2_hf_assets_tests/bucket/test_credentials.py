"""R2_REGION and R2_SESSION_TOKEN: signed in every request of every client."""

import hashlib
import hmac
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import obstore
import pytest

from r2_hf_assets.bucket.client import object_store
from r2_hf_assets.bucket.fetch import fetch_in_order, head_in_order
from r2_hf_assets.bucket.listing import list_language_folders
from r2_hf_assets.bucket.pages import check_access, first_page
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.errors import AccessError, RetriesExhausted
from r2_hf_assets.preflight.bucket import check_bucket
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import BucketSettings
from r2_hf_assets_tests.bucket.folders import episode_ids
from r2_hf_assets_tests.bucket.listener import Listener
from r2_hf_assets_tests.support.objects_server import ObjectsServer, error
from r2_hf_assets_tests.support.world import World

QUICK = Retry(attempts=2, base=0.001)
TOKEN = "FwoGZXIvYXdzEBYaD+/k4A=="


CLIENTS: dict[str, Callable[[BucketSettings], object]] = {
    "libcurl's GETs": lambda r2: list(
        fetch_in_order(["a b/k+1"], str, Bucket(r2), workers=1, max_bytes=9, limit=9, retry=QUICK)
    ),
    "libcurl's HEADs": lambda r2: list(head_in_order(["a b/k+1"], str, Bucket(r2), workers=1, retry=QUICK)),
    "libcurl's listings": lambda r2: list_language_folders(Bucket(r2), "processed/en us/", QUICK),
    "obstore": lambda r2: obstore.put(object_store(r2), "state/k", b"{}", mode="create"),
    "doctor": check_bucket,
}


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
@pytest.mark.parametrize("token", ["", TOKEN], ids=["no token", "token"])
def test_region_and_token_are_in_every_request_and_signed(listener: Listener, client: Any, token: str) -> None:
    client(listener.settings(region="eu-central-1", session_token=token))
    assert listener.requests
    for method, path, headers, _ in listener.requests:
        scheme, _, parameters = headers["authorization"].partition(" ")
        fields = dict(field.strip().split("=", 1) for field in parameters.split(","))
        key, date, region, service, end = fields["Credential"].split("/")
        assert (scheme, key, region, service, end) == ("AWS4-HMAC-SHA256", "key", "eu-central-1", "s3", "aws4_request")
        signed = fields["SignedHeaders"].split(";")
        assert headers.get("x-amz-security-token", "") == token and ("x-amz-security-token" in signed) == bool(token)
        assert fields["Signature"] == signature(method, path, headers, signed, date, region)


def signature(method: str, path: str, headers: dict[str, str], signed: list[str], date: str, region: str) -> str:
    """Return AWS's signature, version 4, of a request to S3 with the secret "secret"."""
    url = urlsplit(path)
    query = sorted((quote(name, "~"), quote(value, "~")) for name, value in parse_qsl(url.query, True))
    lines = [f"{name}:{' '.join(headers[name].split())}" for name in signed]
    payload = headers["x-amz-content-sha256"]
    request = [method, url.path, "&".join(map("=".join, query)), *lines, "", ";".join(signed), payload]
    scope = f"{date}/{region}/s3/aws4_request"
    hashed = hashlib.sha256("\n".join(request).encode()).hexdigest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashed])
    key = b"AWS4secret"
    for part in (date, region, "s3", "aws4_request", to_sign):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()


def test_a_real_server_accepts_another_region(world: World) -> None:
    s3 = world.sandbox.s3
    r2 = BucketSettings(s3.endpoint_url, s3.access_key, s3.secret_key, world.bucket, region="eu-central-1")
    obstore.put(object_store(r2), "processed/en/ep1/all_segments.json", b"[]")
    check_access(Bucket(r2), r2.prefix)
    assert episode_ids(Bucket(r2), r2.prefix, "en", QUICK) == ["ep1"]


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (404, "NoSuchBucket", "R2_BUCKET"),
        (400, "InvalidBucketName", "R2_BUCKET"),
        (400, "InvalidArgument", "R2_ACCESS_KEY_ID"),
        (400, "InvalidRegionName", "R2_REGION"),
        (403, "InvalidAccessKeyId", "R2_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", "R2_SECRET_ACCESS_KEY"),
        (403, "AccessDenied", "Object Read"),
        (403, "SomethingNew", "R2_ACCESS_KEY_ID"),
        (401, "", "R2_ACCESS_KEY_ID"),
        (400, "AuthorizationHeaderMalformed", "R2_REGION"),
        (301, "PermanentRedirect", "R2_REGION"),
        (400, "ExpiredToken", "R2_SESSION_TOKEN"),
        (400, "InvalidToken", "R2_SESSION_TOKEN"),
    ],
)
def test_a_refusal_is_one_line_that_names_the_variable(status: int, code: str, advice: str) -> None:
    with ObjectsServer({}, lambda key, n: error(status, code)) as server, pytest.raises(AccessError) as caught:
        check_access(server.bucket(), "processed/")
    message = str(caught.value)
    assert message.startswith("listing processed/: ") and advice in message and "\n" not in message
    assert server.requests.total() == 1 and caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxys_refusal_is_reported_without_its_password(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    r2 = BucketSettings(f"{scheme}://bucket.example", "key", "secret", "podcasts")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as proxy:  # responds to any method with 501
        threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        for password, words in (
            ("Pa55#w0rd", "can't be used"),
            ("Pa55", "the proxy in the environment returned HTTP 501"),
        ):
            monkeypatch.setenv(f"{scheme}_proxy", f"http://user:{password}@127.0.0.1:{proxy.server_port}")
            with pytest.raises(RetriesExhausted) as caught:
                first_page(Bucket(r2), "processed/", Retry(attempts=1))
            assert "Pa55" not in str(caught.value)
            assert words in str(caught.value) or (scheme, password) == ("http", "Pa55")
        proxy.shutdown()
