"""The releases of the dataset: tags made by `r2-hf release`, with the figures of each.

metadata/releases.json at the head has the figures, and the card's changelog is generated from it. It is committed
together with the card, and the tag names that commit, so each tag contains its own entry. The tags decide which
releases exist. When the file is lost or damaged, each entry is read at its tag. So neither an edited nor a lost card
loses a release, and a deleted tag leaves the card with its next update.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, astuple, dataclass
from typing import Any

from r2_hf_assets.errors import R2HfError
from r2_hf_assets.hub.client import BRANCH, HubClient
from r2_hf_assets.shards.names import METADATA

RELEASES_PATH = f"{METADATA}/releases.json"
_VERSION = 1
_MAX_NOTE = 500
# What git and the Hub's URLs take without quoting. A name like a commit's oid would be ambiguous.
_TAG = re.compile(r"(?!.*\.\.)(?!.*\.lock$)[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?<!\.)", re.ASCII)
_OID = re.compile(r"[0-9a-f]{40}")
_RESERVED = {BRANCH, "HEAD"}
_NUMBERS = ("rows", "hours", "removed_segments", "removed_episodes")


@dataclass(frozen=True)
class Changes:
    """Rows, and episodes with rows, of one of two revisions alone."""

    added_rows: int = 0
    added_episodes: int = 0
    removed_rows: int = 0
    removed_episodes: int = 0

    def __add__(self, other: "Changes") -> "Changes":
        return Changes(*map(sum, zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Release:
    """A release.

    Attributes:
        at: UTC, in ISO format.
        hours, episodes: of audio, and episodes with rows by language.
        removed_segments, removed_episodes: entries and whole episodes that its chunks leave out by amendments.
        since, changes: the release before it, and what changed since; None for the first.
        lacking: what was missing when it was made with --anyway, "" for nothing.
    """

    tag: str
    at: str
    note: str
    rows: int
    hours: float
    episodes: tuple[tuple[str, int], ...]
    removed_segments: int
    removed_episodes: int
    since: str | None = None
    changes: Changes | None = None
    lacking: str = ""

    @property
    def date(self) -> str:
        return self.at[:10]


@dataclass(frozen=True)
class Tagged:
    """A release and the commit that its tag names."""

    release: Release
    revision: str


@dataclass(frozen=True)
class ReleaseLog:
    """The commits of the repo's tags by name, and the releases among them, newest first.

    `recorded` are the entries of the file at the head by tag, also of a release that was interrupted before its tag.
    """

    tags: Mapping[str, str]
    releases: tuple[Tagged, ...]
    recorded: Mapping[str, Release]


def check_tag(tag: str) -> None:
    """Raise R2HfError for a name that is no valid tag."""
    if not _TAG.fullmatch(tag) or _OID.fullmatch(tag) or tag in _RESERVED:
        raise R2HfError(f"{tag!r} is no name for a tag: letters, digits, and . _ - inside, e.g. v1.0; nothing changed")


def clean_note(note: str) -> str:
    """Return the note in one line. Raises R2HfError when it is too long for a changelog."""
    line = " ".join(note.split())
    if len(line) > _MAX_NOTE:
        raise R2HfError(f"the note has {len(line)} characters, and {_MAX_NOTE} at most are possible; nothing changed")
    return line


def read_log(repo: HubClient, head: str) -> ReleaseLog:
    """Read the releases: two requests, and one more for each tag that the file at `head` does not have."""
    tags = {ref.name: ref.revision for ref in repo.refs() if ref.kind == "tag"}
    recorded = _read_entries(repo, head)
    entries = ((recorded.get(tag) or _read_entries(repo, oid).get(tag), oid) for tag, oid in tags.items())
    found = [Tagged(entry, revision) for entry, revision in entries if entry]
    return ReleaseLog(tags, tuple(sorted(found, key=lambda one: one.release.at, reverse=True)), recorded)


def list_releases(repo: HubClient) -> tuple[Tagged, ...]:
    """Return the releases, newest first; () when the repo does not exist."""

    def attempt() -> tuple[Tagged, ...]:
        head = repo.head()
        return read_log(repo, head).releases if head else ()

    return repo.call_with_retry("read", attempt)


def encode(releases: Iterable[Release]) -> bytes:
    return (json.dumps({"version": _VERSION, "releases": list(map(asdict, releases))}, indent=1) + "\n").encode()


def _read_entries(repo: HubClient, revision: str) -> dict[str, Release]:
    """Return the entries at a revision by tag; none when the file is absent or damaged."""
    content = repo.read(RELEASES_PATH, revision)
    try:
        raw: dict[str, Any] = json.loads(content or b"")
        if raw["version"] != _VERSION:
            return {}
        return {entry["tag"]: _decode(entry) for entry in raw["releases"]}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _decode(entry: dict[str, Any]) -> Release:
    changes = Changes(**entry["changes"]) if entry["changes"] else None
    episodes = tuple((str(language), int(count)) for language, count in entry["episodes"])
    release = Release(**{**entry, "changes": changes, "episodes": episodes})
    if not all(isinstance(getattr(release, one), int | float) for one in _NUMBERS):
        raise TypeError
    return release
