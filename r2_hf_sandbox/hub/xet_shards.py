"""The Xet protocol's shard: the files and xorbs of an upload, and the response of global deduplication.

    header (48 bytes), entries of 48 bytes: the files, a bookend, the xorbs, a bookend; then a footer (200 bytes)

An uploaded shard has no footer. A file has its Xet hash, its terms (xorb, range of chunks, unpacked bytes) and the
uploader's sha256; each new xorb has the hash and offset of every chunk.

Clients query the first chunk of each file and those whose hash is a multiple of 1024; only these are tracked. The
response is a shard without files that lists all xorbs uploaded with the chunk, as in xet-core's test server. The
chunk's own xorb would not suffice: with about 1,000 chunks, more than a third of xorbs hold none that is queried. The
footer's key for hidden chunk hashes (BLAKE3's keyed hash) is zero, which means plain hashes.
"""

import struct
from collections.abc import Collection
from dataclasses import dataclass

from r2_hf_sandbox.hub.disk import HubRefusal

TAG = b"HFRepoMetaData\0" + bytes.fromhex("556967456a7b815783a5bdd95ccdd14aa9")
HEADER_VERSION, FOOTER_VERSION = 2, 1
FOOTER = struct.Struct("<9Q32x2Q72xQ")  # version, offsets and counts, no key, creation, expiry, its own offset
ENTRY_BYTES = 48  # a hash, and four numbers of 32 bits; the header too
WITH_VERIFICATION, WITH_METADATA = 1 << 31, 1 << 30  # flags of a file
BOOKEND = b"\xff" * 32 + bytes(16)
DEDUP_MODULUS = 1024
DEDUP_VALID_S = 7 * 24 * 3600  # of a cached response


@dataclass(frozen=True)
class Term:
    """A run of chunks of one xorb, `unpacked` bytes long."""

    xorb: str
    start: int
    end: int
    unpacked: int


@dataclass(frozen=True)
class XetFile:
    """A shard's file; `sha256` is None when the uploader did not compute it."""

    hash: str
    terms: tuple[Term, ...]
    sha256: str | None

    @property
    def size(self) -> int:
        return sum(term.unpacked for term in self.terms)


@dataclass(frozen=True)
class Xorb:
    """A shard's xorb: chunk hashes, and the unpacked offsets of the chunks and of the end."""

    hash: str
    chunks: tuple[str, ...]
    unpacked: tuple[int, ...]


@dataclass(frozen=True)
class Shard:
    """A parsed shard; `xorb_section` is the range of its xorb entries and their bookend."""

    files: tuple[XetFile, ...]
    xorbs: tuple[Xorb, ...]
    xorb_section: slice

    def dedup_chunks(self) -> set[str]:
        """Return the hashes that clients query: first chunks of files, and multiples of 1024."""
        starts = {(file.terms[0].xorb, file.terms[0].start) for file in self.files if file.terms}
        return {
            chunk
            for xorb in self.xorbs
            for place, chunk in enumerate(xorb.chunks)
            if (xorb.hash, place) in starts or int(chunk[-16:], 16) % DEDUP_MODULUS == 0
        }


class _Entries:
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
        HubRefusal: 400, this is not a shard.
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


def without(content: bytes, files: Collection[str], xorbs: Collection[str]) -> bytes | None:
    """Return an uploaded shard without these files and xorbs, by their Xet hashes; None when nothing is left."""
    entries = _Entries(content)
    header = entries.next()
    kept: list[list[bytes]] = []
    for read, dropped in ((_file, files), (_xorb, xorbs)):
        kept.append([])
        start = entries.offset
        while (entry := entries.next()) != BOOKEND:
            if read(entry, entries).hash not in dropped:
                kept[-1].append(content[start : entries.offset])
            start = entries.offset
    return header + BOOKEND.join(b"".join(section) for section in kept) + BOOKEND if any(kept) else None


def dedup_response(xorb_section: bytes, now: int) -> bytes:
    """Return a shard without files, of an uploaded shard's xorbs.

    Args:
        xorb_section: the bytes at `Shard.xorb_section`.
        now: seconds since the epoch; the response is valid for `DEDUP_VALID_S` from then.
    """
    header = TAG + struct.pack("<2Q", HEADER_VERSION, FOOTER.size)
    content = header + BOOKEND + xorb_section
    end, xorbs = len(content), len(header + BOOKEND)
    # The look-up tables are empty: clients make their own.
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
    """Return an entry's hash in Xet's hex form: four little-endian 64-bit words."""
    return "".join(f"{word:016x}" for word in struct.unpack_from("<4Q", entry))
