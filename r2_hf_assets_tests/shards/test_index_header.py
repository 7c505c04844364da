"""The header of an index: the manifest, ETags, files and figures of its chunk, so that the plan can be restored."""

import hashlib
import json
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from r2_hf_assets.bucket.segments import METADATA_MAX_BYTES
from r2_hf_assets.errors import ShardError
from r2_hf_assets.plan.amendments import REFRESH, REMOVE, Amendment, Target
from r2_hf_assets.shards.index import HEADER_KEY, INDEX_SCHEMA, IndexHeader, decode_header
from r2_hf_assets.shards.record import ShardFile, Tally
from r2_hf_assets.shards.stats import Stats
from r2_hf_assets_tests.shards.damaged_build import CHUNK
from r2_hf_assets_tests.support.build_samples import (
    NO_WAIT,
    PLAN_ID,
    PREFIX,
    MemoryBuild,
    build_in_memory,
    chunk_of,
    entry,
    put_episode,
)
from r2_hf_assets_tests.support.objects_server import ObjectsServer, Response
from r2_hf_assets_tests.support.store_gets import MemoryBucket
from r2_hf_assets_tests.support.world import World


def header_of(built: MemoryBuild) -> IndexHeader:
    return decode_header(pq.read_metadata(pa.BufferReader(built.index)).metadata)


def test_the_header_has_the_manifest_and_the_build(intact):
    header, record = header_of(intact), intact.record
    assert header.manifest == CHUNK
    assert (header.plan_id, header.digest, header.files) == (PLAN_ID, CHUNK.digest, record.files)
    assert (header.tally, header.stats, header.amendments) == (record.tally, record.stats, ())
    for file, data in zip(header.files, intact.parts, strict=True):
        assert (file.size, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_the_header_has_the_etag_of_each_episodes_metadata(world: World) -> None:
    store, chunk = world.store(), chunk_of("en/a", "en/gone", "en/none", "en/html")
    put_episode(store, "en/a", 2)
    put_episode(store, "en/none", [])
    put_episode(store, "en/html", 0, metadata=b"<html>")

    def read() -> dict[str, str | None]:
        built = build_in_memory(chunk, world.reader(), workers=2)
        return dict(header_of(built).episodes)

    def etag(episode: str) -> str:
        key = f"{PREFIX}{episode}/all_segments.json"
        head = world.sandbox.s3.client().head_object(Bucket=world.bucket, Key=key)
        return str(head["ETag"].strip('"'))

    tags = read()
    assert [*tags] == [*chunk.episodes]
    assert tags == {"en/gone": ""} | {name: etag(name) for name in ("en/a", "en/none", "en/html")}
    assert len(set(tags.values())) == 4
    put_episode(store, "en/a", [entry(0), entry(1, text="changed")])
    assert etag("en/a") != tags["en/a"]
    assert read() == tags | {"en/a": etag("en/a")}


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (Response(body=b"garbage", headers={"ETag": '"0a"', "Content-Encoding": "gzip"}), "metadata_not_gzip"),
        (
            Response(headers={"ETag": '"0a"', "Content-Length": str(METADATA_MAX_BYTES + 1)}, endless=bytes(65536)),
            "metadata_too_large",
        ),
    ],
    ids=["damaged gzip", "too large"],
)
def test_metadata_that_cannot_be_used_keeps_its_etag(response, reason):
    key = f"{PREFIX}en/a/all_segments.json"
    with ObjectsServer({}, lambda path, count: response if path == key else None) as server:
        built = build_in_memory(chunk_of("en/a"), server.bucket(), retry=NO_WAIT)
    assert [line["reject_reason"] for line in built.index_rows()] == [reason]
    assert header_of(built).episodes == (("en/a", "0a"),)


def test_an_amended_chunk_has_its_removals_in_the_index_without_their_content():
    bucket = MemoryBucket()
    for name in "abc":
        put_episode(bucket, f"en/{name}", 4)
    log = (
        Amendment(3, REFRESH, (Target("en/b", ("en", 7)),), "", "2026-11-29T06:00:00+00:00"),
        Amendment(
            5,
            REMOVE,
            (
                Target("en/a", ("en", 7)),
                Target("en/b", ("en", 7), segment=2),
                Target("en/c", ("en", 7), speaker="SPEAKER_01"),
            ),
            "asked for",
            "2026-11-29T07:00:00+00:00",
        ),
    )
    sealed = chunk_of("en/a", "en/b", "en/c")
    built = build_in_memory(replace(sealed, amendments=log), bucket)
    removed = [(line["episode"], line["segment"]) for line in built.rejects()]
    assert removed == [("en/a", None), ("en/b", 2), ("en/c", 1), ("en/c", 3)]
    for line in built.rejects():
        assert line["reject_reason"] == "removed"
        content = set(INDEX_SCHEMA.names) - {"episode", "segment", "key", "reject_reason", "reject_detail"}
        assert [line[name] for name in sorted(content)] == [None] * len(content)
    header = header_of(built)
    assert header.manifest == sealed and header.amendments == (3, 5)
    assert header.digest == built.record.digest != sealed.digest
    assert dict(header.episodes)["en/a"] is None, "the metadata of a removed episode is not read"
    assert [(row["audio"]["path"][-8:-4], row["speaker_id"]) for row in built.rows()] == [
        *(("0000", "SPEAKER_00"), ("0001", "SPEAKER_01"), ("0003", "SPEAKER_01")),
        *(("0000", "SPEAKER_00"), ("0002", "SPEAKER_00")),
    ]


HEADER = IndexHeader(
    plan_id=PLAN_ID,
    language="en",
    number=7,
    prefix=PREFIX,
    digest="d" * 32,
    episodes=(("en/a", "0123"), ("en/é\udcff", ""), ("en/b", None)),
    files=(ShardFile("data/en/chunk-00007.parquet", 5, 100, "a" * 64),),
    amendments=(0, 12),
    tally=Tally(episodes=3, rows=5, rejects={"audio_missing": 2}),
    stats=Stats(rows=5, audio_seconds=67.5),
    product="9.9",
)


@pytest.mark.parametrize(
    "header",
    [HEADER, replace(HEADER, tally=None, stats=None), replace(HEADER, files=(), amendments=(), episodes=(("e", ""),))],
    ids=["all", "an unknown build", "no row"],
)
def test_a_header_survives_the_round_trip(header):
    decoded = decode_header({HEADER_KEY: header.encode(), b"ARROW:schema": b"x"})
    assert decoded == header and decoded.encode() == header.encode()


def test_a_header_names_the_release_that_wrote_it():
    fields = {name: value for name, value in vars(HEADER).items() if name != "product"}
    assert IndexHeader(**fields).product == version("r2_hf_assets")


def changed(**changes: Any) -> bytes:
    return json.dumps(json.loads(HEADER.encode()) | changes).encode()


def lacking(name: str) -> bytes:
    return json.dumps({key: value for key, value in json.loads(HEADER.encode()).items() if key != name}).encode()


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, HEADER.encode()[:-1]),
        *(changed(version=2), changed(version="1"), lacking("version"), lacking("plan_id"), lacking("episodes")),
        *(changed(unknown=1), changed(files=None), changed(files=[{"name": "a"}]), changed(files=[1])),
        *(changed(episodes=["en/a"]), changed(episodes=[["en/a"]]), changed(episodes=5)),
        *(changed(tally={"unknown": 1}), changed(tally=[1]), changed(stats={"unknown": 1}), changed(amendments=1)),
    ],
    ids=lambda data: data[:12].decode("latin-1") + f" {len(data)}",
)
def test_a_damaged_header_is_a_shard_error(data):
    with pytest.raises(ShardError, match="its header can't be read") as caught:
        decode_header({HEADER_KEY: data})
    assert "\n" not in str(caught.value) and not caught.value.transient


@pytest.mark.parametrize("metadata", [None, {}, {b"huggingface": b"{}"}], ids=str)
def test_a_file_without_a_header_is_a_shard_error(metadata):
    with pytest.raises(ShardError, match="no index of this release"):
        decode_header(metadata)


def test_a_part_has_no_header(intact):
    with pytest.raises(ShardError):
        decode_header(pq.read_metadata(pa.BufferReader(intact.parts[0])).metadata)
