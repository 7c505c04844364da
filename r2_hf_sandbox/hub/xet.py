"""The local Hub's Xet store: xorbs (blocks of compressed chunks) and shards (the composition of files), on disk.

The real client chunks, deduplicates and uploads over HTTP (docs: huggingface.co/docs/xet). The chunk headers of a xorb
give the bytes of a range of chunks, packed and unpacked. A shard (xet_shards.py) gives the files, which a commit names
by their sha256 alone, and the chunks for global deduplication. Shards are stored as uploaded and parsed at the start.

A deleted file's chunks may belong to other files too. Those that no other file has are overwritten with zeros, in
place, so that the offsets of the others stay: a chunk so dropped has the scheme `DROPPED`. A xorb without other chunks
is removed. A xorb that arrives again replaces one with dropped chunks. Chunks that no file ever had, as in an upload
that is in progress or was interrupted, stay.

`hf_xet`'s own `local://` folder would not do: it locks a database, so a second uploading process fails with "Database
already open".
"""

import hashlib
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from r2_hf_sandbox.hub.disk import HubRefusal, publish, temporary_beside, write_whole
from r2_hf_sandbox.hub.xet_shards import Shard, Term, XetFile, dedup_response, parse_shard, without

CHUNK_HEADER_BYTES = 8  # version, packed length (3), compression scheme, unpacked length (3)
MAX_UNPACKED_CHUNK = 128 * 1024
DROPPED = 0xFF  # no compression scheme of the protocol
FOOTER = b"XETBLOB"  # an optional footer follows the last chunk


@dataclass(frozen=True)
class Chunks:
    """Offsets of the chunks of a xorb, packed and unpacked, and of its end; the numbers of dropped chunks."""

    packed: tuple[int, ...]
    unpacked: tuple[int, ...]
    dropped: frozenset[int] = frozenset()


class _Index:
    """The files of shards, and the shard and its xorb section for each chunk that clients query."""

    def __init__(self, shards: Mapping[Path, Shard]) -> None:
        self.by_hash: dict[str, XetFile] = {}
        self.by_sha256: dict[str, XetFile] = {}
        self.shard_of_chunk: dict[str, tuple[Path, slice]] = {}
        for path, shard in shards.items():
            self.add(path, shard)

    def add(self, path: Path, shard: Shard) -> None:
        for file in shard.files:
            self.by_hash[file.hash] = file
            if file.sha256:
                self.by_sha256[file.sha256] = file
        for chunk in shard.dedup_chunks():
            self.shard_of_chunk[chunk] = path, shard.xorb_section


class XetStore:
    """Xorbs and shards in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._chunks: dict[str, Chunks] = {}
        self._index = _Index(self._shards())

    def _shards(self) -> dict[Path, Shard]:
        return {path: parse_shard(path.read_bytes()) for path in sorted((self.folder / "shards").glob("*.mdb"))}

    def file(self, file_hash: str) -> XetFile | None:
        return self._index.by_hash.get(file_hash)

    def file_of_sha256(self, sha256: str) -> XetFile | None:
        """Return the file with this content, or None when it was never uploaded or is lost."""
        file = self._index.by_sha256.get(sha256)
        return file if file and all(self._is_stored(term) for term in file.terms) else None

    def _is_stored(self, term: Term) -> bool:
        if not self.xorb_path(term.xorb).exists():
            return False
        return self.chunks(term.xorb).dropped.isdisjoint(range(term.start, term.end))

    def _is_whole(self, xorb: str) -> bool:
        return self.xorb_path(xorb).exists() and not self.chunks(xorb).dropped

    def xorb_path(self, xorb: str) -> Path:
        return self.folder / "xorbs" / xorb[:2] / xorb

    def put_xorb(self, xorb: str, content: bytes) -> bool:
        """Store a xorb; return False when it already is."""
        chunks = parse_chunks(content)
        if self._is_whole(xorb):
            return False
        path = self.xorb_path(xorb)
        temporary = temporary_beside(path)
        temporary.write_bytes(content)
        with self._lock:
            publish(temporary, path)
            self._chunks[xorb] = chunks
        return True

    def put_shard(self, content: bytes) -> list[str]:
        """Store a shard and return the sha256s of its files.

        Raises:
            HubRefusal: 400, it is malformed, or names chunks that were never uploaded.
        """
        shard = parse_shard(content)
        with self._lock:
            for xorb in shard.xorbs:
                chunks = self._uploaded(xorb.hash)
                if chunks.unpacked != xorb.unpacked:
                    raise HubRefusal(400, f"shard names other chunks than xorb {xorb.hash} has")
                if chunks.dropped:
                    raise HubRefusal(400, f"shard names a xorb with deleted chunks: {xorb.hash}")
            for file in shard.files:
                for term in file.terms:
                    self._check(term)
            path = self._shard_path(content)
            write_whole(path, content)
            self._index.add(path, shard)
        return [file.sha256 for file in shard.files if file.sha256]

    def _shard_path(self, content: bytes) -> Path:
        return self.folder / "shards" / f"{hashlib.sha256(content).hexdigest()}.mdb"

    def delete(self, sha256s: Collection[str]) -> None:
        """Remove files, and every chunk that only they have. A repeated call completes one that was killed."""
        with self._lock:
            shards = self._shards()
            listed = [file for shard in shards.values() for file in shard.files]
            hashes = {file.hash for file in listed if file.sha256 in sha256s}
            if not hashes:
                return
            chunks: dict[bool, defaultdict[str, set[int]]] = {True: defaultdict(set), False: defaultdict(set)}
            for file in listed:
                for term in file.terms:
                    chunks[file.hash in hashes][term.xorb].update(range(term.start, term.end))
            for xorb, deleted in chunks[True].items():
                self._drop_chunks(xorb, deleted - chunks[False][xorb])
            for path, shard in shards.items():
                self._rewrite(path, shard, hashes)
            self._index = _Index(self._shards())

    def _drop_chunks(self, xorb: str, numbers: set[int]) -> None:
        path = self.xorb_path(xorb)
        if not numbers or not path.exists():
            return
        chunks = self.chunks(xorb)
        if len(chunks.dropped | numbers) == len(chunks.packed) - 1:
            path.unlink()
            del self._chunks[xorb]
            return
        content = bytearray(path.read_bytes())
        for number in numbers:
            start, end = chunks.packed[number : number + 2]
            content[start + 4] = DROPPED
            content[start + CHUNK_HEADER_BYTES : end] = bytes(end - start - CHUNK_HEADER_BYTES)
        write_whole(path, bytes(content))
        self._chunks[xorb] = parse_chunks(bytes(content))

    def _rewrite(self, path: Path, shard: Shard, hashes: set[str]) -> None:
        """Remove files from a shard, and xorbs that are not whole: their chunks must not be known for deduplication."""
        damaged = {xorb.hash for xorb in shard.xorbs if not self._is_whole(xorb.hash)}
        if not damaged and not any(file.hash in hashes for file in shard.files):
            return
        if content := without(path.read_bytes(), hashes, damaged):
            write_whole(self._shard_path(content), content)
        path.unlink()

    def dedup_shard(self, chunk: str) -> bytes | None:
        """Return a shard of all xorbs uploaded with this chunk, or None if it is not tracked."""
        with self._lock:
            if chunk not in self._index.shard_of_chunk:
                return None
            path, xorb_section = self._index.shard_of_chunk[chunk]
            content = path.read_bytes()
        if not all(self._is_whole(xorb.hash) for xorb in parse_shard(content).xorbs):
            return None
        return dedup_response(content[xorb_section], int(time.time()))

    def _uploaded(self, xorb: str) -> Chunks:
        if not self.xorb_path(xorb).exists():
            raise HubRefusal(400, f"shard names a xorb that was never uploaded: {xorb}")
        return self.chunks(xorb)

    def _check(self, term: Term) -> None:
        unpacked = self._uploaded(term.xorb).unpacked
        if not 0 <= term.start < term.end < len(unpacked):
            raise HubRefusal(400, f"shard names chunks outside of xorb {term.xorb}")
        if not self._is_stored(term):
            raise HubRefusal(400, f"shard names deleted chunks of xorb {term.xorb}")
        if unpacked[term.end] - unpacked[term.start] != term.unpacked:
            raise HubRefusal(400, f"shard names a wrong length of chunks of xorb {term.xorb}")

    def chunks(self, xorb: str) -> Chunks:
        if xorb not in self._chunks:
            self._chunks[xorb] = parse_chunks(self.xorb_path(xorb).read_bytes())
        return self._chunks[xorb]

    def terms_of_range(self, file: XetFile, start: int, end: int) -> tuple[int, list[Term]]:
        """Return the offset in the first term, and the terms, cut to whole chunks, of bytes [start, end)."""
        terms: list[Term] = []
        offset, position = 0, 0
        for term in file.terms:
            begin, position = position, position + term.unpacked
            if position <= start or begin >= end:
                continue
            unpacked = self.chunks(term.xorb).unpacked
            base = unpacked[term.start] - begin  # offset in the xorb = offset in the file + base
            first = max(n for n in range(term.start, term.end) if unpacked[n] - base <= max(start, begin))
            last = min(n for n in range(term.start + 1, term.end + 1) if unpacked[n] - base >= min(end, position))
            if not terms:
                offset = start - (unpacked[first] - base)
            terms.append(Term(term.xorb, first, last, unpacked[last] - unpacked[first]))
        return offset, terms


def parse_chunks(content: bytes) -> Chunks:
    """Read a xorb's chunk headers.

    Raises:
        HubRefusal: 400, this is not a xorb.
    """
    packed, unpacked, dropped, view = [0], [0], set(), memoryview(content)
    while packed[-1] < len(content) and view[packed[-1] : packed[-1] + len(FOOTER)] != FOOTER:
        header = view[packed[-1] : packed[-1] + CHUNK_HEADER_BYTES]
        if len(header) < CHUNK_HEADER_BYTES or header[0] != 0:
            raise HubRefusal(400, "malformed xorb: bad chunk header")
        if header[4] == DROPPED:
            dropped.add(len(packed) - 1)
        packed.append(packed[-1] + CHUNK_HEADER_BYTES + int.from_bytes(header[1:4], "little"))
        unpacked.append(unpacked[-1] + int.from_bytes(header[5:8], "little"))
        if packed[-1] > len(content) or unpacked[-1] - unpacked[-2] > MAX_UNPACKED_CHUNK:
            raise HubRefusal(400, "malformed xorb: a chunk is longer than it may be")
    return Chunks(tuple(packed), tuple(unpacked), frozenset(dropped))
