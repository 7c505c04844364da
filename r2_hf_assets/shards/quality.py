"""The checks of what is in a chunk: audio that decodes, values in range, texts, equal audio.

They judge the input, which nobody can mend here and which is kept to the letter, so they warn and stop nothing: an
episode with a broken file must not keep a thousand others from the dataset. The exception is a value that no input
gives (see bucket/segments.py): then a row was spoilt on its way, and the verdict is an ERROR.

They are rules over what was taken down while the chunk was built (shards/observe.py).
"""

import math
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from r2_hf_assets.shards.decode import Decoded, decode
from r2_hf_assets.shards.observe import DNSMOS_RANGE, MIN_DURATION_S, Observed, Sampled, ValueCounts
from r2_hf_assets.shards.stats import MAX_DURATION_S
from r2_hf_assets.verdict import Findings, Severity, Verdict

# An MP3 is padded by its encoder's delay and to whole frames: 0.15 s at 16 kHz. Cutting tools add a frame at each end.
_TOLERANCE_S, _TOLERANCE_SHARE = 0.3, 0.02
# Shares of the rows. A few are how data is; many say that a step before this one failed.
_MAX_NULL_SHARE = 0.1
_MAX_BLANK_SHARE = 0.01


def check_audio(sample: Sequence[Sampled], decoder: Callable[[bytes], Decoded]) -> Verdict:
    """Whether a sample of the audio decodes, and is as long as the metadata says."""
    findings, kinds, differences = Findings(), Counter[str](), []
    for row in sample:
        try:
            decoded = decoder(row.body)
        except (ImportError, OSError) as error:
            told = f"soundfile can't be loaded ({type(error).__name__}), so no audio was decoded; install it again"
            return Verdict(False, Severity.WARN, told, {"sampled": len(sample), "decoded": 0})
        kinds[decoded.kind] += 1
        if decoded.problem:
            findings.add("undecodable", f"{row.key}: {decoded.problem}")
        elif row.duration is not None and math.isfinite(row.duration):
            difference = abs(decoded.seconds - row.duration)
            differences.append(difference)
            if difference > _TOLERANCE_S + _TOLERANCE_SHARE * row.duration:
                found = f"{row.key}: {decoded.seconds:.2f} s of audio, duration_seconds {row.duration:.2f}"
                findings.add("other_length", found)
    undecodable = findings.counts["undecodable"]
    numbers = {
        "sampled": len(sample),
        "decoded": len(sample) - undecodable,
        "undecodable": undecodable,
        "lengths_compared": len(differences),
        "other_length": findings.counts["other_length"],
        "largest_difference_s": round(max(differences, default=0.0), 3),
        "kinds": dict(kinds.most_common()),
    }
    good = f"{len(sample)} segments decoded, lengths within {numbers['largest_difference_s']} s of duration_seconds"
    return _verdict(findings, good, numbers)


def check_ranges(counts: ValueCounts) -> Verdict:
    """Whether durations and DNSMOS are such as speech has."""
    findings, rows = Findings(), counts.rows
    low, high = DNSMOS_RANGE
    for kind, count, meaning in (
        ("duration_short", counts.duration_short, f"below {MIN_DURATION_S} s"),
        ("duration_long", counts.duration_long, f"above {MAX_DURATION_S:g} s"),
        ("dnsmos_low", counts.dnsmos_low, f"below {low:g}"),
        ("dnsmos_high", counts.dnsmos_high, f"above {high:g}"),
        ("impossible", counts.impossible, "NaN, infinite or negative: no input gives that"),
    ):
        if count:
            findings.add(kind, meaning, count)
    shares = {}
    for kind, count in (("duration_null", counts.duration_null), ("dnsmos_null", counts.dnsmos_null)):
        shares[f"{kind}_share"] = _share(count, rows)
        if count > _MAX_NULL_SHARE * rows:
            findings.add(kind, f"{_share(count, rows):.1%} of the rows, above {_MAX_NULL_SHARE:.0%}", count)
    names = (
        "duration_null",
        "duration_short",
        "duration_long",
        "dnsmos_null",
        "dnsmos_low",
        "dnsmos_high",
        "impossible",
    )
    numbers = {"rows": rows, **{name: getattr(counts, name) for name in names}, **shares}
    good = f"durations and DNSMOS of {rows} rows in range; null: {counts.duration_null} and {counts.dnsmos_null}"
    return _verdict(findings, good, numbers, Severity.ERROR if counts.impossible else Severity.WARN)


def check_texts(counts: ValueCounts) -> Verdict:
    """Whether there is a transcript, but for a few."""
    findings, rows = Findings(), counts.rows
    empty = counts.text_null + counts.text_blank
    numbers = {
        "rows": rows,
        "text_null": counts.text_null,
        "text_blank": counts.text_blank,
        "empty_share": _share(empty, rows),
        "empty_share_allowed": _MAX_BLANK_SHARE,
    }
    if empty > _MAX_BLANK_SHARE * rows:
        findings.add("text_empty", f"{_share(empty, rows):.1%} of the rows, above {_MAX_BLANK_SHARE:.0%}", empty)
    return _verdict(findings, f"{empty} of {rows} texts are empty", numbers)


def check_duplicates(hashes: array, key_of: Callable[[int], str]) -> Verdict:
    """Whether the same audio stands in more than one row.

    Args:
        hashes: of the rows in order, as `Observed` has them: of 64 bits, so one chunk in a billion is wrong by chance.
        key_of: the audio key of a row, by its place.
    """
    alike = _repeated(hashes)
    rows = [row for row, found in enumerate(hashes) if found in alike] if alike else []
    findings, first_of = Findings(), dict[int, int]()
    for row in rows:
        first = first_of.setdefault(hashes[row], row)
        if first != row:
            findings.add("duplicate", f"{key_of(row)} is {key_of(first)}")
    duplicates = findings.counts["duplicate"]
    numbers = {
        "rows": len(hashes),
        "duplicates": duplicates,
        "duplicates_share": _share(duplicates, len(hashes)),
    }
    return _verdict(findings, f"the audio of {len(hashes)} rows is each its own", numbers)


def check_all(observed: Observed, key_of: Callable[[int], str]) -> dict[str, Verdict]:
    """Every check of this module by its name."""
    return {
        "audio": check_audio(observed.sample, decode),
        "ranges": check_ranges(observed.counts),
        "texts": check_texts(observed.counts),
        "duplicates": check_duplicates(observed.hashes, key_of),
    }


def _verdict(findings: Findings, good: str, numbers: Mapping[str, Any], severity: Severity = Severity.WARN) -> Verdict:
    return findings.verdict(good, numbers, severity)


def _share(count: int, rows: int) -> float:
    return round(count / rows, 4) if rows else 0.0


def _repeated(sketches: array) -> frozenset[int]:
    """The values that are there more than once. A sorted array needs a tenth of a set's memory."""
    unsorted = pa.Array.from_buffers(pa.uint64(), len(sketches), [None, pa.py_buffer(sketches)])
    ordered = unsorted.take(pc.sort_indices(unsorted))
    return frozenset(ordered[1:].filter(pc.equal(ordered[1:], ordered[:-1])).to_pylist())
