"""Amendments: what changes in sealed chunks later, as an append-only log beside the manifests.

    plan/amendment_0000.json
    {"version": 1, "n": 0, "kind": "remove", "targets": [{"episode": "en/0a", "chunk": ["en", 7]}],
     "reason": "...", "at": "2026-11-29T06:00:00+00:00"}

"remove" takes episodes, segments or speakers out of the dataset for good; "refresh" builds chunks again, because the
bucket changed. Numbers are created exclusively, like those of manifests. The digest of a chunk covers the amendments
that name it, so an amended chunk is due.

A target names the chunk of its episode. One without a chunk is of an episode that was not planned at that time: every
later build leaves it out, and no digest covers it.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from r2_hf_assets.errors import PlanError

_VERSION = 1
REMOVE, REFRESH = "remove", "refresh"
_KINDS = (REMOVE, REFRESH)

# A chunk's language and number.
Name = tuple[str, int]


@dataclass(frozen=True)
class Target:
    """An episode ("<folder>/<episode_id>"), or only its segment with this number, or only this speaker's segments."""

    episode: str
    chunk: Name | None = None
    segment: int | None = None
    speaker: str | None = None

    def as_json(self) -> dict[str, Any]:
        values = {"episode": self.episode, "chunk": self.chunk, "segment": self.segment, "speaker": self.speaker}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Amendment:
    """One entry of the log. `at` is its time in UTC, in ISO format; `reason` is kept in the state store alone."""

    number: int
    kind: str
    targets: tuple[Target, ...]
    reason: str
    at: str

    def of_chunk(self, name: Name) -> tuple[Target, ...]:
        return tuple(target for target in self.targets if target.chunk == name)

    def concerns(self, name: Name, episodes: Collection[str]) -> bool:
        """Return whether it changes the build of the chunk with this name and these members."""
        return any(
            target.chunk == name or (target.chunk is None and target.episode in episodes) for target in self.targets
        )


@dataclass(frozen=True)
class Removals:
    """What is removed: whole episodes, segments as (episode, number), speakers as (episode, speaker_id)."""

    episodes: frozenset[str] = frozenset()
    segments: frozenset[tuple[str, int]] = frozenset()
    speakers: frozenset[tuple[str, str]] = frozenset()

    def has_episode(self, episode: str) -> bool:
        return episode in self.episodes

    def has_segment(self, episode: str, number: int, speaker: str | None) -> bool:
        return (episode, number) in self.segments or (speaker is not None and (episode, speaker) in self.speakers)

    def covers(self, target: Target) -> bool:
        """Return whether all that `target` names is removed already."""
        number = -1 if target.segment is None else target.segment
        return self.has_episode(target.episode) or self.has_segment(target.episode, number, target.speaker)


def removals_of(amendments: Iterable[Amendment]) -> Removals:
    targets = [target for amendment in amendments if amendment.kind == REMOVE for target in amendment.targets]
    return Removals(
        frozenset(one.episode for one in targets if one.segment is None and one.speaker is None),
        frozenset((one.episode, one.segment) for one in targets if one.segment is not None),
        frozenset((one.episode, one.speaker) for one in targets if one.speaker is not None),
    )


def amended_digest(digest: str, name: Name, amendments: Sequence[Amendment]) -> str:
    """Return a chunk's digest with the amendments that name it: 32 hex digits, `digest` itself without any.

    Neither numbers nor reasons count: a log that is restored from the Hub gives the same digest.
    """
    for amendment in amendments:
        if targets := amendment.of_chunk(name):
            ordered = sorted(json.dumps(target.as_json(), sort_keys=True) for target in targets)
            line = json.dumps([digest, amendment.kind, amendment.at, ordered])
            digest = hashlib.sha256(line.encode()).hexdigest()[:32]
    return digest


def as_json(amendment: Amendment) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "n": amendment.number,
        "kind": amendment.kind,
        "targets": [target.as_json() for target in amendment.targets],
        "reason": amendment.reason,
        "at": amendment.at,
    }


def decode(raw: Any, number: int) -> Amendment:
    """Parse the entry with this number. Raises PlanError when it is damaged."""
    try:
        targets = tuple(_target(one) for one in raw["targets"])
        amendment = Amendment(raw["n"], raw["kind"], targets, raw["reason"], raw["at"])
        valid = raw["version"] == _VERSION and amendment.kind in _KINDS and amendment.number == number
    except (ValueError, LookupError, TypeError, AttributeError):
        valid = False
    if not valid:
        raise PlanError(f"plan: amendment {number} is damaged, or was changed by hand; restore it from a backup")
    return amendment


def _target(raw: dict[str, Any]) -> Target:
    chunk = raw.get("chunk")
    name = (str(chunk[0]), int(chunk[1])) if chunk else None
    return Target(str(raw["episode"]), name, raw.get("segment"), raw.get("speaker"))
