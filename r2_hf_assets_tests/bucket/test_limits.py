"""Objects, errors and listings of any length are bounded before they fill memory."""

from typing import Any

import pytest

from r2_hf_assets.bucket.fetch import fetch_in_order
from r2_hf_assets.bucket.pages import list_pages
from r2_hf_assets.bucket.response import Fetched, GetResult, Unusable
from r2_hf_assets.errors import AccessError, RetriesExhausted
from r2_hf_assets.retry import Retry
from r2_hf_assets_tests.support.objects_server import ObjectsServer, Response, Rule

QUICK = Retry(attempts=3, base=0.004, cap=0.01)
# The kernel buffers some megabytes of each attempt after the client stops reading.
READ_AT_MOST = QUICK.attempts * 10 * 2**20
PIECE = bytes(65536)
UNTIL_IT_CLOSES = {"Content-Length": ""}


def fetched(rule: Rule, limit: int = 10**6) -> tuple[GetResult, ObjectsServer]:
    with ObjectsServer({"k": b"body"}, rule) as server:
        [(_, result)] = fetch_in_order(["k"], str, server.bucket(), workers=2, max_bytes=100, limit=limit, retry=QUICK)
    assert server.endless_bytes < READ_AT_MOST
    return result, server


def endless(status: int, code: str = "", **headers: str) -> Response:
    body = f"<Error><Code>{code}</Code></Error>".encode() if code else b""
    return Response(status, body, UNTIL_IT_CLOSES | headers, endless=PIECE)


@pytest.mark.parametrize(("size", "limit"), [(5, 4), (40 * 10**9, 10**6), (2**70, 2**31)])
def test_an_object_above_the_limit_is_not_read(size, limit):
    result, server = fetched(lambda key, n: Response(200, headers={"Content-Length": str(size)}, endless=PIECE), limit)
    assert isinstance(result, Unusable) and server.requests["k"] == 1
    assert (result.reason, result.detail) == ("too_large", f"{size} bytes") and result.etag


def test_an_object_of_exactly_the_limit_is_read():
    result, _ = fetched(lambda key, n: None, limit=4)
    assert isinstance(result, Fetched) and result.body() == b"body"


def test_a_body_without_a_length_is_not_read():
    with pytest.raises(RetriesExhausted, match="no Content-Length or Last-Modified"):
        fetched(lambda key, n: endless(200))


def test_a_large_response_without_a_last_modified_is_no_object():
    """It may be a proxy's page, so the object is not rejected."""
    page = Response(200, headers={"Content-Length": str(10**12), "Last-Modified": ""}, endless=PIECE)
    with pytest.raises(RetriesExhausted, match="no Content-Length or Last-Modified"):
        fetched(lambda key, n: page)


def test_an_endless_error_is_classified_by_its_beginning():
    with pytest.raises(RetriesExhausted, match="HTTP 503 SlowDown"):
        fetched(lambda key, n: endless(503, "SlowDown"))
    with pytest.raises(RetriesExhausted, match="HTTP 502"):
        fetched(lambda key, n: endless(502))
    with pytest.raises(AccessError, match="does not allow this"):
        fetched(lambda key, n: endless(403, "AccessDenied"))
    assert fetched(lambda key, n: endless(404, "NoSuchKey"))[0] is None
    result, server = fetched(lambda key, n: endless(503, "SlowDown", **{"Retry-After": "0"}) if n < 3 else None)
    assert result is not None and server.requests["k"] == 3


def listed(response: Response) -> Any:
    with ObjectsServer({}, lambda key, n: response) as server:
        try:
            return list(list_pages(server.bucket(), "processed/", QUICK, "/"))
        finally:
            assert server.endless_bytes < READ_AT_MOST + QUICK.attempts * 8 * 2**20


@pytest.mark.parametrize("length", ["", str(10**12)], ids=["no length", "huge length"])
def test_an_endless_listing_exhausts_the_retries(length):
    with pytest.raises(RetriesExhausted, match="a listing of more than 8388608 bytes"):
        listed(Response(200, b"<ListBucketResult>", {"Content-Length": length}, endless=PIECE))
