"""ListObjectsV2 over HTTP: pages, decoded names, and invalid responses, which are never an empty listing."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest

from r2_hf_assets.bucket.listing import LanguageFolder, age_of_newest, list_episodes
from r2_hf_assets.bucket.pages import Page, check_access, list_pages
from r2_hf_assets.errors import AccessError, RetriesExhausted
from r2_hf_assets.retry import Retry
from r2_hf_assets_tests.support.build_samples import fetch_threads
from r2_hf_assets_tests.support.objects_server import ObjectsServer, Response, Rule, error, wait_for

QUICK = Retry(attempts=4, base=0.004, cap=0.01)
NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def page(*prefixes: str, token: str = "", more: bool | None = None, head: str = NAMESPACE, **options: Any) -> Response:
    """Make a response with these prefixes; `token` is that of the next page."""
    items = "".join(f"<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>" for prefix in prefixes)
    next_one = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    truncated = bool(token) if more is None else more
    body = f"<EncodingType>url</EncodingType><IsTruncated>{str(truncated).lower()}</IsTruncated>{next_one}{items}"
    return Response(200, f"<?xml version='1.0'?><ListBucketResult {head}>{body}</ListBucketResult>".encode(), **options)


def query_of(key: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(key[1:], keep_blank_values=True).items()}


def by_token(responses: dict[str, Response]) -> Rule:
    return lambda key, count: responses[query_of(key).get("continuation-token", "")]


def flat(batches: Iterable[list[str]]) -> list[str]:
    return [name for names in batches for name in names]


def listed(rule: Rule) -> list[str]:
    with ObjectsServer({}, rule) as server:
        pages = list(list_pages(server.bucket(), "processed/en us/", QUICK, "/"))
    assert fetch_threads() == []
    return [prefix for page in pages for prefix in page.prefixes]


def test_pages_are_requested_by_their_tokens():
    responses = {"": page("a/", "b/", token="1/x+y=&amp;"), "1/x+y=&": page("c/", token="2"), "2": page("d/")}
    with ObjectsServer({}, by_token(responses)) as server:
        pages = list(list_pages(server.bucket(), "processed/en us/", QUICK, "/"))
    assert pages == [Page(["a/", "b/"], [], "b/", "1/x+y=&"), Page(["c/"], [], "c/", "2"), Page(["d/"], [], "d/")]
    parameters = {"list-type": "2", "encoding-type": "url", "max-keys": "1000"}
    first = next(map(query_of, server.requests))
    assert first == {**parameters, "prefix": "processed/en us/", "delimiter": "/"}
    assert set(server.requests.values()) == {1} and server.connections == 1


def test_names_are_decoded_without_a_namespace_too():
    assert listed(lambda key, n: page("a+b%2Bc%25%0A%C3%A9/", head="")) == ["a b+c%\né/"]


def test_names_without_an_encoding_type_are_not_decoded():
    plain = Response(200, page("a+b%20c/").body.replace(b"<EncodingType>url</EncodingType>", b""))
    assert listed(lambda key, n: plain) == ["a+b%20c/"]


def test_a_listing_needs_no_last_modified_and_no_length():
    body = page("a/").body
    chunked = Response(200, f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n", {"Transfer-Encoding": "chunked"})
    chunked.headers = {"Transfer-Encoding": "chunked", "Content-Length": "", "Last-Modified": ""}
    assert listed(lambda key, n: chunked) == ["a/"]


NO_LISTINGS = {
    "a proxy's page": Response(200, b"<html><body>Sign in</body></html>"),
    "no XML": Response(200, b"busy"),
    "empty": Response(200, b""),
    "incomplete XML": Response(200, page("a/").body[:60]),
    "truncated without a token": page("a/", more=True),
    "names out of order": page("b/", "a/"),
    "objects without a date": Response(200, page().body.replace(b"</List", b"<Contents><Key>k</Key></Contents></List")),
    "broken off": page("a/", sent=50),
    "503": error(503, "SlowDown"),
    "an unknown encoding": Response(200, b'<?xml version="1.0" encoding="windows-31x"?><a/>'),
    "a proxy's 404": Response(404, b"<html></html>"),
    "an object's 404": error(404, "NoSuchKey"),
}


@pytest.mark.parametrize("response", NO_LISTINGS.values(), ids=NO_LISTINGS)
def test_an_invalid_listing_is_requested_again_and_never_an_empty_one(response):
    good = {"": page("a/", token="1"), "1": page("b/")}
    assert listed(lambda key, n: response if n < 3 else by_token(good)(key, n)) == ["a/", "b/"]
    with pytest.raises(RetriesExhausted, match="listing processed/en us/: the bucket "):
        listed(lambda key, n: response)


def test_a_repeated_prefix_is_listed_once():
    """On the next page, as some servers do, or on the same one."""
    responses = {"": page("a/", "b/", "b/", token="1"), "1": page("b/", "c/", token="2"), "2": page("c/", "c/")}
    assert listed(by_token(responses)) == ["a/", "b/", "c/"]


def test_a_page_that_begins_before_the_end_of_the_previous_one_is_requested_again():
    good = {"": page("a/", "b/", "c/", token="1"), "1": page("d/")}
    wrong = {**good, "1": page("b/", "c/", "d/")}
    assert listed(lambda key, n: by_token(wrong if n < 3 else good)(key, n)) == ["a/", "b/", "c/", "d/"]
    with pytest.raises(RetriesExhausted, match="not in order"):
        listed(by_token(wrong))


def test_a_refusal_raises_one_line_without_a_retry():
    with ObjectsServer({}, lambda key, n: error(404, "NoSuchBucket")) as server, pytest.raises(AccessError) as caught:
        list(list_pages(server.bucket(), "processed/", QUICK, "/"))
    assert str(caught.value) == "listing processed/: there is no such bucket; check R2_BUCKET"
    assert server.requests.total() == 1


def test_check_access_requests_one_name_and_has_few_retries():
    with ObjectsServer({}, lambda key, n: page("a/", token="1")) as server:
        check_access(server.bucket(), "processed/")
    (only,) = map(query_of, server.requests)
    assert (only["prefix"], only["max-keys"], server.requests.total()) == ("processed/", "1", 1)
    with (
        ObjectsServer({}, lambda key, n: Response(404, b"<html>")) as server,
        pytest.raises(RetriesExhausted) as caught,
    ):
        check_access(server.bucket(), "processed/")
    assert "(HTTP 404); check R2_ENDPOINT_URL" in str(caught.value) and server.requests.total() == 3


def test_age_of_newest_is_the_latest_write_of_all_pages():
    def objects(*days: int) -> bytes:
        stamps = (
            f"<Contents><Key>k</Key><LastModified>2026-11-{day:02d}T01:02:03.000Z</LastModified></Contents>"
            for day in days
        )
        return "".join(stamps).encode()

    def with_objects(response: Response, *days: int) -> Response:
        return Response(200, response.body.replace(b"</ListBucketResult>", objects(*days) + b"</ListBucketResult>"))

    responses = {"": with_objects(page(token="1"), 3, 20, 4), "1": with_objects(page(), 7)}
    for response in responses.values():
        response.headers = {"Date": "Fri, 20 Nov 2026 01:12:03 GMT"}
    with ObjectsServer({}, by_token(responses)) as server:
        assert age_of_newest(server.bucket(), "processed/en/a/", QUICK) == timedelta(minutes=10)
    with ObjectsServer({}, lambda key, n: page()) as server:
        assert age_of_newest(server.bucket(), "processed/en/a/", QUICK) is None


def test_folders_are_listed_in_parallel_and_yielded_in_order():
    folders = [LanguageFolder(f"f{number}", "en") for number in range(9)]
    with ObjectsServer({}, lambda key, n: page(f"{query_of(key)['prefix']}episode/")) as server:
        episodes = [flat(names) for names in list_episodes(server.bucket(), "p/", folders, QUICK)]
        stopped = list_episodes(server.bucket(), "p/", folders, QUICK)
        assert flat(next(stopped)) == ["episode"]
        stopped.close()
    assert episodes == [["episode"]] * 9
    assert fetch_threads() == []


@pytest.fixture
def silence() -> Iterator[Callable[[], None]]:
    """A wait that ends with the test."""
    over = threading.Event()

    def wait() -> None:
        over.wait(60)

    yield wait
    over.set()


PATIENT = Retry(attempts=50, base=1000, cap=1000, limit=10**9)
SOON_S = 10.0  # the retries of PATIENT take minutes


def refusing(folder: str, others: Callable[[str], Response | None]) -> Rule:
    def rule(key: str, count: int) -> Response | None:
        prefix = query_of(key)["prefix"]
        return error(403, "AccessDenied") if prefix == f"p/{folder}/" else others(prefix)

    return rule


def test_a_refused_folder_fails_the_listing():
    folders = [LanguageFolder(f"f{number}", "en") for number in range(9)]
    with ObjectsServer({}, refusing("f2", lambda prefix: page(f"{prefix}episode/"))) as server:
        listing = list_episodes(server.bucket(), "p/", folders, QUICK)
        with pytest.raises(AccessError, match="listing p/f2/"):
            for names in listing:
                flat(names)
        listing.close()
    assert fetch_threads() == []


@pytest.mark.parametrize("others", ["silent", "503"])
def test_an_error_in_one_folder_ends_the_listing_while_the_others_wait(silence, others):
    folders = [LanguageFolder(f"f{number}", "en") for number in range(4)]
    waiting = threading.Semaphore(0)

    def wait(prefix: str) -> Response | None:
        waiting.release()
        if others == "silent":
            silence()
        return error(503, "SlowDown")

    def rule(key: str, count: int) -> Response | None:
        if query_of(key)["prefix"] == "p/f0/":
            assert all(waiting.acquire(timeout=20) for _ in folders[1:])
        return refusing("f0", wait)(key, count)

    with ObjectsServer({}, rule) as server:
        start = time.monotonic()
        with (
            pytest.raises(AccessError, match="listing p/f0/"),
            closing(list_episodes(server.bucket(), "p/", folders, PATIENT)) as listing,
        ):
            for names in listing:
                flat(names)
        assert time.monotonic() - start < SOON_S
        assert fetch_threads() == []


def test_a_listing_times_out_after_the_silence_of_its_retry(silence):
    with ObjectsServer({}, lambda key, count: silence()) as server:
        start = time.monotonic()
        with pytest.raises(RetriesExhausted, match="timed out"):
            list(list_pages(server.bucket(), "p/", Retry(attempts=2, base=0.001, silence=0.2)))
        assert time.monotonic() - start < SOON_S


def test_closing_a_listing_ends_the_retries_of_invalid_pages():
    folders = [LanguageFolder("f0", "en"), LanguageFolder("f1", "en")]

    def rule(key: str, count: int) -> Response:
        return page("p/f0/episode/") if query_of(key)["prefix"] == "p/f0/" else Response(200, b"<html></html>")

    with ObjectsServer({}, rule) as server:
        listing = list_episodes(server.bucket(), "p/", folders, PATIENT)
        assert flat(next(listing)) == ["episode"]
        wait_for(lambda: server.requests.total() == 2)
        start = time.monotonic()
        listing.close()
        assert time.monotonic() - start < SOON_S
    assert fetch_threads() == []
