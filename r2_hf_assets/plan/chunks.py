"""A chunk: a numbered, sealed list of episodes of one language, and the digest of its members and amendments.

One partition builds one chunk. The stored members never change, and amendments (amendments.py) are appended, so
progress is recorded by the digest. The members' JSON form is the manifest in the state store, one file a chunk.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from r2_hf_assets.bucket.segments import METADATA_NAME
from r2_hf_assets.errors import PlanError
from r2_hf_assets.plan.amendments import Amendment, Name, Removals, amended_digest, removals_of

__all__ = ["ChunkManifest", "ChunkRef", "Name", "damaged", "decode", "encode"]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class ChunkRef:
    """A chunk by name and digest, without its members. `episodes` is their count."""

    language: str
    number: int
    digest: str
    episodes: int

    @property
    def name(self) -> Name:
        return self.language, self.number


@dataclass(frozen=True)
class ChunkManifest:
    """A chunk's members: "<folder>/<episode_id>" in plan order, below the key `prefix`, e.g. "processed/".

    `amendments` are those that concern it; a manifest has none.
    """

    language: str
    number: int
    prefix: str
    episodes: tuple[str, ...]
    amendments: tuple[Amendment, ...] = ()

    def __post_init__(self) -> None:
        if self.number < 0 or not self.episodes:
            raise PlanError(f"{self.language} chunk {self.number}: a chunk has a number and at least one episode")

    @property
    def name(self) -> Name:
        return self.language, self.number

    @property
    def ref(self) -> ChunkRef:
        return ChunkRef(self.language, self.number, self.digest, len(self.episodes))

    @cached_property
    def digest(self) -> str:
        """32 hex digits (128 bits) of SHA-256 over the members' keys, in order, and the amendments."""
        members = "\n".join(self.prefix + episode for episode in self.episodes)
        digest = hashlib.sha256(members.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return amended_digest(digest, self.name, self.amendments)

    def amended(self, log: Iterable[Amendment]) -> "ChunkManifest":
        """Return the chunk with those amendments of the whole log that concern it."""
        members = frozenset(self.episodes)
        return replace(self, amendments=tuple(one for one in log if one.concerns(self.name, members)))

    @cached_property
    def removals(self) -> Removals:
        return removals_of(self.amendments)

    def metadata_key(self, episode: str) -> str:
        return f"{self.prefix}{episode}/{METADATA_NAME}"

    def audio_prefix(self, episode: str) -> str:
        """Return the keys' common start of an episode's audio, up to the segment number."""
        return f"{self.prefix}{episode}/{episode.rsplit('/', 1)[-1]}_"

    def audio_key(self, episode: str, segment: int) -> str:
        return f"{self.audio_prefix(episode)}{segment:06d}.mp3"


def encode(chunk: ChunkManifest) -> bytes:
    """Return the manifest as JSON; the same chunk gives the same bytes."""
    manifest = {
        "version": _VERSION,
        "language": chunk.language,
        "chunk": chunk.number,
        "digest": chunk.digest,
        "prefix": chunk.prefix,
        "episodes": chunk.episodes,
    }
    return json.dumps(manifest, ensure_ascii=False, indent=0).encode("utf-8", "surrogatepass")


def decode(data: bytes, where: str) -> ChunkManifest:
    """Parse a manifest and check its version and digest; a damaged one is a PlanError that names the file `where`."""
    try:
        manifest = json.loads(data.decode("utf-8", "surrogatepass"))
        chunk = ChunkManifest(manifest["language"], manifest["chunk"], manifest["prefix"], tuple(manifest["episodes"]))
        valid = manifest["version"] == _VERSION and manifest["digest"] == chunk.digest
    except (ValueError, KeyError, TypeError, RecursionError):
        raise damaged(where) from None
    if not valid:
        raise damaged(where)
    return chunk


def damaged(where: str) -> PlanError:
    """Make the error for a file whose content no scan wrote."""
    return PlanError(f"plan: {where} is damaged, or was changed by hand; restore it from a backup")
