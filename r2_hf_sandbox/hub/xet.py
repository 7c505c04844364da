"""The local Hub's Xet store: xorbs (blocks of compressed chunks) and shards (the composition of files), on disk.

The real client chunks, deduplicates and uploads over HTTP (docs: huggingface.co/docs/xet). The chunk headers of a xorb
give the bytes of a range of chunks, packed and unpacked. A shard (xet_shards.py) gives the files, which a commit names
by their sha256 alone, and the chunks for global deduplication. Shards are stored as uploaded and parsed at the start.

`hf_xet`'s own `local://` folder would not do: it locks a database, so a second uploading process fails with "Database
already open".
"""

import hashlib
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from r2_hf_sandbox.hub.disk import HubRefusal, write_whole
from r2_hf_sandbox.hub.xet_shards import Shard, Term, XetFile, dedup_response, parse_shard

CHUNK_HEADER_BYTES = 8  # version, packed length (3), compression scheme, unpacked length (3)
MAX_UNPACKED_CHUNK = 128 * 1024
FOOTER = b"XETBLOB"  # an optional footer follows the last chunk


@dataclass(frozen=True)
class Chunks:
    """Offsets of the chunks of a xorb, packed and unpacked, and of its end."""

    packed: tuple[int, ...]
    unpacked: tuple[int, ...]


class XetStore:
    """Xorbs and shards in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._by_hash: dict[str, XetFile] = {}
        self._by_sha256: dict[str, XetFile] = {}
        self._chunks: dict[str, Chunks] = {}
        self._shard_of_chunk: dict[str, tuple[Path, slice]] = {}  # the shard, and its xorb section
        for path in sorted((folder / "shards").glob("*.mdb")):
            self._index(path, parse_shard(path.read_bytes()))

    def file(self, file_hash: str) -> XetFile | None:
        return self._by_hash.get(file_hash)

    def file_of_sha256(self, sha256: str) -> XetFile | None:
        """Return the file with this content, or None when it was never uploaded or is lost."""
        file = self._by_sha256.get(sha256)
        return file if file and self._all_stored(term.xorb for term in file.terms) else None

    def _all_stored(self, xorbs: Iterable[str]) -> bool:
        return all(self.xorb_path(xorb).exists() for xorb in set(xorbs))

    def xorb_path(self, xorb: str) -> Path:
        return self.folder / "xorbs" / xorb[:2] / xorb

    def put_xorb(self, xorb: str, content: bytes) -> bool:
        """Store a xorb; return False when it already is."""
        chunks = parse_chunks(content)
        path = self.xorb_path(xorb)
        if path.exists():
            return False
        write_whole(path, content)
        self._chunks[xorb] = chunks
        return True

    def put_shard(self, content: bytes) -> None:
        """Store a shard.

        Raises:
            HubRefusal: 400, it is malformed, or names chunks that were never uploaded.
        """
        shard = parse_shard(content)
        for xorb in shard.xorbs:
            if self._uploaded(xorb.hash).unpacked != xorb.unpacked:
                raise HubRefusal(400, f"shard names other chunks than xorb {xorb.hash} has")
        for file in shard.files:
            for term in file.terms:
                self._check(term)
        path = self.folder / "shards" / f"{hashlib.sha256(content).hexdigest()}.mdb"
        write_whole(path, content)
        self._index(path, shard)

    def dedup_shard(self, chunk: str) -> bytes | None:
        """Return a shard of all xorbs uploaded with this chunk, or None if it is not tracked."""
        if chunk not in self._shard_of_chunk:
            return None
        path, xorb_section = self._shard_of_chunk[chunk]
        content = path.read_bytes()
        if not self._all_stored(xorb.hash for xorb in parse_shard(content).xorbs):
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
        if unpacked[term.end] - unpacked[term.start] != term.unpacked:
            raise HubRefusal(400, f"shard names a wrong length of chunks of xorb {term.xorb}")

    def _index(self, path: Path, shard: Shard) -> None:
        with self._lock:
            for file in shard.files:
                self._by_hash[file.hash] = file
                if file.sha256:
                    self._by_sha256[file.sha256] = file
            for chunk in shard.dedup_chunks():
                self._shard_of_chunk[chunk] = path, shard.xorb_section

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
    packed, unpacked, view = [0], [0], memoryview(content)
    while packed[-1] < len(content) and view[packed[-1] : packed[-1] + len(FOOTER)] != FOOTER:
        header = view[packed[-1] : packed[-1] + CHUNK_HEADER_BYTES]
        if len(header) < CHUNK_HEADER_BYTES or header[0] != 0:
            raise HubRefusal(400, "malformed xorb: bad chunk header")
        packed.append(packed[-1] + CHUNK_HEADER_BYTES + int.from_bytes(header[1:4], "little"))
        unpacked.append(unpacked[-1] + int.from_bytes(header[5:8], "little"))
        if packed[-1] > len(content) or unpacked[-1] - unpacked[-2] > MAX_UNPACKED_CHUNK:
            raise HubRefusal(400, "malformed xorb: a chunk is longer than it may be")
    return Chunks(tuple(packed), tuple(unpacked))
