"""Names of a chunk's files, which are those of the script."""

import pytest

from r2_hf_assets.shards.names import part_name, path_in_repo, record_name, rejects_name, shard_names, stem


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


def test_names_of_ledger_and_record():
    assert stem(7) == "chunk-00007"
    assert rejects_name(7) == "chunk-00007.rejects.parquet"
    assert record_name(7) == "chunk-00007.json"


def test_path_of_a_shard_in_the_repo():
    assert path_in_repo("en", "chunk-00007.parquet") == "data/en/chunk-00007.parquet"
