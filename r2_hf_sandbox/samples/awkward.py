"""The defects of real buckets, one damaged sample episode each, with the expected outcome.

`DEFECTS` maps a name to a function that damages a valid episode of three segments. A damaged segment or episode is in
`rejects`, with the reason that the index records; all else stays in `rows`. Missing audio is rejected only
once the metadata is older than SETTLE_MINUTES, which tests set to 0.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from r2_hf_sandbox.samples.episode import Episode, ExpectedReject, ExpectedRow, as_json

METADATA = "all_segments.json"
TARGET = 1  # the damaged segment, the middle one of three


def missing_audio(episode: Episode) -> Episode:
    key = episode.rows[TARGET].key
    objects = tuple(item for item in episode.objects if item[0] != key)
    return _segment_lost(replace(episode, objects=objects), "audio_missing")


def empty_audio(episode: Episode) -> Episode:
    return _segment_lost(_with_object(episode, episode.rows[TARGET].key, b""), "audio_empty")


def entry_not_an_object(episode: Episode) -> Episode:
    entries = _entries(episode)
    entries[TARGET] = "SPEAKER_00"
    return _segment_lost(_with_metadata(episode, as_json(entries)), "entry_not_an_object")


def lone_surrogate(episode: Episode) -> Episode:
    """Put half of an emoji into a text: the row stays, with U+FFFD in its place."""
    entries = _entries(episode)
    text = entries[TARGET]["text"]
    entries[TARGET]["text"] = f"{text} \ud83d"
    return replace(_with_metadata(episode, as_json(entries)), rows=_changed_row(episode, TARGET, text=f"{text} \ufffd"))


def sparse_entry(episode: Episode) -> Episode:
    """Make fields absent, null or of the wrong type: the row stays, with nulls."""
    entries = _entries(episode)
    entries[0] = {"start": "0:01", "end": None, "text": None, "dnsmos": "3.2"}
    entries[TARGET] |= {"dnsmos": float("nan"), "speaker": 7, "end": entries[TARGET]["start"] - 1}
    nulls: dict[str, Any] = {"text": None, "speaker": None, "duration": None, "dnsmos": None, "language": None}
    rows = _changed_row(episode, 0, **nulls)
    damaged = replace(rows[TARGET], speaker=None, duration=None, dnsmos=None)
    return replace(_with_metadata(episode, as_json(entries)), rows=(rows[0], damaged, *rows[2:]))


def no_metadata(episode: Episode) -> Episode:
    objects = tuple(item for item in episode.objects if not item[0].endswith(METADATA))
    return _episode_lost(replace(episode, objects=objects), "metadata_missing")


def metadata_cut_short(episode: Episode) -> Episode:
    return _episode_lost(_with_metadata(episode, as_json(_entries(episode))[:-20]), "metadata_not_json")


def metadata_not_a_list(episode: Episode) -> Episode:
    return _episode_lost(_with_metadata(episode, as_json({"segments": _entries(episode)})), "metadata_not_a_list")


def no_segments(episode: Episode) -> Episode:
    return _episode_lost(_with_metadata(episode, b"[]"), "no_segments")


DEFECTS: dict[str, Callable[[Episode], Episode]] = {
    damage.__name__: damage
    for damage in (
        missing_audio,
        empty_audio,
        entry_not_an_object,
        lone_surrogate,
        sparse_entry,
        no_metadata,
        metadata_cut_short,
        metadata_not_a_list,
        no_segments,
    )
}


def _metadata_key(episode: Episode) -> str:
    return episode.rows[0].key.rpartition("/")[0] + f"/{METADATA}"


def _entries(episode: Episode) -> list[Any]:
    return json.loads(dict(episode.objects)[_metadata_key(episode)])


def _with_metadata(episode: Episode, body: bytes) -> Episode:
    return _with_object(episode, _metadata_key(episode), body)


def _with_object(episode: Episode, key: str, body: bytes) -> Episode:
    return replace(episode, objects=tuple((name, body if name == key else old) for name, old in episode.objects))


def _segment_lost(episode: Episode, reason: str) -> Episode:
    lost = episode.rows[TARGET]
    rows = tuple(row for row in episode.rows if row is not lost)
    return replace(episode, rows=rows, rejects=(ExpectedReject("segment", lost.key, reason),))


def _episode_lost(episode: Episode, reason: str) -> Episode:
    return replace(episode, rows=(), rejects=(ExpectedReject("episode", _metadata_key(episode), reason),))


def _changed_row(episode: Episode, index: int, **changes: Any) -> tuple[ExpectedRow, ...]:
    return tuple(replace(row, **changes) if at == index else row for at, row in enumerate(episode.rows))
