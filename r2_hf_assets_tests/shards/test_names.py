"""Names of a chunk's files, which are those of the script."""

import pytest

from r2_hf_assets.shards.names import (
    index_path,
    is_index,
    parse_path,
    part_name,
    parts_in_order,
    path_in_repo,
    record_name,
    shard_names,
    stem,
)


@pytest.mark.parametrize(
    ("number", "parts", "names"),
    [
        (7, 0, []),
        (7, 1, ["chunk-00007.parquet"]),
        (0, 2, ["chunk-00000-part-00.parquet", "chunk-00000-part-01.parquet"]),
        (123456, 1, ["chunk-123456.parquet"]),
    ],
)
def test_one_part_has_no_number(number, parts, names):
    assert shard_names(number, parts) == names


def test_more_than_a_hundred_parts_are_all_different():
    names = shard_names(7, 120)
    assert len(set(names)) == 120
    assert (names[99], names[100]) == ("chunk-00007-part-99.parquet", "chunk-00007-part-100.parquet")
    assert names[5] == part_name(7, 5)


def test_names_of_index_and_record():
    assert stem(7) == "chunk-00007"
    assert index_path("en", 7) == "metadata/en/chunk-00007.parquet"
    assert record_name(7) == "chunk-00007.json"


def test_path_of_a_shard_in_the_repo():
    assert path_in_repo("en", "chunk-00007.parquet") == "data/en/chunk-00007.parquet"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("data/en/chunk-00007.parquet", ("en", 7)),
        ("data/en/chunk-00007-part-01.parquet", ("en", 7)),
        ("metadata/en/chunk-00007.parquet", ("en", 7)),
        ("metadata/unknown/chunk-123456.parquet", ("unknown", 123456)),
        ("metadata/en/chunk-00007-part-01.parquet", None),
        ("metadata/en/chunk-000007.parquet", None),
        ("data/en/chunk-00007-part-001.parquet", None),
        ("metadata/en/chunk-7.parquet", None),
        ("metadata/chunk-00007.parquet", None),
        ("other/en/chunk-00007.parquet", None),
        ("metadata/en/chunk-00007.rejects.parquet", None),
    ],
)
def test_the_path_of_a_part_or_an_index_names_its_chunk(path, name):
    assert parse_path(path) == name


def test_an_index_is_no_part_of_its_chunk():
    index, parts = index_path("en", 7), [path_in_repo("en", name) for name in shard_names(7, 3)]
    assert is_index(index) and not any(map(is_index, parts))
    assert parts_in_order("en", 7, [index, *reversed(parts)]) == parts
    assert parts_in_order("en", 7, [index]) == []
