"""The local Hub's Xet store: xorbs (blocks of compressed chunks) and shards (how files are made of them), on disk.

The real client chunks, deduplicates and uploads to it over HTTP, as to the real one (docs: huggingface.co/docs/xet).
Of a xorb the chunk headers are read: they give the bytes that a range of chunks takes, packed and unpacked. Of a shard
(`hub_xet_shards`) the files, which a commit names by their sha256 alone, and the chunks by which clients find what is
stored already: global deduplication.

Why not `hf_xet`'s own `local://` folder: it locks a database in it, so a second process that uploads at the same time
fails with "Database already open", and a backfill is many processes.

Shards are kept as uploaded and read again at the start, so the store needs no index of its own.
"""

import hashlib
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from r2_hf_sandbox.hub.disk import HubRefusal, write_whole
from r2_hf_sandbox.hub.xet_shards import Shard, Term, XetFile, dedup_answer, parse_shard

CHUNK_HEADER_BYTES = 8  # version, packed length (3), compression scheme, unpacked length (3)
MAX_UNPACKED_CHUNK = 128 * 1024
FOOTER = b"XETBLOB"  # an optional footer follows the last chunk


@dataclass(frozen=True)
class Chunks:
    """Where each chunk of a xorb begins: in the packed bytes, and unpacked. One entry more than chunks: the end."""

    packed: tuple[int, ...]
    unpacked: tuple[int, ...]


class XetStore:
    """Xorbs and shards in a folder, and the files that the shards describe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._by_hash: dict[str, XetFile] = {}
        self._by_sha256: dict[str, XetFile] = {}
        self._chunks: dict[str, Chunks] = {}
        self._shard_of_chunk: dict[str, tuple[Path, slice]] = {}  # the shard, and where its xorb section lies in it
        for path in sorted((folder / "shards").glob("*.mdb")):
            self._remember(path, parse_shard(path.read_bytes()))

    def file(self, file_hash: str) -> XetFile | None:
        return self._by_hash.get(file_hash)

    def file_of_sha256(self, sha256: str) -> XetFile | None:
        """The file with this content; None when it was never uploaded, or is lost."""
        found = self._by_sha256.get(sha256)
        return found if found and self._are_here(term.xorb for term in found.terms) else None

    def _are_here(self, xorbs: Iterable[str]) -> bool:
        return all(self.xorb_path(xorb).exists() for xorb in set(xorbs))

    def xorb_path(self, xorb: str) -> Path:
        return self.folder / "xorbs" / xorb[:2] / xorb

    def put_xorb(self, xorb: str, content: bytes) -> bool:
        """Store a xorb; False when it is already here."""
        chunks = parse_chunks(content)
        path = self.xorb_path(xorb)
        if path.exists():
            return False
        write_whole(path, content)
        self._chunks[xorb] = chunks  # a shard will ask for it in a moment
        return True

    def put_shard(self, content: bytes) -> None:
        """Take a shard's files and chunks in.

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
        self._remember(path, shard)

    def dedup_shard(self, chunk: str) -> bytes | None:
        """The answer to a client that asks for a chunk: all xorbs uploaded with it. None if not tracked."""
        if (found := self._shard_of_chunk.get(chunk)) is None:
            return None
        path, xorb_section = found
        content = path.read_bytes()
        if not self._are_here(xorb.hash for xorb in parse_shard(content).xorbs):
            return None
        return dedup_answer(content[xorb_section], int(time.time()))

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

    def _remember(self, path: Path, shard: Shard) -> None:
        with self._lock:
            for file in shard.files:
                self._by_hash[file.hash] = file
                if file.sha256:
                    self._by_sha256[file.sha256] = file
            for chunk in shard.dedup_chunks():
                self._shard_of_chunk[chunk] = path, shard.xorb_section

    def chunks(self, xorb: str) -> Chunks:
        """Kept once it is known: a thousandth of the xorb's size."""
        found = self._chunks.get(xorb)
        if found is None:
            found = self._chunks[xorb] = parse_chunks(self.xorb_path(xorb).read_bytes())
        return found

    def terms_of_range(self, file: XetFile, start: int, end: int) -> tuple[int, list[Term]]:
        """The terms, cut to whole chunks, that make bytes [start, end), and where in the first one they begin."""
        wanted: list[Term] = []
        offset, position = 0, 0
        for term in file.terms:
            begin, position = position, position + term.unpacked
            if position <= start or begin >= end:
                continue
            unpacked = self.chunks(term.xorb).unpacked
            base = unpacked[term.start] - begin  # an offset in the file + base is one in the xorb
            first = max(n for n in range(term.start, term.end) if unpacked[n] - base <= max(start, begin))
            last = min(n for n in range(term.start + 1, term.end + 1) if unpacked[n] - base >= min(end, position))
            if not wanted:
                offset = start - (unpacked[first] - base)
            wanted.append(Term(term.xorb, first, last, unpacked[last] - unpacked[first]))
        return offset, wanted


def parse_chunks(content: bytes) -> Chunks:
    """Read a xorb's chunk headers.

    Raises:
        HubRefusal: 400, this is no xorb.
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
