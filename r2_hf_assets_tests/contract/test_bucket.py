"""The product's clients on every bucket of places.py: keys, listings, the state store, the plan, refusals."""

import gzip
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import obstore
import pytest

from r2_hf_assets.bucket import listing
from r2_hf_assets.bucket.client import object_store, open_store
from r2_hf_assets.bucket.fetch import fetch_in_order, head_in_order
from r2_hf_assets.bucket.listing import LanguageFolder, age_of_newest, list_episodes, list_language_folders
from r2_hf_assets.bucket.pages import check_access, first_page, list_pages
from r2_hf_assets.bucket.response import Fetched, GetResult
from r2_hf_assets.errors import AccessError
from r2_hf_assets.plan.amendments import Target
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.preflight.collect import check_state
from r2_hf_assets.retry import DEFAULT
from r2_hf_assets_tests.contract.places import PLACES, Place
from r2_hf_assets_tests.support.world import World

# One process starts the servers, once.
pytestmark = pytest.mark.xdist_group("contract_bucket")

# Folders. By key, "a-b/" and "a.b/" precede "a/"; by name, they follow it.
NAMES = (
    "%41",
    "a",
    "a b",
    "a&b=c;d",
    "a+b",
    "a-b",
    "a.b",
    "a:b@c,d$",
    "e'(1)*!",
    "en-US",
    "x[1]{2}|^`",
    "~",
    "é",
    "日本",
)
MIB = 2**20


def fetch(place: Place, keys: Iterable[str]) -> list[GetResult]:
    fetched = fetch_in_order(keys, str, place.reader(), workers=4, max_bytes=64 * MIB, limit=32 * MIB, retry=DEFAULT)
    return [result for _, result in fetched]


def body(result: GetResult) -> bytes:
    assert isinstance(result, Fetched), result
    return result.body()


def put_all(place: Place, keys: Iterable[str], data: bytes = b"x") -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: place.put(key, data), keys))


def test_every_key_reads_back(place: Place) -> None:
    put_all(place, NAMES[:-1])
    keys = [place.put(f"{name}/{name}.mp3", name.encode()) for name in NAMES]
    assert [body(result) for result in fetch(place, keys)] == [name.encode() for name in NAMES]


def test_an_absent_object_is_none_and_an_empty_one_is_empty(place: Place) -> None:
    empty = place.put("empty", b"")
    absent = f"{place.r2.prefix}absent"
    found, none = fetch(place, [empty, absent])
    assert body(found) == b"" and none is None
    heads = [head for _, head in head_in_order([empty, absent], str, place.reader(), workers=2, retry=DEFAULT)]
    assert heads[0] is not None and heads[0].size == 0 and heads[1] is None


def test_a_head_has_the_etag_of_the_get_and_new_content_another(place: Place) -> None:
    def etags(key: str) -> set[str]:
        (got,) = fetch(place, [key])
        ((_, head),) = head_in_order([key], str, place.reader(), workers=1, retry=DEFAULT)
        assert isinstance(got, Fetched) and head is not None and head.size == got.size
        assert abs(datetime.now(UTC) - head.modified) < timedelta(minutes=5) > got.age
        return {got.etag, head.etag}

    (first,) = etags(place.put("segments.json", b"[]"))
    (second,) = etags(place.put("segments.json", b"[{}]"))
    assert first != second != ""


def test_a_key_of_1024_bytes_is_read_and_a_longer_one_is_absent(place: Place) -> None:
    # Servers with real folders limit a name to 255 bytes.
    room = 1024 - len(place.r2.prefix.encode())
    longest = "/".join(["n" * 200] * 6)[:room]
    (found, none) = fetch(place, [place.put(longest, b"1"), f"{place.r2.prefix}{longest}n"])
    assert body(found) == b"1" and none is None


def test_an_object_packed_by_gzip_is_unpacked(place: Place) -> None:
    store = object_store(place.r2, prefix=place.r2.prefix)
    obstore.put(store, "packed.json", gzip.compress(b"[1]"), attributes={"Content-Encoding": "gzip"})
    (found,) = fetch(place, [f"{place.r2.prefix}packed.json"])
    assert body(found) == b"[1]"


def test_folders_are_listed_once_by_pages_of_any_size(place: Place) -> None:
    put_all(place, [f"{name}/1/{file}" for name in NAMES for file in ("a", "b")])
    for size in (1, 2, 5, 1000):
        pages = list_pages(place.reader(), place.r2.prefix, DEFAULT, "/", max_keys=size)
        listed = [prefix.removeprefix(place.r2.prefix)[:-1] for page in pages for prefix in page.prefixes]
        assert sorted(listed) == sorted(NAMES), size
    folders = list_language_folders(place.reader(), place.r2.prefix, DEFAULT)
    assert {folder.name: folder.language for folder in folders}["en-US"] == "en"
    assert len(folders) == len(NAMES)


def test_a_listing_continues_behind_any_folder(place: Place) -> None:
    put_all(place, [f"{name}/1" for name in NAMES])
    whole = first_page(place.reader(), place.r2.prefix, DEFAULT, "/").prefixes
    for number, prefix in enumerate(whole, 1):
        page = first_page(place.reader(), place.r2.prefix, DEFAULT, "/", after=prefix)
        assert page.prefixes == whole[number:], prefix


def test_a_long_listing_in_parallel_ranges_has_each_episode_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_PAGES_BEFORE_SPLIT", 1)
    monkeypatch.setattr(listing, "list_pages", partial(list_pages, max_keys=4))
    episodes = sorted(f"{first}{second}-{number}" for first in "0az" for second in "0mz" for number in range(8))
    put_all(place, [f"en/{episode}/all_segments.json" for episode in episodes])
    with closing(list_episodes(place.reader(), place.r2.prefix, [LanguageFolder("en", "en")], DEFAULT)) as listings:
        listed = [name for names in listings for batch in names for name in batch]
    assert listed == episodes


def test_the_age_of_the_newest_object_is_known(place: Place) -> None:
    assert age_of_newest(place.reader(), place.r2.prefix, DEFAULT) is None
    place.put("e1/all_segments.json", b"[]")
    age = age_of_newest(place.reader(), place.r2.prefix, DEFAULT)
    assert age is not None and age < timedelta(minutes=5)


def test_a_file_is_created_once_also_by_concurrent_writers(place: Place) -> None:
    files = place.files()
    barrier = threading.Barrier(3)

    def create(number: int) -> bool:
        barrier.wait()
        return files.create("log_0000.json", b"%d" % number)

    with ThreadPoolExecutor(3) as pool:
        created = list(pool.map(create, range(3)))
    assert files.read("log_0000.json") == b"%d" % created.index(True)
    assert created.count(True) == 1
    assert files.create("log_0000.json", b"late") is False
    assert files.list_paths("") == ["log_0000.json"]


def test_a_file_is_overwritten_whole_and_read_at_once(place: Place) -> None:
    files = place.files()
    assert files.read("index.json") is None
    for data in (b"[1, 2, 3]", b"[]"):
        files.overwrite("index.json", data)
        assert files.read("index.json") == data


def test_a_large_file_is_written_in_parts(place: Place) -> None:
    data = bytes(range(256)) * (12 * MIB // 256) + b"the last part is shorter"
    (found,) = fetch(place, [place.put("index.json", data)])
    assert body(found) == data


def test_a_plan_is_created_amended_and_read_by_another_client(place: Place) -> None:
    def plan() -> PlanStore:
        store = open_store(f"s3://{place.r2.name}/{place.r2.prefix}state", place.r2)
        return PlanStore(store, place.r2.name, "processed/", DEFAULT)

    chunks = [ChunkManifest("en", number, "processed/", (f"en/e{number}", f"en-US/é{number}")) for number in range(3)]
    plan().check_identity()
    plan_id = plan().ensure_id()
    assert [plan().create(chunk) for chunk in chunks] == [True] * 3
    assert plan().create(replace(chunks[0], episodes=("en/other",))) is False
    assert plan().create(chunks[0]) is True  # as after a lost response
    plan().write_index([chunk.ref for chunk in chunks])
    plan().amend("remove", [Target("en/e1", ("en", 1))], "request", datetime.now(UTC))
    planned = plan().planned()
    assert plan().ensure_id() == plan_id
    assert [(chunk.name, chunk.digest != sealed.digest) for chunk, sealed in zip(planned, chunks, strict=True)] == [
        (("en", 0), False),
        (("en", 1), True),
        (("en", 2), False),
    ]
    assert plan().numbers() == {"en": [0, 1, 2]}


def test_the_doctor_accepts_the_state_store(place: Place) -> None:
    (finding,) = check_state(f"s3://{place.r2.name}/{place.r2.prefix}state", place.r2)
    assert finding.level == "ok", finding
    assert place.files().list_paths("") == []


def test_a_missing_bucket_is_one_line(place: Place) -> None:
    missing = replace(place.r2, name=f"{place.r2.name}-absent")
    for variable, call in (
        ("R2_BUCKET", lambda: check_access(replace(place, r2=missing).reader(), "")),
        ("STATE_URL", lambda: replace(place, r2=missing).files().overwrite("key", b"")),
    ):
        with pytest.raises(AccessError, match=f"check {variable}|check R2_ACCESS_KEY_ID") as refused:
            call()
        assert "\n" not in str(refused.value) and place.r2.secret_access_key not in str(refused.value)


@pytest.mark.parametrize("server", sorted({*PLACES} - {"moto"}), indirect=True)  # moto checks no signature
def test_a_wrong_secret_is_one_line(place: Place) -> None:
    wrong = replace(place.r2, secret_access_key="wrong")
    for call in (
        lambda: check_access(replace(place, r2=wrong).reader(), ""),
        lambda: replace(place, r2=wrong).files().overwrite("key", b""),
    ):
        with pytest.raises(AccessError, match="check R2_SECRET_ACCESS_KEY") as refused:
            call()
        assert "\n" not in str(refused.value) and "wrong" not in str(refused.value)


@pytest.mark.parametrize("server", sorted({*PLACES} - {"seaweedfs"}), indirect=True)  # all other tests use it
def test_episodes_are_planned_built_and_committed(
    place: Place, in_process: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole job on this bucket, with its state there too; the dataset is on the sandbox's Hub."""
    expected = in_process.upload(episodes={"en": 2}, segments=(2, 3), seconds=(0.2, 0.3))
    samples = in_process.store()
    keys = [item["path"] for batch in obstore.list(samples) for item in batch]
    for key in keys:
        place.put(key, in_process.object(key))
    for name, value in {
        "R2_ENDPOINT_URL": place.r2.endpoint_url,
        "R2_ACCESS_KEY_ID": place.r2.access_key_id,
        "R2_SECRET_ACCESS_KEY": place.r2.secret_access_key,
        "R2_SESSION_TOKEN": place.r2.session_token,
        "R2_REGION": place.r2.region,
        "R2_BUCKET": place.r2.name,
        "PROCESSED_PREFIX": f"{place.r2.prefix}processed/",
        "STATE_URL": f"s3://{place.r2.name}/{place.r2.prefix}state",
    }.items():
        monkeypatch.setenv(name, value)
    assert in_process.scan() is None
    assert [run.error for run in in_process.build_due()] == [None]
    assert in_process.due() == []
    assert in_process.row_keys() == sorted(place.r2.prefix + row.key for row in expected.rows)
