"""The inventory of data/ and metadata/ at one revision, the parsing of file names, and range reads of files."""

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from r2_hf_assets.errors import AccessError, RetriesExhausted, ShardError
from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.reads import HubReader, take_inventory
from r2_hf_assets.shards.names import parse_path, parts_in_order
from r2_hf_assets.shards.schema import SCHEMA, WRITER_OPTIONS
from r2_hf_assets_tests.hub.conftest import client, commit_files
from r2_hf_assets_tests.support.world import World


def test_without_a_repo_or_data_the_inventory_is_empty(world: World) -> None:
    assert take_inventory(client(world)).revision is None
    head = commit_files(world, {"README.md": b"words"})
    inventory = take_inventory(client(world))
    assert (inventory.revision, inventory.files) == (head, {})


def test_every_page_of_data_and_metadata_is_listed_and_no_other_folder(world: World) -> None:
    names = [f"data/en/{number:04d}.txt" for number in range(1005)] + ["metadata/en/chunk-00007.parquet"]
    others = {"database/en/a.parquet": b"other", "metadata.json": b"{}"}
    head = commit_files(world, {**dict.fromkeys(names, b"x"), **others})
    mark = world.sandbox.hub.mark()
    inventory = take_inventory(client(world))
    assert (inventory.revision, list(inventory.files)) == (head, names)
    listings = [request["path"] for request in world.sandbox.hub.requests(since=mark) if "/tree/" in request["path"]]
    assert len(listings) == 3
    assert all(head in path for path in listings)


def test_the_inventory_has_the_size_and_the_sha256_of_a_shard(world: World) -> None:
    body = b"PAR1" * 1000
    paths = ["data/en/chunk-00007.parquet", "metadata/en/chunk-00007.parquet"]
    commit_files(world, dict.fromkeys(paths, body))
    files = [*take_inventory(client(world)).files.values()]
    assert files == [RemoteFile(path, 4000, hashlib.sha256(body).hexdigest()) for path in paths]
    assert take_inventory(client(world)).by_chunk() == {("en", 7): files}


def test_transient_errors_are_retried_and_a_refusal_is_one_line(world: World) -> None:
    commit_files(world, {"data/en/chunk-00007.parquet": b"x"})
    # A status that the library itself does not retry.
    fault = {"method": "GET", "path_regex": f"{world.repo_id}/tree/", "status": 409}
    world.sandbox.hub.inject({**fault, "times": 2})
    assert len(take_inventory(client(world)).files) == 1
    world.sandbox.hub.inject({**fault, "times": 100})
    with pytest.raises(RetriesExhausted, match="list"):
        take_inventory(client(world))
    world.sandbox.hub.clear_faults()
    with pytest.raises(AccessError, match="HF_TOKEN"):
        take_inventory(client(world, token="hf_nobody"))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("data/en/chunk-00007.parquet", ("en", 7)),
        ("data/en/chunk-00007-part-01.parquet", ("en", 7)),
        ("data/yue/chunk-123456-part-100.parquet", ("yue", 123456)),
        ("data/en/chunk-7.parquet", None),
        ("data/en/chunk-000007.parquet", None),
        ("data/en/chunk-00007-part-1.parquet", None),
        ("data/en/chunk-00007-part-001.parquet", None),
        ("data/en/chunk-00007.rejects.parquet", None),
        ("data/EN/chunk-00007.parquet", None),
        ("data/en/sub/chunk-00007.parquet", None),
        ("en/chunk-00007.parquet", None),
    ],
)
def test_read_path(path: str, name: tuple[str, int] | None) -> None:
    assert parse_path(path) == name


WHOLE = "data/en/chunk-00007.parquet"
PARTS = [f"data/en/chunk-00007-part-{part:02d}.parquet" for part in range(3)]


@pytest.mark.parametrize(
    ("paths", "ordered"),
    [
        ([], []),
        ([WHOLE], [WHOLE]),
        (PARTS[::-1], PARTS),
        (PARTS[:1], PARTS[:1]),
        (PARTS[1:], None),
        ([PARTS[0], PARTS[2]], None),
        ([WHOLE, PARTS[0]], None),
        ([PARTS[1]], None),
    ],
)
def test_parts_in_order(paths: list[str], ordered: list[str] | None) -> None:
    assert parts_in_order("en", 7, paths) == ordered


def test_keys_are_read_by_ranges_without_the_audio(world: World) -> None:
    rows = [{"audio": {"path": f"key {n}", "bytes": b"\0" * 40_000}, "text": f"{n}"} for n in range(40)]
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, SCHEMA, **WRITER_OPTIONS) as writer:
        writer.write_table(pa.Table.from_pylist(rows[:20], SCHEMA))
        writer.write_table(pa.Table.from_pylist(rows[20:], SCHEMA))
    body = sink.getvalue().to_pybytes()
    footer = 8 + int.from_bytes(body[-8:-4], "little")
    damaged = {PARTS[0]: b"PAR1, no Parquet", PARTS[1]: body[:-footer] + b"\xff" * (footer - 8) + body[-8:]}
    head = commit_files(world, {WHOLE: body, **damaged})
    reader = HubReader(client(world), head)
    file = RemoteFile(WHOLE, len(body), "")
    world.sandbox.hub.inject({"method": "GET", "path_regex": "/resolve/", "status": 409, "times": 1})
    schema, count = reader.footer(file)
    assert (schema, schema.metadata, count) == (SCHEMA, SCHEMA.metadata, 40)
    mark = world.sandbox.hub.mark()
    keys = [key for (group,) in reader.row_groups(file, ["audio.path"]) for key in group]
    assert keys == [row["audio"]["path"] for row in rows]  # type: ignore[index]
    ranges = [r for r in world.sandbox.hub.requests(since=mark) if "/resolve/" in r["path"] and r["method"] == "GET"]
    bounds = [request["headers"]["range"].removeprefix("bytes=").split("-") for request in ranges]
    fetched = sum(int(last) - int(first) + 1 for first, last in bounds)
    assert 2 <= len(ranges) <= 8
    assert fetched < len(body) / 4
    for path, content in damaged.items():
        with pytest.raises(ShardError, match=f"{path} is not a valid Parquet file"):
            reader.footer(RemoteFile(path, len(content), ""))
