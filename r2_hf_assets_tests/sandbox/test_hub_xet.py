"""The Xet store refuses what is malformed, and shards that name what was never uploaded."""

import struct
from pathlib import Path

import pytest

from r2_hf_assets.sandbox.hub_disk import HubRefusal
from r2_hf_assets.sandbox.hub_xet import BOOKEND, SHARD_MAGIC, WITH_METADATA, Term, XetFile, XetStore, parse_chunks

XORB = "ab" * 32
CHUNKS = [100, 50, 70]  # unpacked bytes


def _xorb(sizes: list[int]) -> bytes:
    header = b"\0%s\0%s"
    return b"".join(header % (size.to_bytes(3, "little"), size.to_bytes(3, "little")) + b"x" * size for size in sizes)


def _shard(start: int, end: int, unpacked: int, xorb: str = XORB) -> bytes:
    hash_bytes = b"\xcd" * 32
    return (
        SHARD_MAGIC.ljust(48, b"\0")
        + hash_bytes
        + struct.pack("<IIQ", WITH_METADATA, 1, 0)
        + bytes.fromhex(xorb)
        + struct.pack("<IIII", 0, unpacked, start, end)
        + b"\xef" * 32
        + bytes(16)
        + BOOKEND
        + bytes(16)
    )


@pytest.fixture
def store(tmp_path: Path) -> XetStore:
    store = XetStore(tmp_path)
    assert store.put_xorb(XORB, _xorb(CHUNKS))
    return store


def test_a_shard_makes_its_file_known_also_after_a_restart(store: XetStore) -> None:
    store.put_shard(_shard(0, 3, 220))
    for reader in (store, XetStore(store.folder)):
        file = reader.file_of_sha256("ef" * 32)
        assert file == XetFile("cd" * 32, (Term(XORB, 0, 3, 220),), "ef" * 32)
        assert file.size == 220


@pytest.mark.parametrize(
    ("shard", "reason"),
    [
        (_shard(0, 3, 220, xorb="12" * 32), "never uploaded"),
        (_shard(0, 4, 220), "outside"),
        (_shard(0, 3, 221), "wrong length"),
        (_shard(0, 3, 220)[:150], "breaks off"),
        (b"not a shard", "no magic"),
    ],
)
def test_a_shard_that_is_refused(store: XetStore, shard: bytes, reason: str) -> None:
    with pytest.raises(HubRefusal, match=reason):
        store.put_shard(shard)
    assert store.file_of_sha256("ef" * 32) is None


@pytest.mark.parametrize("xorb", [b"\1" + _xorb([9])[1:], _xorb([9])[:-1], _xorb([9])[:5], _xorb([200_000])])
def test_a_xorb_that_is_refused(store: XetStore, xorb: bytes) -> None:
    with pytest.raises(HubRefusal, match="malformed xorb"):
        store.put_xorb("12" * 32, xorb)


def test_a_footer_ends_the_chunks() -> None:
    assert parse_chunks(_xorb([5, 6]) + b"XETBLOB and more").unpacked == (0, 5, 11)


@pytest.mark.parametrize(
    ("start", "end", "offset", "terms"),
    [
        (0, 220, 0, [(0, 3)]),
        (0, 100, 0, [(0, 1)]),
        (99, 101, 99, [(0, 2)]),
        (100, 150, 0, [(1, 2)]),
        (160, 161, 10, [(2, 3)]),
        (150, 320, 0, [(2, 3), (0, 1)]),
        (400, 440, 30, [(2, 3)]),
    ],
)
def test_a_range_takes_whole_chunks_and_no_more(
    store: XetStore, start: int, end: int, offset: int, terms: list[tuple[int, int]]
) -> None:
    """The file is the xorb twice: 440 bytes, chunks at 0, 100, 150, 220, 320, 370."""
    file = XetFile("cd" * 32, (Term(XORB, 0, 3, 220), Term(XORB, 0, 3, 220)), None)
    found_offset, found = store.terms_of_range(file, start, end)
    assert (found_offset, [(term.start, term.end) for term in found]) == (offset, terms)
