"""The Xet protocol's shard: what an uploader says of files and xorbs, and what global deduplication answers with.

    header (48 bytes), entries of 48 bytes: the files, a bookend, the xorbs, a bookend; then a footer (200 bytes)

An uploaded shard has no footer. Of a file it gives the Xet hash, the terms (xorb, range of chunks, unpacked bytes) and
the sha256 that the uploader computed; of each xorb that is new with it, the hash and offset of every chunk.

A client asks for the first chunk of each file, and for those whose hash is a multiple of 1024; only these are tracked.
The answer is a shard without files that lists all xorbs of the shard that brought the chunk, as xet-core's own test
server does. The chunk's xorb alone would not do: a xorb has about 1,000 chunks, so more than a third of xorbs hold none
that a client asks for. The footer may carry a key under which the chunk hashes are hidden (BLAKE3's keyed hash). Here
it is zero, which means that they are plain; clients take both.
"""

import struct
from dataclasses import dataclass

from r2_hf_sandbox.hub.disk import HubRefusal

TAG = b"HFRepoMetaData\0" + bytes.fromhex("556967456a7b815783a5bdd95ccdd14aa9")
HEADER_VERSION, FOOTER_VERSION = 2, 1
FOOTER = struct.Struct("<9Q32x2Q72xQ")  # version, offsets and counts, no key, creation, expiry, its own offset
ENTRY_BYTES = 48  # a hash, and four numbers of 32 bits; the header too
WITH_VERIFICATION, WITH_METADATA = 1 << 31, 1 << 30  # flags of a file
BOOKEND = b"\xff" * 32 + bytes(16)
DEDUP_MODULUS = 1024
DEDUP_VALID_S = 7 * 24 * 3600  # how long a client may keep an answer


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
class Xorb:
    """A xorb as a shard tells it: chunk hashes, and unpacked offsets where chunks begin; one more: the end."""

    hash: str
    chunks: tuple[str, ...]
    unpacked: tuple[int, ...]


@dataclass(frozen=True)
class Shard:
    """What a shard says; `xorb_section` is where it says so of xorbs, its bookend included."""

    files: tuple[XetFile, ...]
    xorbs: tuple[Xorb, ...]
    xorb_section: slice

    def dedup_chunks(self) -> set[str]:
        """Hashes of the chunks that a client may ask for: those that a file begins with, and multiples of 1024."""
        starts = {(file.terms[0].xorb, file.terms[0].start) for file in self.files if file.terms}
        return {
            chunk
            for xorb in self.xorbs
            for place, chunk in enumerate(xorb.chunks)
            if (xorb.hash, place) in starts or int(chunk[-16:], 16) % DEDUP_MODULUS == 0
        }


class _Entries:
    """A shard's entries, one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content, self.offset = content, 0

    def next(self) -> bytes:
        entry = self._content[self.offset : self.offset + ENTRY_BYTES]
        if len(entry) < ENTRY_BYTES:
            raise HubRefusal(400, "malformed shard: it breaks off")
        self.offset += ENTRY_BYTES
        return entry


def parse_shard(content: bytes) -> Shard:
    """Read a shard up to its footer, if it has one.

    Raises:
        HubRefusal: 400, this is no shard.
    """
    if not content.startswith(TAG):
        raise HubRefusal(400, "malformed shard: no magic")
    entries = _Entries(content)
    entries.next()  # the header
    files, xorbs = [], []
    while (entry := entries.next()) != BOOKEND:
        files.append(_file(entry, entries))
    start = entries.offset
    while (entry := entries.next()) != BOOKEND:
        xorbs.append(_xorb(entry, entries))
    return Shard(tuple(files), tuple(xorbs), slice(start, entries.offset))


def dedup_answer(xorb_section: bytes, now: int) -> bytes:
    """A shard without files, of an uploaded shard's xorbs.

    Args:
        xorb_section: the bytes at `Shard.xorb_section`.
        now: seconds since the epoch; the client may keep the answer for `DEDUP_VALID_S` from then.
    """
    header = TAG + struct.pack("<2Q", HEADER_VERSION, FOOTER.size)
    content = header + BOOKEND + xorb_section
    end, xorbs = len(content), len(header + BOOKEND)
    # Without look-up tables (they would begin at the end, with no entries) the client makes its own.
    tables = (end, 0) * 3
    return content + FOOTER.pack(FOOTER_VERSION, len(header), xorbs, *tables, now, now + DEDUP_VALID_S, end)


def _file(header: bytes, entries: _Entries) -> XetFile:
    flags, count = struct.unpack_from("<2I", header, 32)
    terms = tuple(_term(entries.next()) for _ in range(count))
    for _ in range(count if flags & WITH_VERIFICATION else 0):
        entries.next()
    sha256 = _hex(entries.next()) if flags & WITH_METADATA else None
    return XetFile(_hex(header), terms, sha256)


def _term(entry: bytes) -> Term:
    _, unpacked, start, end = struct.unpack_from("<4I", entry, 32)
    return Term(_hex(entry), start, end, unpacked)


def _xorb(header: bytes, entries: _Entries) -> Xorb:
    _, count, size, _ = struct.unpack_from("<4I", header, 32)
    chunks = [entries.next() for _ in range(count)]
    starts = (struct.unpack_from("<I", chunk, 32)[0] for chunk in chunks)
    return Xorb(_hex(header), tuple(map(_hex, chunks)), (*starts, size))


def _hex(entry: bytes) -> str:
    """The hash that an entry begins with, in Xet's hex form: four little-endian 64-bit words."""
    return "".join(f"{word:016x}" for word in struct.unpack_from("<4Q", entry))
