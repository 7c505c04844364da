"""Listing: folders in byte order, never the objects in them."""

import obstore
import pytest

from r2_hf_assets.bucket.listing import LanguageFolder, list_language_folders
from r2_hf_assets.errors import RetriesExhausted
from r2_hf_assets_tests.bucket.folders import episode_ids
from r2_hf_assets_tests.support import store_gets
from r2_hf_assets_tests.support.build_samples import NO_WAIT, PREFIX, Flaky, put_episode, put_folders, use_obstore
from r2_hf_assets_tests.support.store_gets import MemoryBucket


@pytest.fixture
def bucket() -> MemoryBucket:
    store = MemoryBucket()
    put_folders(store, "en-US/a", "ENG/b", "in/c", "123/d", "unknown/e", "yue/f", "en us/g")
    store.put(f"{PREFIX}README.md", b"a file beside the folders")
    store.put("elsewhere/de/x/all_segments.json", b"[]")
    return store


def test_folders_are_listed_in_byte_order_with_their_language(bucket):
    assert list_language_folders(bucket, PREFIX, NO_WAIT) == [
        LanguageFolder("123", "unknown"),
        LanguageFolder("ENG", "en"),
        LanguageFolder("en us", "unknown"),
        LanguageFolder("en-US", "en"),
        LanguageFolder("in", "id"),
        LanguageFolder("unknown", "unknown"),
        LanguageFolder("yue", "yue"),
    ]


def test_episodes_of_one_folder_are_listed_in_byte_order():
    store = MemoryBucket()
    put_folders(store, "en/b", "en/a", "en/B", "en/é", "en/a b", "en/a%20b", "en-US/z")
    put_episode(store, "en/with-audio")
    store.put(f"{PREFIX}en/stray.json", b"[]")
    assert episode_ids(store, PREFIX, "en", NO_WAIT) == ["B", "a", "a b", "a%20b", "b", "with-audio", "é"]


def test_an_empty_prefix_is_the_root_of_the_bucket():
    store = MemoryBucket()
    store.put("de/x/all_segments.json", b"[]")
    assert list_language_folders(store, "", NO_WAIT) == [LanguageFolder("de", "de")]
    assert episode_ids(store, "", "de", NO_WAIT) == ["x"]


def test_an_empty_bucket_has_no_folders():
    assert list_language_folders(MemoryBucket(), PREFIX, NO_WAIT) == []


def no_object(*_: object) -> None:
    raise AssertionError("a scan reads no object")


def test_a_folder_takes_one_request_whatever_it_holds(bucket, monkeypatch):
    put_episode(bucket, "yue/f", 50)
    counting = Flaky(obstore.list_with_delimiter, times=0)
    use_obstore(monkeypatch, store_gets, list_with_delimiter=counting, list=no_object, get=no_object)
    assert episode_ids(bucket, PREFIX, "yue", NO_WAIT) == ["f"]
    assert counting.calls == {f"{PREFIX}yue/": 1}


def test_transient_errors_are_retried_until_the_retries_are_exhausted(bucket, monkeypatch):
    use_obstore(monkeypatch, store_gets, list_with_delimiter=Flaky(obstore.list_with_delimiter, times=4))
    assert len(list_language_folders(bucket, PREFIX, NO_WAIT)) == 7
    use_obstore(monkeypatch, store_gets, list_with_delimiter=Flaky(obstore.list_with_delimiter, times=5))
    with pytest.raises(RetriesExhausted, match="listing processed/"):
        list_language_folders(bucket, PREFIX, NO_WAIT)
