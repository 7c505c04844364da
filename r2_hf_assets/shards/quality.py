"""The checks of what is in a chunk: audio that decodes, values in range, texts, equal audio.

They judge the input, which nobody can mend here and which is kept to the letter, so they warn and stop nothing: an
episode with a broken file must not keep a thousand others from the dataset. The exception is a value that no input
gives (see bucket/segments.py): then a row was spoilt on its way, and the verdict is an ERROR.

They are rules over what was taken down while the chunk was built (shards/observe.py).
"""

import math
from array import array
from collections import Counter
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from r2_hf_assets.shards.decode import Decoded, decode
from r2_hf_assets.shards.observe import DNSMOS_RANGE, MAX_DURATION_S, MIN_DURATION_S, Observed, Sampled
from r2_hf_assets.verdict import Findings, Severity, Verdict

# An MP3 is padded by its encoder's delay and to whole frames: 0.15 s at 16 kHz. Cutting tools add a frame at each end.
_TOLERANCE_S, _TOLERANCE_SHARE = 0.3, 0.02
# Shares of the rows. A few are how data is; many say that a step before this one failed.
_MAX_NULL_SHARE = 0.1
_MAX_EMPTY_SHARE = 0.01
_OUT_OF_RANGE = {
    "duration_short": f"below {MIN_DURATION_S:g} s",
    "duration_long": f"above {MAX_DURATION_S:g} s",
    "dnsmos_low": f"below {DNSMOS_RANGE[0]:g}",
    "dnsmos_high": f"above {DNSMOS_RANGE[1]:g}",
    "impossible": "NaN, infinite or negative: no input gives that",
}


def check_audio(sample: Sequence[Sampled], decoder: Callable[[bytes], Decoded]) -> Verdict:
    """Whether a sample of the audio decodes, and is as long as the metadata says."""
    findings, kinds, largest = Findings(), Counter[str](), 0.0
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
            largest = max(largest, difference)
            if difference > _TOLERANCE_S + _TOLERANCE_SHARE * row.duration:
                found = f"{row.key}: {decoded.seconds:.2f} s of audio, duration_seconds {row.duration:.2f}"
                findings.add("other_length", found)
    numbers = {
        "sampled": len(sample),
        "decoded": len(sample) - findings.counts["undecodable"],
        "largest_difference_s": round(largest, 3),
        "kinds": dict(kinds.most_common()),
    }
    good = f"{len(sample)} segments decoded, lengths within {largest:.3f} s of duration_seconds"
    return findings.verdict(good, numbers, Severity.WARN)


def check_ranges(counts: Counter[str]) -> Verdict:
    """Whether durations and DNSMOS are such as speech has.

    Args:
        counts: as `Observed` has them.
    """
    findings, rows, nulls = Findings(), counts["rows"], ("duration_null", "dnsmos_null")
    for kind, meaning in _OUT_OF_RANGE.items():
        if counts[kind]:
            findings.add(kind, meaning, counts[kind])
    for kind in nulls:
        if counts[kind] > _MAX_NULL_SHARE * rows:
            _add_share(findings, kind, counts[kind], rows, _MAX_NULL_SHARE)
    numbers = {kind: counts[kind] for kind in ("rows", *_OUT_OF_RANGE, *nulls)}
    good = f"durations and DNSMOS of {rows} rows in range; null: {' and '.join(str(counts[kind]) for kind in nulls)}"
    return findings.verdict(good, numbers, Severity.ERROR if counts["impossible"] else Severity.WARN)


def check_texts(counts: Counter[str]) -> Verdict:
    """Whether there is a transcript, but for a few."""
    findings, rows = Findings(), counts["rows"]
    numbers = {kind: counts[kind] for kind in ("rows", "text_null", "text_blank")}
    empty = counts["text_null"] + counts["text_blank"]
    if empty > _MAX_EMPTY_SHARE * rows:
        _add_share(findings, "text_empty", empty, rows, _MAX_EMPTY_SHARE)
    return findings.verdict(f"{empty} of {rows} texts are empty", numbers, Severity.WARN)


def check_duplicates(hashes: "array[int]", key_of: Callable[[int], str]) -> Verdict:
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
    numbers = {"rows": len(hashes), "duplicates": findings.counts["duplicate"]}
    return findings.verdict(f"the audio of {len(hashes)} rows is each its own", numbers, Severity.WARN)


def check_all(observed: Observed, key_of: Callable[[int], str]) -> dict[str, Verdict]:
    """Every check of this module by its name."""
    return {
        "audio": check_audio(observed.sample, decode),
        "ranges": check_ranges(observed.counts),
        "texts": check_texts(observed.counts),
        "duplicates": check_duplicates(observed.hashes, key_of),
    }


def _add_share(findings: Findings, kind: str, count: int, rows: int, allowed: float) -> None:
    findings.add(kind, f"{count / rows:.1%} of the rows, above {allowed:.0%}", count)


def _repeated(sketches: "array[int]") -> frozenset[int]:
    """The values that are there more than once. A sorted array needs a tenth of a set's memory."""
    unsorted = pa.Array.from_buffers(pa.uint64(), len(sketches), [None, pa.py_buffer(sketches)])
    ordered = unsorted.take(pc.sort_indices(unsorted))
    return frozenset(ordered[1:].filter(pc.equal(ordered[1:], ordered[:-1])).to_pylist())
