"""Parse and validate an episode's all_segments.json: each entry becomes a Segment or a Reject.

A file that is no JSON list rejects its episode; an entry that is no object is rejected alone. An absent or unusable
field becomes null. Text that UTF-8 can't hold (lone surrogates, invalid bytes) is repaired with U+FFFD and counted.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from r2_hf_assets.bucket.response import Fetched, GetResult, Unusable
from r2_hf_assets.languages import UNKNOWN, normalize

METADATA_NAME = "all_segments.json"
# A day of segments of one second takes 13 MB. Parsed, a file takes up to 25 times its size (empty lists and objects),
# so this bounds memory too.
METADATA_MAX_BYTES = 32 * 2**20
_FLOAT32_MAX = 3.4028234663852886e38
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Segment:
    """An entry whose audio is fetched next. Times are in seconds; None where the metadata has no usable value."""

    episode: str
    number: int  # its place in the episode's metadata
    key: str
    text: str | None
    speaker_id: str | None
    start: float | None
    end: float | None
    duration: float | None
    dnsmos: float | None
    language: str
    repaired: bool
    settling: bool


@dataclass(frozen=True, slots=True)
class Reject:
    """An entry that becomes no row, or an episode without an entry (`number` is None), and why.

    `key` is of the audio, or of the episode's metadata; `segment` is the entry, where it could be parsed.
    """

    episode: str
    number: int | None
    key: str
    reason: str
    detail: str = ""
    segment: Segment | None = None


class UnusableMetadata(Exception):
    """The file holds no list of segments. `reason` and `detail` are for the ledger."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def read_metadata(fetched: Fetched | Unusable) -> tuple[list[Any], bool]:
    """Parse the result of a GET of the file with the limit METADATA_MAX_BYTES; see `parse`."""
    if isinstance(fetched, Unusable):
        raise UnusableMetadata(f"metadata_{fetched.reason}", fetched.detail)
    return parse(fetched.body())


def audio_fault(fetched: GetResult) -> tuple[str, str] | None:
    """Return the ledger's reason and detail for unusable audio; None for usable audio."""
    if fetched is None:
        return "audio_missing", ""
    if isinstance(fetched, Unusable):
        return f"audio_{fetched.reason}", fetched.detail
    return None if fetched.size else ("audio_empty", "")


def parse(data: bytes) -> tuple[list[Any], bool]:
    """Return the entries of an all_segments.json, and whether invalid bytes were repaired."""
    if not data.strip():
        raise UnusableMetadata("metadata_empty", f"{len(data)} bytes")
    encoding, repaired = json.detect_encoding(data), False  # UTF-8, -16 or -32, with and without a byte order mark
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text, repaired = data.decode(encoding, "replace"), True
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnusableMetadata("metadata_not_json", f"{len(data)} bytes; {error}"[:200]) from None
    if not isinstance(entries, list):
        raise UnusableMetadata("metadata_not_a_list", f"a JSON {type(entries).__name__}")
    return entries, repaired


def to_segment(
    entry: Any, *, episode: str, number: int, key: str, language: str, settling: bool, repaired: bool = False
) -> Segment | Reject:
    """Validate an entry.

    Args:
        language: the partition's language, for entries without one.
        settling: the metadata is so recent that missing audio may still be uploaded.
        repaired: the file had invalid bytes, so a U+FFFD in the text is a repair.
    """
    if not isinstance(entry, dict):
        return Reject(episode, number, key, "entry_not_an_object", f"a JSON {type(entry).__name__}")
    text, fixed_text = _string(entry.get("text"))
    speaker, fixed_speaker = _string(entry.get("speaker"))
    start, end, own = _number(entry.get("start")), _number(entry.get("end")), entry.get("language")
    normalized = normalize(own) if isinstance(own, str) else UNKNOWN
    return Segment(
        episode=episode,
        number=number,
        key=key,
        text=text,
        speaker_id=speaker,
        start=start,
        end=end,
        duration=_number(end - start) if start is not None and end is not None and end >= start else None,
        dnsmos=_number(entry.get("dnsmos")),
        language=language if normalized == UNKNOWN else normalized,
        repaired=fixed_text or fixed_speaker or (repaired and text is not None and "\ufffd" in text),
        settling=settling,
    )


def _string(value: Any) -> tuple[str | None, bool]:
    if not isinstance(value, str):
        return None, False
    if value.isascii():  # the usual case, and a fast check
        return value, False
    fixed = _LONE_SURROGATE.sub("\ufffd", value)  # json.loads has combined the pairs
    return fixed, fixed != value


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= _FLOAT32_MAX else None  # excludes NaN too
