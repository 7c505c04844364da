"""What a server announces or sends is bounded before it is held: objects, errors and listings of every length."""

from typing import Any

import pytest

from r2_hf_assets.bucket.fetch import fetch_in_order
from r2_hf_assets.bucket.pages import list_pages
from r2_hf_assets.bucket.response import GetResult, Unusable
from r2_hf_assets.errors import AccessError, RetriesExhausted
from r2_hf_assets.retry import Retry
from r2_hf_assets_tests.support.objects_server import ObjectsServer, Response, Rule

QUICK = Retry(attempts=3, base=0.004, cap=0.01)
# The kernel takes some megabytes of each try for a client that reads no more.
READ_AT_MOST = QUICK.attempts * 10 * 2**20
PIECE = bytes(65536)
UNTIL_IT_CLOSES = {"Content-Length": ""}


def fetched(rule: Rule, limit: int = 10**6) -> tuple[GetResult, ObjectsServer]:
    with ObjectsServer({"k": b"body"}, rule) as server:
        [(_, found)] = fetch_in_order(["k"], str, server.bucket(), workers=2, max_bytes=100, limit=limit, retry=QUICK)
    assert server.endless_bytes < READ_AT_MOST
    return found, server


def endless(status: int, code: str = "", **headers: str) -> Response:
    body = f"<Error><Code>{code}</Code></Error>".encode() if code else b""
    return Response(status, body, UNTIL_IT_CLOSES | headers, endless=PIECE)


@pytest.mark.parametrize(("size", "limit"), [(5, 4), (40 * 10**9, 10**6), (2**70, 2**31)])
def test_an_object_above_its_requests_limit_is_not_read(size, limit):
    found, server = fetched(lambda key, n: Response(200, headers={"Content-Length": str(size)}, endless=PIECE), limit)
    assert found == Unusable("too_large", f"{size} bytes") and server.requests["k"] == 1


def test_an_object_of_just_its_limit_is_read():
    found, _ = fetched(lambda key, n: None, limit=4)
    assert not isinstance(found, Unusable) and found is not None and found.body() == b"body"


def test_a_body_without_a_length_is_no_object_and_not_read():
    with pytest.raises(RetriesExhausted, match="no length or no time in its head"):
        fetched(lambda key, n: endless(200))


def test_an_answer_without_a_time_is_no_object_however_large():
    """A proxy's page, say: no reason to reject what lies in the bucket."""
    page = Response(200, headers={"Content-Length": str(10**12), "Last-Modified": ""}, endless=PIECE)
    with pytest.raises(RetriesExhausted, match="no length or no time in its head"):
        fetched(lambda key, n: page)


def test_an_error_without_an_end_is_classified_by_its_beginning():
    with pytest.raises(RetriesExhausted, match="HTTP 503 SlowDown"):
        fetched(lambda key, n: endless(503, "SlowDown"))
    with pytest.raises(RetriesExhausted, match="HTTP 502"):
        fetched(lambda key, n: endless(502))
    with pytest.raises(AccessError, match="may not do this"):
        fetched(lambda key, n: endless(403, "AccessDenied"))
    assert fetched(lambda key, n: endless(404, "NoSuchKey"))[0] is None
    found, server = fetched(lambda key, n: endless(503, "SlowDown", **{"Retry-After": "0"}) if n < 3 else None)
    assert found is not None and server.requests["k"] == 3


def listed(answer: Response) -> Any:
    with ObjectsServer({}, lambda key, n: answer) as server:
        try:
            return list(list_pages(server.bucket(), "processed/", QUICK, "/"))
        finally:
            assert server.endless_bytes < READ_AT_MOST + QUICK.attempts * 8 * 2**20


@pytest.mark.parametrize("length", ["", str(10**12)], ids=["no length", "a huge one"])
def test_a_listing_without_an_end_is_given_up(length):
    with pytest.raises(RetriesExhausted, match="a listing of more than 8388608 bytes"):
        listed(Response(200, b"<ListBucketResult>", {"Content-Length": length}, endless=PIECE))
