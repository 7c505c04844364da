"""Resolve what a user names to targets: an episode, a segment by its audio key, or one speaker of an episode.

    en/0a1b                                      an episode, also as processed/en/0a1b/
    en/0a1b:SPEAKER_01                           that speaker's segments
    processed/en/0a1b/0a1b_000003.mp3            a segment

An episode's name may contain a colon, so the plan decides between the first two.
"""

import re
from collections.abc import Callable, Collection, Iterable

from r2_hf_assets.bucket.segments import METADATA_NAME
from r2_hf_assets.errors import R2HfError
from r2_hf_assets.plan.amendments import Name, Target
from r2_hf_assets.plan.store import PlanStore

_EPISODE = re.compile(r"[^/]+/[^/]+", re.DOTALL)
_AUDIO = re.compile(r"(?P<episode>[^/]+/(?P<id>[^/]+))/(?P=id)_(?P<number>\d{6,})\.mp3")


def find_targets(words: Iterable[str], plan: PlanStore, is_in_bucket: Callable[[str], bool]) -> list[Target]:
    """Return the target of each word, with its chunk; without one if it is not planned and `is_in_bucket`.

    Raises R2HfError for a word of another form, and for an episode that is neither planned nor in the bucket.
    """
    readings = {word: _readings(word, plan.prefix) for word in words}
    episodes = {target.episode for targets in readings.values() for target in targets}
    chunks = locate(plan, episodes)
    found = []
    for word, targets in readings.items():
        planned = [target for target in targets if target.episode in chunks]
        existing = planned or [target for target in targets if is_in_bucket(target.episode)]
        if not existing:
            raise R2HfError(f"{word}: neither planned nor in the bucket; nothing was changed")
        one = existing[0]
        found.append(Target(one.episode, chunks.get(one.episode), one.segment, one.speaker))
    return found


def locate(plan: PlanStore, episodes: Collection[str]) -> dict[str, Name]:
    """Return the chunk of each of these episodes that is planned. Reads the whole plan, a chunk at a time."""
    if not episodes:
        return {}
    return {
        episode: chunk.name
        for chunk in plan.read_many(plan.names())
        for episode in chunk.episodes
        if episode in episodes
    }


def _readings(word: str, prefix: str) -> list[Target]:
    """Return the possible meanings of a word, the likeliest first, without chunks."""
    if not word.isprintable() and any("\ud800" <= character <= "\udfff" for character in word):
        raise R2HfError(f"{word!r} is no UTF-8, as every key is; nothing was changed")
    bare = word.removeprefix(prefix)
    if word.endswith(".mp3"):
        match = _AUDIO.fullmatch(bare) if word.startswith(prefix) else None
        if match is None:
            raise R2HfError(
                f"{word}: no audio key of this plan, {prefix}<folder>/<id>/<id>_000000.mp3; nothing changed"
            )
        return [Target(match["episode"], segment=int(match["number"]))]
    bare = bare.removesuffix(METADATA_NAME).rstrip("/")
    parts = bare.split(":")
    # The longest episode first. A speaker's name may contain anything.
    splits = [(":".join(parts[:end]), ":".join(parts[end:])) for end in range(len(parts), 0, -1)]
    valid = [(episode, speaker) for episode, speaker in splits if _EPISODE.fullmatch(episode)]
    if not valid:
        raise R2HfError(f"{word!r} is no episode (<folder>/<id>), <folder>/<id>:SPEAKER or audio key; nothing changed")
    return [Target(episode, speaker=speaker or None) for episode, speaker in valid if speaker or episode == bare]
