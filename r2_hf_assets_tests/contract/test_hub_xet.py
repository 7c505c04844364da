"""The Xet store: what it refuses, and its responses to queries for stored chunks."""

import json
import random
import struct
import time
from dataclasses import dataclass
from pathlib import Path

import hf_xet
import pytest
import requests

from r2_hf_assets_tests.contract.conftest import RunPython
from r2_hf_sandbox import HubServer
from r2_hf_sandbox.hub.disk import HubRefusal
from r2_hf_sandbox.hub.xet import XetStore, parse_chunks
from r2_hf_sandbox.hub.xet_shards import BOOKEND, DEDUP_VALID_S, TAG, WITH_METADATA, Term, XetFile, parse_shard

XORB = "ab" * 32
CHUNKS = [100, 50, 70]  # unpacked bytes
HASHES = ["11" * 32, "22" * 32, "33" * 30 + "0400"]  # the last is a multiple of 1024


def _xorb(sizes: list[int]) -> bytes:
    header = b"\0%s\0%s"
    return b"".join(header % (size.to_bytes(3, "little"), size.to_bytes(3, "little")) + b"x" * size for size in sizes)


def _entry(hash_hex: str, *numbers: int) -> bytes:
    words = (int(hash_hex[at : at + 16], 16) for at in range(0, 64, 16))
    return struct.pack("<4Q4I", *words, *numbers, *[0] * (4 - len(numbers)))


def _shard(start: int, end: int, unpacked: int, xorb: str = XORB, sizes: list[int] = CHUNKS) -> bytes:
    """Return a shard with a file of one term, and its xorb."""
    file = _entry("cd" * 32, WITH_METADATA, 1) + _entry(xorb, 0, unpacked, start, end) + _entry("ef" * 32)
    chunks = [_entry(name, sum(sizes[:n]), size) for n, (name, size) in enumerate(zip(HASHES, sizes, strict=True))]
    return TAG.ljust(48, b"\0") + file + BOOKEND + _entry(xorb, 0, 3, sum(sizes)) + b"".join(chunks) + BOOKEND


@pytest.fixture
def store(tmp_path: Path) -> XetStore:
    store = XetStore(tmp_path)
    assert store.put_xorb(XORB, _xorb(CHUNKS))
    return store


def test_a_shard_registers_its_file_also_after_a_restart(store: XetStore) -> None:
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
        (_shard(0, 3, 220, sizes=[100, 60, 60]), "other chunks"),
        (_shard(0, 3, 220)[:150], "breaks off"),
        (_shard(0, 3, 220)[:-1], "breaks off"),
        (b"not a shard", "no magic"),
    ],
)
def test_an_invalid_shard_is_refused(store: XetStore, shard: bytes, reason: str) -> None:
    with pytest.raises(HubRefusal, match=reason):
        store.put_shard(shard)
    assert store.file_of_sha256("ef" * 32) is None
    assert store.dedup_shard(HASHES[2]) is None


@pytest.mark.parametrize(("start", "known"), [(0, [True, False, True]), (1, [False, True, True])])
def test_stored_chunks_are_returned_also_after_a_restart(store: XetStore, start: int, known: list[bool]) -> None:
    """A file's first chunk and multiples of 1024 can be queried; the response names all chunks of the xorb."""
    uploaded = _shard(start, 3, sum(CHUNKS[start:]))
    store.put_shard(uploaded)
    for reader in (store, XetStore(store.folder)):
        responses = [reader.dedup_shard(name) for name in HASHES]
        assert [response is not None for response in responses] == known
        shard = parse_shard(responses[2] or b"")
        assert (shard.files, shard.xorbs) == ((), parse_shard(uploaded).xorbs)


def test_the_footer_of_a_response(store: XetStore) -> None:
    uploaded = _shard(0, 3, 220)
    store.put_shard(uploaded)
    before = int(time.time())
    response = store.dedup_shard(HASHES[0]) or b""
    version, size = struct.unpack_from("<2Q", response, 32)
    footer = struct.unpack("<9Q32s2Q72sQ", response[-size:])
    assert (version, footer[:2]) == (2, (1, 48))
    assert response[footer[2] : footer[-1]] == uploaded[parse_shard(uploaded).xorb_section]
    assert footer[3:9] == (len(response) - size, 0) * 3
    assert footer[9] == bytes(32)
    assert before <= footer[10] == footer[11] - DEDUP_VALID_S


def _two_files(store: XetStore) -> None:
    """Register a file of chunks 0 and 1, sha256 ef..., and one of chunks 1 and 2, sha256 aa..."""
    store.put_shard(_shard(0, 2, 150))
    store.put_shard(_shard(1, 3, 120).replace(_entry("cd" * 32)[:32], b"\xcc" * 32).replace(b"\xef" * 32, b"\xaa" * 32))


def test_a_deleted_file_takes_only_its_own_chunks_along(store: XetStore) -> None:
    _two_files(store)
    before = store.xorb_path(XORB).read_bytes()
    store.delete(["ef" * 32])
    for reader in (store, XetStore(store.folder)):
        assert reader.file_of_sha256("ef" * 32) is None and reader.file("cd" * 32) is None
        assert reader.file_of_sha256("aa" * 32) == XetFile("cc" * 32, (Term(XORB, 1, 3, 120),), "aa" * 32)
        assert reader.chunks(XORB).dropped == {0}
        assert [reader.dedup_shard(name) for name in HASHES] == [None] * 3
    start = store.chunks(XORB).packed[1]
    after = store.xorb_path(XORB).read_bytes()
    assert after[8:start] == bytes(100) and after[start:] == before[start:]
    with pytest.raises(HubRefusal, match="deleted chunks"):
        store.put_shard(_shard(0, 3, 220))
    store.delete(["aa" * 32])
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []


def test_a_xorb_with_dropped_chunks_is_replaced_by_a_whole_one(store: XetStore) -> None:
    _two_files(store)
    store.delete(["ef" * 32])
    assert store.put_xorb(XORB, _xorb(CHUNKS)) and not store.put_xorb(XORB, _xorb(CHUNKS))
    store.put_shard(_shard(0, 3, 220))
    assert store.file_of_sha256("ef" * 32) is not None and store.dedup_shard(HASHES[0]) is not None


def test_a_deletion_that_was_killed_is_completed(store: XetStore, monkeypatch: pytest.MonkeyPatch) -> None:
    _two_files(store)
    monkeypatch.setattr(store, "_rewrite", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        store.delete(["ef" * 32])
    restarted = XetStore(store.folder)
    assert restarted.file_of_sha256("ef" * 32) is None
    assert [restarted.dedup_shard(name) for name in HASHES] == [None] * 3
    restarted.delete(["ef" * 32])
    assert restarted.file("cd" * 32) is None and restarted.file_of_sha256("aa" * 32) is not None


def test_chunks_of_an_upload_in_progress_stay(store: XetStore) -> None:
    """Its shard, which comes last, names chunks that no file has yet."""
    store.put_shard(_shard(0, 1, 100))
    other = "12" * 32
    store.put_xorb(other, _xorb(CHUNKS))
    store.delete(["ef" * 32])
    assert store.chunks(XORB).dropped == {0}
    store.put_shard(_shard(0, 3, 220, xorb=other))
    assert store.file_of_sha256("ef" * 32) is not None


@pytest.mark.parametrize("xorb", [b"\1" + _xorb([9])[1:], _xorb([9])[:-1], _xorb([9])[:5], _xorb([200_000])])
def test_an_invalid_xorb_is_refused(store: XetStore, xorb: bytes) -> None:
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
def test_a_range_has_only_the_chunks_it_needs(
    store: XetStore, start: int, end: int, offset: int, terms: list[tuple[int, int]]
) -> None:
    """The file is the xorb twice: 440 bytes, chunks at 0, 100, 150, 220, 320, 370."""
    file = XetFile("cd" * 32, (Term(XORB, 0, 3, 220), Term(XORB, 0, 3, 220)), None)
    actual_offset, actual = store.terms_of_range(file, start, end)
    assert (actual_offset, [(term.start, term.end) for term in actual]) == (offset, terms)


@dataclass(frozen=True)
class Upload:
    """`sent` is bytes of uploaded xorbs, `queried` the number of chunk queries; the others are hf_xet's byte counts."""

    hash: str
    size: int
    sent: int
    queried: int
    new: int
    known: int
    known_globally: int


class Uploader:
    """Streams content into the Hub by the installed hf_xet, each time from a process with an empty cache."""

    def __init__(self, hub: HubServer, repo: str, run_python: RunPython, folder: Path) -> None:
        self._hub, self._repo, self._run, self._folder = hub, repo, run_python, folder
        self._homes = 0

    def __call__(self, content: bytes) -> Upload:
        (self._folder / "content").write_bytes(content)
        self._homes += 1
        mark = self._hub.mark()
        done = self._run(
            _UPLOAD,
            f"{self._hub.endpoint}/api/datasets/{self._repo}/xet-write-token/main",
            self._hub.token,
            str(self._folder / "content"),
            HF_HOME=str(self._folder / f"home-{self._homes}"),
        )
        log = self._hub.requests(mark)
        sent = sum(int(request["headers"]["content-length"]) for request in log if "/v1/xorbs/" in request["path"])
        queried = sum("/v1/chunks/" in request["path"] for request in log)
        return Upload(**json.loads(done.stdout), sent=sent, queried=queried)

    def read(self, upload: Upload) -> bytes:
        url = f"{self._hub.endpoint}/api/datasets/{self._repo}/xet-read-token/main"
        token = requests.get(url, timeout=10).json()
        group = hf_xet.XetSession().new_download_stream_group(
            endpoint=token["casUrl"], token=token["accessToken"], token_expiry_unix_secs=token["exp"]
        )
        return b"".join(group.download_stream(hf_xet.XetFileInfo(upload.hash, upload.size)))


_UPLOAD = """
import json, sys, hf_xet
url, token, path = sys.argv[1:]
headers = {"authorization": f"Bearer {token}"}
with hf_xet.XetSession().new_upload_commit(token_refresh_url=url, token_refresh_headers=headers) as commit:
    stream = commit.start_upload_stream(sha256=hf_xet.COMPUTE_SHA256)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            stream.write(block)
    done = stream.finish()
info, counts = done.xet_info, done.dedup_metrics
print(json.dumps({"hash": info.hash, "size": info.file_size, "new": counts.new_bytes, "known": counts.deduped_bytes,
                  "known_globally": counts.deduped_bytes_by_global_dedup}))
"""


@pytest.fixture
def upload(hub: HubServer, repo: str, run_python: RunPython, tmp_path: Path) -> Uploader:
    return Uploader(hub, repo, run_python, tmp_path)


def test_stored_content_is_not_sent_again(upload: Uploader) -> None:
    """Noise of two xorbs: the response to the query for the first chunk names the chunks of both."""
    content = random.Random(1).randbytes(72_000_000)
    first = upload(content)
    assert first.sent >= first.new == len(content)
    assert first.known == 0

    again = upload(content)
    assert (again.queried, again.sent, again.new, again.known) == (1, 0, 0, len(content))
    assert again.known_globally > 0
    assert again.hash == first.hash

    piece = random.Random(2).randbytes(1_000_000)
    changed = content[:30_000_000] + piece + content[30_900_000:]  # the rest is at another offset
    third = upload(changed)
    assert len(piece) <= third.sent <= len(piece) + 3 * 128 * 1024  # and the chunks at its two ends
    assert third.new + third.known == third.size == len(changed)
    assert upload.read(third) == changed
