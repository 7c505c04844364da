"""ListObjectsV2 over HTTP: pages in a row, names as they are, and what is no listing never taken for an empty one."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest

from r2_hf_assets.bucket.listing import LanguageFolder, age_of_newest, episodes_of
from r2_hf_assets.bucket.pages import Page, pages
from r2_hf_assets.errors import AccessError, GaveUp
from r2_hf_assets.retry import Retry
from r2_hf_assets_tests.build_samples import fetch_threads
from r2_hf_assets_tests.objects_server import Answer, ObjectsServer, Rule, error

QUICK = Retry(attempts=4, base=0.004, cap=0.01)
NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def page(*prefixes: str, token: str = "", more: bool | None = None, head: str = NAMESPACE, **answer: Any) -> Answer:
    """An answer of these prefixes; the next page is at `token`."""
    items = "".join(f"<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>" for prefix in prefixes)
    next_one = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    truncated = bool(token) if more is None else more
    said = f"<EncodingType>url</EncodingType><IsTruncated>{str(truncated).lower()}</IsTruncated>{next_one}{items}"
    return Answer(200, f"<?xml version='1.0'?><ListBucketResult {head}>{said}</ListBucketResult>".encode(), **answer)


def asked(key: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(key[1:], keep_blank_values=True).items()}


def by_token(answers: dict[str, Answer]) -> Rule:
    return lambda key, count: answers[asked(key).get("continuation-token", "")]


def flat(batches: Iterable[list[str]]) -> list[str]:
    return [name for names in batches for name in names]


def listed(rule: Rule) -> list[str]:
    with ObjectsServer({}, rule) as server:
        found = list(pages(server.store(), "processed/en us/", QUICK, "/"))
    assert fetch_threads() == []
    return [prefix for page in found for prefix in page.prefixes]


def test_pages_follow_each_other_by_their_tokens():
    answers = {"": page("a/", "b/", token="1/x+y=&amp;"), "1/x+y=&": page("c/", token="2"), "2": page("d/")}
    with ObjectsServer({}, by_token(answers)) as server:
        found = list(pages(server.store(), "processed/en us/", QUICK, "/"))
    assert found == [Page(["a/", "b/"], [], more=True), Page(["c/"], [], more=True), Page(["d/"], [])]
    first, *_ = map(asked, server.asked)
    usual = {"list-type": "2", "encoding-type": "url", "max-keys": "1000"}
    assert first == {**usual, "prefix": "processed/en us/", "delimiter": "/"}
    assert set(server.asked.values()) == {1} and server.connections == 1


def test_names_are_what_was_encoded_and_need_no_namespace():
    assert listed(lambda key, n: page("a+b%2Bc%25%0A%C3%A9/", head="")) == ["a b+c%\né/"]


def test_a_server_that_encodes_nothing_is_taken_by_its_word():
    plain = Answer(200, page("a+b%20c/").body.replace(b"<EncodingType>url</EncodingType>", b""))
    assert listed(lambda key, n: plain) == ["a+b%20c/"]


def test_an_answer_without_a_time_or_a_length_is_a_listing_all_the_same():
    body = page("a/").body
    chunked = Answer(200, f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n", {"Transfer-Encoding": "chunked"})
    chunked.headers = {"Transfer-Encoding": "chunked", "Content-Length": "", "Last-Modified": ""}
    assert listed(lambda key, n: chunked) == ["a/"]


NO_LISTINGS = {
    "a proxy's page": Answer(200, b"<html><body>Sign in</body></html>"),
    "no XML": Answer(200, b"busy"),
    "nothing": Answer(200, b""),
    "half of one": Answer(200, page("a/").body[:60]),
    "more, and not where": page("a/", more=True),
    "broken off": page("a/", sent=50),
    "busy": error(503, "SlowDown"),
    "a 404 of someone else": Answer(404, b"<html></html>"),
    "a 404 of an object": error(404, "NoSuchKey"),
}


@pytest.mark.parametrize("answer", NO_LISTINGS.values(), ids=NO_LISTINGS)
def test_what_is_no_listing_is_asked_for_again_and_never_an_empty_one(answer):
    good = {"": page("a/", token="1"), "1": page("b/")}
    assert listed(lambda key, n: answer if n < 3 else by_token(good)(key, n)) == ["a/", "b/"]
    with pytest.raises(GaveUp, match="listing processed/en us/: the bucket "):
        listed(lambda key, n: answer)


def test_a_refusal_is_one_line_at_once():
    with ObjectsServer({}, lambda key, n: error(404, "NoSuchBucket")) as server, pytest.raises(AccessError) as caught:
        list(pages(server.store(), "processed/", QUICK, "/"))
    assert str(caught.value) == "listing processed/: there is no such bucket; check R2_BUCKET"
    assert server.asked.total() == 1


def test_the_newest_of_many_pages():
    def objects(*days: int) -> bytes:
        stamps = (
            f"<Contents><Key>k</Key><LastModified>2026-11-{day:02d}T01:02:03.000Z</LastModified></Contents>"
            for day in days
        )
        return "".join(stamps).encode()

    def with_objects(answer: Answer, *days: int) -> Answer:
        return Answer(200, answer.body.replace(b"</ListBucketResult>", objects(*days) + b"</ListBucketResult>"))

    answers = {"": with_objects(page(token="1"), 3, 20, 4), "1": with_objects(page(), 7)}
    for answer in answers.values():
        answer.headers = {"Date": "Fri, 20 Nov 2026 01:12:03 GMT"}
    with ObjectsServer({}, by_token(answers)) as server:
        assert age_of_newest(server.store(), "processed/en/a/", QUICK) == timedelta(minutes=10)
    with ObjectsServer({}, lambda key, n: page()) as server:
        assert age_of_newest(server.store(), "processed/en/a/", QUICK) is None


def test_folders_are_listed_side_by_side_and_handed_out_in_their_order():
    folders = [LanguageFolder(f"f{number}", "en") for number in range(9)]
    with ObjectsServer({}, lambda key, n: page(f"{asked(key)['prefix']}episode/")) as server:
        found = [flat(names) for names in episodes_of(server.store(), "p/", folders, QUICK)]
        stopped = episodes_of(server.store(), "p/", folders, QUICK)
        assert flat(next(stopped)) == ["episode"]
        stopped.close()
    assert found == [["episode"]] * 9
    assert fetch_threads() == []


def test_a_folder_that_can_not_be_listed_fails_in_its_turn():
    folders = [LanguageFolder(f"f{number}", "en") for number in range(9)]

    def refuse(key: str, count: int) -> Answer:
        prefix = asked(key)["prefix"]
        return error(403, "AccessDenied") if prefix == "p/f2/" else page(f"{prefix}episode/")

    with ObjectsServer({}, refuse) as server:
        listing = episodes_of(server.store(), "p/", folders, QUICK)
        assert [flat(next(listing)), flat(next(listing))] == [["episode"]] * 2
        with pytest.raises(AccessError, match="listing p/f2/"):
            flat(next(listing))
        listing.close()
    assert fetch_threads() == []
