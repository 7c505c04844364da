"""One sample episode: its objects, and the expected outcome of each segment."""

import hashlib
import json
import random
from dataclasses import dataclass
from typing import Any

from r2_hf_sandbox.samples.audio import make_voices, splice
from r2_hf_sandbox.samples.text import sentence

# The entries' language, where it differs from the folder's name.
SPOKEN = {"en-US": "en", "en_gb": "en", "ENG": "en", "en-ZH": "en", "deu": "de", "in": "id", "iw": "he", "srp": "sr"}
NO_LANGUAGE = ("unknown", "junk", "123")  # folders whose entries name no language


@dataclass(frozen=True, slots=True)
class ExpectedRow:
    """A segment that must become a row. `language` is the entry's, None if it has none; `text` is repaired."""

    folder: str
    episode: str
    key: str
    text: str | None
    speaker: str | None
    duration: float | None
    dnsmos: float | None
    language: str | None
    sha256: str


@dataclass(frozen=True, slots=True)
class ExpectedReject:
    """A segment, or with level `episode` a whole episode, that must be rejected with the index's `reason`."""

    level: str
    key: str
    reason: str


@dataclass(frozen=True)
class Episode:
    """One episode's objects, in the order of an upload, and their expected outcome."""

    folder: str
    episode_id: str
    objects: tuple[tuple[str, bytes], ...]
    rows: tuple[ExpectedRow, ...]
    rejects: tuple[ExpectedReject, ...] = ()


def episode_id_of(seed: int, folder: str, number: int | str, kind: str = "ep") -> str:
    """Return the id of episode `number` of a folder. It begins with `kind`."""
    return f"{kind}{hashlib.sha256(f'{seed}/{folder}/{number}'.encode()).hexdigest()[:14]}"


def make_episode(
    seed: int,
    folder: str,
    number: int | str,
    segments: tuple[int, int],
    seconds: tuple[float, float],
    prefix: str,
    kind: str = "ep",
) -> Episode:
    """Return episode `number` of a folder. It depends on these arguments alone."""
    rng = random.Random(f"{seed}/{folder}/{number}")
    episode_id = episode_id_of(seed, folder, number, kind)
    base = f"{prefix}{folder}/{episode_id}/"
    spoken = SPOKEN.get(folder, folder)
    language = None if folder in NO_LANGUAGE else spoken
    voices = make_voices(seed)
    clock = round(rng.uniform(0, 5), 3)
    objects: list[tuple[str, bytes]] = []
    entries: list[dict[str, Any]] = []
    rows: list[ExpectedRow] = []
    for index in range(rng.randint(*segments)):
        key = f"{base}{episode_id}_{index:06d}.mp3"
        speaker = rng.randrange(3)
        audio, duration = splice(voices, speaker, rng.uniform(*seconds), f"{seed}/{key}", rng)
        entry: dict[str, Any] = {
            "start": clock,
            "end": round(clock + duration, 3),
            "speaker": f"SPEAKER_{speaker:02d}",
            "text": sentence(spoken, duration, rng),
            "language": language,
            "dnsmos": round(rng.uniform(1.8, 4.2), 2),
            "segment_id": index,
        }
        if language is None:
            del entry["language"]
        clock = round(entry["end"] + rng.uniform(0.05, 1.5), 3)
        objects.append((key, audio))
        entries.append(entry)
        digest = hashlib.sha256(audio).hexdigest()
        rows.append(
            ExpectedRow(
                folder=folder,
                episode=episode_id,
                key=key,
                text=entry["text"],
                speaker=entry["speaker"],
                duration=entry["end"] - entry["start"],
                dnsmos=entry["dnsmos"],
                language=language,
                sha256=digest,
            )
        )
    filtered = [entry for entry in entries if entry["dnsmos"] >= 3.0]
    objects.append((f"{base}filtered_segments.json", as_json(filtered)))
    objects.append((f"{base}all_segments.json", as_json(entries)))
    return Episode(folder, episode_id, tuple(objects), tuple(rows))


def as_json(entries: Any) -> bytes:
    # ASCII, so that a lone surrogate can be written.
    return json.dumps(entries).encode()
