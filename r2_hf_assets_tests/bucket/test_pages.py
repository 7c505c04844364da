"""Listing page by page on a real S3 server: the same names as the whole listing, from any place on."""

from collections.abc import Iterator
from typing import Any

import pytest

from r2_hf_assets.bucket.client import object_store, s3_client
from r2_hf_assets.bucket.listing import LanguageFolder, episode_ids, episode_pages
from r2_hf_assets.settings import BucketSettings
from r2_hf_assets_tests.build_samples import NO_WAIT
from r2_hf_assets_tests.world import World

# Neighbours of "/" in the order, names that are prefixes of others, and such that have to be encoded.
NAMES = ["ep1", "ep1-x", "ep1.y", "ep10", "ep12", "a b", "a+b", "a%20b", "é", "日本", "z\u007fz", "q=1&r"]


class SmallPages:
    """A boto3 client whose pages hold two names."""

    def __init__(self, client: Any) -> None:
        self.client, self.calls = client, 0

    def list_objects_v2(self, **options: Any) -> Any:
        self.calls += 1
        return self.client.list_objects_v2(**options, MaxKeys=2)


class Repeating(SmallPages):
    """As servers that list the folder again behind whose name one goes on."""

    def list_objects_v2(self, **options: Any) -> Any:
        page = super().list_objects_v2(**options)
        if "StartAfter" in options:
            page["CommonPrefixes"] = [{"Prefix": options["StartAfter"]}, *page.get("CommonPrefixes", [])]
        return page


@pytest.fixture
def r2(world: World) -> Iterator[BucketSettings]:
    s3 = world.sandbox.s3
    made = BucketSettings(s3.endpoint_url, s3.access_key, s3.secret_key, world.bucket)
    client = s3_client(made)
    for name in NAMES:
        client.put_object(Bucket=world.bucket, Key=f"processed/en/{name}/all_segments.json", Body=b"[]")
    client.put_object(Bucket=world.bucket, Key="processed/en/ep11.txt", Body=b"a stray")
    client.put_object(Bucket=world.bucket, Key="processed/de/ep1/all_segments.json", Body=b"[]")
    yield made


def pages(client: Any, r2: BucketSettings, after: str = "") -> list[tuple[list[str], str | None]]:
    return list(episode_pages(client, r2.name, r2.prefix, "en", after, NO_WAIT))


@pytest.mark.parametrize("kind", [SmallPages, Repeating])
def test_pages_hold_what_the_whole_listing_holds_from_any_place_on(r2: BucketSettings, kind: type[SmallPages]) -> None:
    whole = list(episode_ids(object_store(r2), r2.prefix, LanguageFolder("en", "en"), NO_WAIT))
    assert len(whole) == len(NAMES) - 1, "one of them can't be asked for"
    found = pages(kind(s3_client(r2)), r2)
    assert [name for ids, _ in found for name in ids] == whole
    assert [end is None for _, end in found] == [False] * (len(found) - 1) + [True] and len(found) >= 6
    for count, (_, end) in enumerate(found[:-1], 1):
        assert end is not None
        left = [name for ids, _ in pages(kind(s3_client(r2)), r2, end) for name in ids]
        assert left == [name for ids, _ in found[count:] for name in ids]


def test_only_the_pages_that_are_asked_for_are_read(r2: BucketSettings) -> None:
    client = SmallPages(s3_client(r2))
    next(iter(episode_pages(client, r2.name, r2.prefix, "en", "", NO_WAIT)))
    assert client.calls == 1
    assert pages(s3_client(r2), r2)[0][1] is None
