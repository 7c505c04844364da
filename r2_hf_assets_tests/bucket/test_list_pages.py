"""ListObjectsV2 over HTTP: pages in a row, names as they are, and what is no listing never taken for an empty one."""

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


def page(*prefixes: str, token: str = "", more: bool | None = None, head: str = NAMESPACE, **answer: Any) -> Response:
    """An answer of these prefixes; the next page is at `token`."""
    items = "".join(f"<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>" for prefix in prefixes)
    next_one = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    truncated = bool(token) if more is None else more
    said = f"<EncodingType>url</EncodingType><IsTruncated>{str(truncated).lower()}</IsTruncated>{next_one}{items}"
    return Response(200, f"<?xml version='1.0'?><ListBucketResult {head}>{said}</ListBucketResult>".encode(), **answer)


def asked(key: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(key[1:], keep_blank_values=True).items()}


def by_token(answers: dict[str, Response]) -> Rule:
    return lambda key, count: answers[asked(key).get("continuation-token", "")]


def flat(batches: Iterable[list[str]]) -> list[str]:
    return [name for names in batches for name in names]


def listed(rule: Rule) -> list[str]:
    with ObjectsServer({}, rule) as server:
        found = list(list_pages(server.bucket(), "processed/en us/", QUICK, "/"))
    assert fetch_threads() == []
    return [prefix for page in found for prefix in page.prefixes]


def test_pages_follow_each_other_by_their_tokens():
    answers = {"": page("a/", "b/", token="1/x+y=&amp;"), "1/x+y=&": page("c/", token="2"), "2": page("d/")}
    with ObjectsServer({}, by_token(answers)) as server:
        found = list(list_pages(server.bucket(), "processed/en us/", QUICK, "/"))
    assert found == [Page(["a/", "b/"], [], "b/", "1/x+y=&"), Page(["c/"], [], "c/", "2"), Page(["d/"], [], "d/")]
    first, *_ = map(asked, server.requests)
    usual = {"list-type": "2", "encoding-type": "url", "max-keys": "1000"}
    assert first == {**usual, "prefix": "processed/en us/", "delimiter": "/"}
    assert set(server.requests.values()) == {1} and server.connections == 1


def test_names_are_what_was_encoded_and_need_no_namespace():
    assert listed(lambda key, n: page("a+b%2Bc%25%0A%C3%A9/", head="")) == ["a b+c%\né/"]


def test_a_server_that_encodes_nothing_is_taken_by_its_word():
    plain = Response(200, page("a+b%20c/").body.replace(b"<EncodingType>url</EncodingType>", b""))
    assert listed(lambda key, n: plain) == ["a+b%20c/"]


def test_an_answer_without_a_time_or_a_length_is_a_listing_all_the_same():
    body = page("a/").body
    chunked = Response(200, f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n", {"Transfer-Encoding": "chunked"})
    chunked.headers = {"Transfer-Encoding": "chunked", "Content-Length": "", "Last-Modified": ""}
    assert listed(lambda key, n: chunked) == ["a/"]


NO_LISTINGS = {
    "a proxy's page": Response(200, b"<html><body>Sign in</body></html>"),
    "no XML": Response(200, b"busy"),
    "nothing": Response(200, b""),
    "half of one": Response(200, page("a/").body[:60]),
    "more, and not where": page("a/", more=True),
    "names that go backwards": page("b/", "a/"),
    "objects without a time": Response(200, page().body.replace(b"</List", b"<Contents><Key>k</Key></Contents></List")),
    "broken off": page("a/", sent=50),
    "busy": error(503, "SlowDown"),
    "a page in a code that nobody knows": Response(200, b'<?xml version="1.0" encoding="windows-31x"?><a/>'),
    "a 404 of someone else": Response(404, b"<html></html>"),
    "a 404 of an object": error(404, "NoSuchKey"),
}


@pytest.mark.parametrize("answer", NO_LISTINGS.values(), ids=NO_LISTINGS)
def test_what_is_no_listing_is_asked_for_again_and_never_an_empty_one(answer):
    good = {"": page("a/", token="1"), "1": page("b/")}
    assert listed(lambda key, n: answer if n < 3 else by_token(good)(key, n)) == ["a/", "b/"]
    with pytest.raises(RetriesExhausted, match="listing processed/en us/: the bucket "):
        listed(lambda key, n: answer)


def test_a_prefix_that_is_listed_again_comes_once():
    """At a page's edge, as some servers do, and anywhere in the order."""
    answers = {"": page("a/", "b/", "b/", token="1"), "1": page("b/", "c/", token="2"), "2": page("c/", "c/")}
    assert listed(by_token(answers)) == ["a/", "b/", "c/"]


def test_a_page_that_begins_before_the_last_one_ended_is_asked_for_again():
    good = {"": page("a/", "b/", "c/", token="1"), "1": page("d/")}
    wrong = {**good, "1": page("b/", "c/", "d/")}
    assert listed(lambda key, n: by_token(wrong if n < 3 else good)(key, n)) == ["a/", "b/", "c/", "d/"]
    with pytest.raises(RetriesExhausted, match="not in order"):
        listed(by_token(wrong))


def test_a_refusal_is_one_line_at_once():
    with ObjectsServer({}, lambda key, n: error(404, "NoSuchBucket")) as server, pytest.raises(AccessError) as caught:
        list(list_pages(server.bucket(), "processed/", QUICK, "/"))
    assert str(caught.value) == "listing processed/: there is no such bucket; check R2_BUCKET"
    assert server.requests.total() == 1


def test_a_scans_first_look_asks_for_one_name_and_gives_up_soon():
    with ObjectsServer({}, lambda key, n: page("a/", token="1")) as server:
        check_access(server.bucket(), "processed/")
    (only,) = map(asked, server.requests)
    assert (only["prefix"], only["max-keys"], server.requests.total()) == ("processed/", "1", 1)
    with (
        ObjectsServer({}, lambda key, n: Response(404, b"<html>")) as server,
        pytest.raises(RetriesExhausted) as caught,
    ):
        check_access(server.bucket(), "processed/")
    assert "(HTTP 404); check R2_ENDPOINT_URL" in str(caught.value) and server.requests.total() == 3


def test_the_newest_of_many_pages():
    def objects(*days: int) -> bytes:
        stamps = (
            f"<Contents><Key>k</Key><LastModified>2026-11-{day:02d}T01:02:03.000Z</LastModified></Contents>"
            for day in days
        )
        return "".join(stamps).encode()

    def with_objects(answer: Response, *days: int) -> Response:
        return Response(200, answer.body.replace(b"</ListBucketResult>", objects(*days) + b"</ListBucketResult>"))

    answers = {"": with_objects(page(token="1"), 3, 20, 4), "1": with_objects(page(), 7)}
    for answer in answers.values():
        answer.headers = {"Date": "Fri, 20 Nov 2026 01:12:03 GMT"}
    with ObjectsServer({}, by_token(answers)) as server:
        assert age_of_newest(server.bucket(), "processed/en/a/", QUICK) == timedelta(minutes=10)
    with ObjectsServer({}, lambda key, n: page()) as server:
        assert age_of_newest(server.bucket(), "processed/en/a/", QUICK) is None


def test_folders_are_listed_side_by_side_and_handed_out_in_their_order():
    folders = [LanguageFolder(f"f{number}", "en") for number in range(9)]
    with ObjectsServer({}, lambda key, n: page(f"{asked(key)['prefix']}episode/")) as server:
        found = [flat(names) for names in list_episodes(server.bucket(), "p/", folders, QUICK)]
        stopped = list_episodes(server.bucket(), "p/", folders, QUICK)
        assert flat(next(stopped)) == ["episode"]
        stopped.close()
    assert found == [["episode"]] * 9
    assert fetch_threads() == []


@pytest.fixture
def silence() -> Iterator[Callable[[], None]]:
    """Waits without an answer, until the test is over."""
    over = threading.Event()

    def wait() -> None:
        over.wait(60)

    yield wait
    over.set()


PATIENT = Retry(attempts=50, base=1000, cap=1000, limit=10**9)
SOON_S = 10.0  # a patient listing takes minutes


def refusing(folder: str, others: Callable[[str], Response | None]) -> Rule:
    def rule(key: str, count: int) -> Response | None:
        prefix = asked(key)["prefix"]
        return error(403, "AccessDenied") if prefix == f"p/{folder}/" else others(prefix)

    return rule


def test_a_folder_that_can_not_be_listed_fails_the_listing():
    folders = [LanguageFolder(f"f{number}", "en") for number in range(9)]
    with ObjectsServer({}, refusing("f2", lambda prefix: page(f"{prefix}episode/"))) as server:
        listing = list_episodes(server.bucket(), "p/", folders, QUICK)
        with pytest.raises(AccessError, match="listing p/f2/"):
            for names in listing:
                flat(names)
        listing.close()
    assert fetch_threads() == []


@pytest.mark.parametrize("others", ["silent", "503"])
def test_an_error_in_one_folder_ends_the_listing_though_the_others_wait(silence, others):
    folders = [LanguageFolder(f"f{number}", "en") for number in range(4)]
    waiting = threading.Semaphore(0)

    def wait(prefix: str) -> Response | None:
        waiting.release()
        if others == "silent":
            silence()
        return error(503, "SlowDown")

    def rule(key: str, count: int) -> Response | None:
        if asked(key)["prefix"] == "p/f0/":
            assert all(waiting.acquire(timeout=20) for _ in folders[1:])
        return refusing("f0", wait)(key, count)

    with ObjectsServer({}, rule) as server:
        begun = time.monotonic()
        with (
            pytest.raises(AccessError, match="listing p/f0/"),
            closing(list_episodes(server.bucket(), "p/", folders, PATIENT)) as listing,
        ):
            for names in listing:
                flat(names)
        assert time.monotonic() - begun < SOON_S
        assert fetch_threads() == []


def test_a_caller_with_little_time_waits_no_longer_than_it_says(silence):
    with ObjectsServer({}, lambda key, count: silence()) as server:
        begun = time.monotonic()
        with pytest.raises(RetriesExhausted, match="silence"):
            list(list_pages(server.bucket(), "p/", Retry(attempts=2, base=0.001, silence=0.2)))
        assert time.monotonic() - begun < SOON_S


def test_a_listing_that_is_closed_ends_pages_that_are_none():
    """What waits to ask once more for a page that a proxy answered."""
    folders = [LanguageFolder("f0", "en"), LanguageFolder("f1", "en")]

    def rule(key: str, count: int) -> Response:
        return page("p/f0/episode/") if asked(key)["prefix"] == "p/f0/" else Response(200, b"<html></html>")

    with ObjectsServer({}, rule) as server:
        listing = list_episodes(server.bucket(), "p/", folders, PATIENT)
        assert flat(next(listing)) == ["episode"]
        wait_for(lambda: server.requests.total() == 2)
        begun = time.monotonic()
        listing.close()
        assert time.monotonic() - begun < SOON_S
    assert fetch_threads() == []
