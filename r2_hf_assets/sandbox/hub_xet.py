"""The local Hub's Xet store: xorbs (blocks of compressed chunks) and shards (how files are made of them), on disk.

The real client chunks, deduplicates and uploads to it over HTTP, as to the real one (docs: huggingface.co/docs/xet).
Two things are read here. Of a xorb, the chunk headers: they give the bytes that a range of chunks takes, packed and
unpacked. Of a shard, its file section: per file the Xet hash, the terms (xorb, range of chunks, unpacked bytes) and the
sha256 that the uploader computed; the commit names a file only by that sha256.

Why not `hf_xet`'s own `local://` folder: it locks a database in it, so a second process that uploads at the same time
fails with "Database already open", and a backfill is many processes.

Shards are kept as uploaded and read again at the start, so the store needs no index of its own.
"""

import hashlib
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from r2_hf_assets.sandbox.hub_disk import HubRefusal, write_whole

CHUNK_HEADER_BYTES = 8  # version, packed length (3), compression scheme, unpacked length (3)
MAX_UNPACKED_CHUNK = 128 * 1024
FOOTER = b"XETBLOB"  # an optional footer follows the last chunk
SHARD_MAGIC = b"HFRepoMetaData\0"
SHARD_ENTRY_BYTES = 48  # header, and every entry of the file section
WITH_VERIFICATION, WITH_METADATA = 1 << 31, 1 << 30  # flags of a file entry
BOOKEND = b"\xff" * 32


@dataclass(frozen=True)
class Term:
    """A run of chunks of one xorb; `unpacked` is the bytes of the file that it makes."""

    xorb: str
    start: int
    end: int
    unpacked: int


@dataclass(frozen=True)
class XetFile:
    """A file as a shard tells it; `sha256` is None when the uploader did not compute it."""

    hash: str
    terms: tuple[Term, ...]
    sha256: str | None

    @property
    def size(self) -> int:
        return sum(term.unpacked for term in self.terms)


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
        for path in sorted((folder / "shards").glob("*.mdb")):
            self._remember(parse_shard(path.read_bytes()))

    def file(self, file_hash: str) -> XetFile | None:
        return self._by_hash.get(file_hash)

    def file_of_sha256(self, sha256: str) -> XetFile | None:
        return self._by_sha256.get(sha256)

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
        """Take a shard's files in.

        Raises:
            HubRefusal: 400, it is malformed, or names chunks that were never uploaded.
        """
        files = list(parse_shard(content))
        for file in files:
            for term in file.terms:
                self._check(term)
        write_whole(self.folder / "shards" / f"{hashlib.sha256(content).hexdigest()}.mdb", content)
        self._remember(files)

    def _check(self, term: Term) -> None:
        if not self.xorb_path(term.xorb).exists():
            raise HubRefusal(400, f"shard names a xorb that was never uploaded: {term.xorb}")
        unpacked = self.chunks(term.xorb).unpacked
        if not 0 <= term.start < term.end < len(unpacked):
            raise HubRefusal(400, f"shard names chunks outside of xorb {term.xorb}")
        if unpacked[term.end] - unpacked[term.start] != term.unpacked:
            raise HubRefusal(400, f"shard names a wrong length of chunks of xorb {term.xorb}")

    def _remember(self, files: Iterator[XetFile] | list[XetFile]) -> None:
        with self._lock:
            for file in files:
                self._by_hash[file.hash] = file
                if file.sha256:
                    self._by_sha256[file.sha256] = file

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


def parse_shard(content: bytes) -> Iterator[XetFile]:
    """The files that a shard describes.

    Raises:
        HubRefusal: 400, this is no shard.
    """
    if not content.startswith(SHARD_MAGIC):
        raise HubRefusal(400, "malformed shard: no magic")
    entries = (content[at : at + SHARD_ENTRY_BYTES] for at in range(SHARD_ENTRY_BYTES, len(content), SHARD_ENTRY_BYTES))
    try:
        while (entry := next(entries))[:32] != BOOKEND:
            flags, count = struct.unpack_from("<II", entry, 32)
            terms = tuple(_term(next(entries)) for _ in range(count))
            for _ in range(count if flags & WITH_VERIFICATION else 0):
                next(entries)
            sha256 = _hex(next(entries)) if flags & WITH_METADATA else None
            yield XetFile(_hex(entry), terms, sha256)
    except (StopIteration, RuntimeError, struct.error) as error:
        raise HubRefusal(400, "malformed shard: its file section breaks off") from error


def _term(entry: bytes) -> Term:
    _, unpacked, start, end = struct.unpack_from("<IIII", entry, 32)
    return Term(_hex(entry), start, end, unpacked)


def _hex(entry: bytes) -> str:
    """A hash in Xet's hex form: four little-endian 64-bit words."""
    return b"".join(entry[at : at + 8][::-1] for at in range(0, 32, 8)).hex()
