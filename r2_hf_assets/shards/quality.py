"""Checks of a chunk's content: audio decodes, values are in range, texts exist, no audio is repeated.

They evaluate what observe.py collected during the build. They only warn: one broken file must not keep a thousand other
episodes out of the dataset.
"""

import io
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from r2_hf_assets.plural import plural
from r2_hf_assets.shards.observe import DNSMOS_RANGE, MAX_DURATION_S, MIN_DURATION_S, Observer, Sampled
from r2_hf_assets.verdict import Problems, Severity, Verdict

_BUFFER_FRAMES = 2**20
# A small lossless file can hold days of silence.
_MAX_DECODED_S = 2 * 3600
# Encoder delay and whole frames pad an MP3 by 0.15 s at 16 kHz. Cutting tools add a frame at each end.
_TOLERANCE_S, _TOLERANCE_SHARE = 0.3, 0.02
# Shares of the rows. A few are usual; many mean that an earlier processing step failed.
_MAX_NULL_SHARE = 0.1
_MAX_EMPTY_SHARE = 0.01
_OUT_OF_RANGE = {
    "duration_short": f"below {MIN_DURATION_S:g} s",
    "duration_long": f"above {MAX_DURATION_S:g} s",
    "dnsmos_low": f"below {DNSMOS_RANGE[0]:g}",
    "dnsmos_high": f"above {DNSMOS_RANGE[1]:g}",
}


@dataclass(frozen=True)
class Decoded:
    """Decoded audio, e.g. 3.2 seconds of "MP3 24000 Hz mono". `problem` is None when all of it decodes."""

    seconds: float
    kind: str
    problem: str | None = None


def decode_audio(body: bytes) -> Decoded:
    """Decode at most two hours. Raises ImportError or OSError when soundfile or libsndfile can't be loaded."""
    import soundfile  # lazily: it costs 0.05 s and 6 MB

    frames, rate, kind = 0, 1, "no audio"
    try:
        with _closed_stderr(), soundfile.SoundFile(io.BytesIO(body)) as sound:
            rate, channels = sound.samplerate, sound.channels
            layout = {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels")
            kind = f"{sound.format} {rate} Hz {layout}"
            buffer = memoryview(bytearray(2 * channels * min(_BUFFER_FRAMES, max(2**12, sound.frames))))
            while frames < _MAX_DECODED_S * rate and (read := sound.buffer_read_into(buffer, "int16")):
                frames += read
    except (soundfile.SoundFileError, RuntimeError, ValueError, AssertionError) as error:
        return Decoded(frames / rate, kind, f"{kind}: {type(error).__name__}")
    return Decoded(frames / rate, kind, None if frames else f"{kind}: no samples")


@contextmanager
def _closed_stderr() -> Iterator[None]:
    """Redirect stderr to /dev/null: libsndfile's MP3 decoder writes a line for each broken frame."""
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(null)
        os.close(stderr)


def check_audio(sample: Sequence[Sampled], decoder: Callable[[bytes], Decoded]) -> Verdict:
    """Check that sampled audio decodes to the length in the metadata."""
    problems, kinds, largest = Problems(), Counter[str](), 0.0
    for row in sample:
        try:
            decoded = decoder(row.body)
        except (ImportError, OSError) as error:
            summary = f"soundfile can't be loaded ({type(error).__name__}), so no audio was decoded; install it again"
            return Verdict(False, Severity.WARN, summary, {"sampled": len(sample), "decoded": 0})
        kinds[decoded.kind] += 1
        if decoded.problem:
            problems.add("undecodable", f"{row.key}: {decoded.problem}")
        elif row.duration is not None:
            difference = abs(decoded.seconds - row.duration)
            largest = max(largest, difference)
            if difference > _TOLERANCE_S + _TOLERANCE_SHARE * row.duration:
                example = f"{row.key}: {decoded.seconds:.2f} s of audio, duration_seconds {row.duration:.2f}"
                problems.add("other_length", example)
    numbers = {
        "sampled": len(sample),
        "decoded": len(sample) - problems.counts["undecodable"],
        "largest_difference_s": round(largest, 3),
        "kinds": dict(kinds.most_common()),
    }
    good = f"{plural(len(sample), 'segment')} decoded, lengths within {largest:.3f} s of duration_seconds"
    return problems.verdict(good, numbers, Severity.WARN)


def check_ranges(counts: Counter[str]) -> Verdict:
    """Check that durations and DNSMOS are in the range of speech, and few are null."""
    problems, rows, nulls = Problems(), counts["rows"], ("duration_null", "dnsmos_null")
    for kind, meaning in _OUT_OF_RANGE.items():
        if counts[kind]:
            problems.add(kind, meaning, counts[kind])
    for kind in nulls:
        if counts[kind] > _MAX_NULL_SHARE * rows:
            problems.add(kind, f"{counts[kind] / rows:.1%} of the rows, above {_MAX_NULL_SHARE:.0%}", counts[kind])
    numbers = {kind: counts[kind] for kind in ("rows", *_OUT_OF_RANGE, *nulls)}
    null = " and ".join(str(counts[kind]) for kind in nulls)
    good = f"durations and DNSMOS of {plural(rows, 'row')} in range; null: {null}"
    return problems.verdict(good, numbers, Severity.WARN)


def check_texts(counts: Counter[str]) -> Verdict:
    """Check that few texts are null or blank."""
    problems, rows = Problems(), counts["rows"]
    numbers = {kind: counts[kind] for kind in ("rows", "text_null", "text_blank")}
    empty = counts["text_null"] + counts["text_blank"]
    if empty > _MAX_EMPTY_SHARE * rows:
        problems.add("text_empty", f"{empty / rows:.1%} of the rows, above {_MAX_EMPTY_SHARE:.0%}", empty)
    return problems.verdict(f"{empty} of {rows} texts are empty", numbers, Severity.WARN)


def check_duplicates(hashes: "array[int]", key_of: Callable[[int], str]) -> Verdict:
    """Check that no two rows have equal audio. `key_of` returns the audio key of a row by its index."""
    # A 64-bit collision is expected in one chunk of a billion. Sorting takes a tenth of the memory of a dict.
    unsorted = pa.Array.from_buffers(pa.uint64(), len(hashes), [None, pa.py_buffer(hashes)])
    ordered = unsorted.take(pc.sort_indices(unsorted))
    repeated = set(ordered[1:].filter(pc.equal(ordered[1:], ordered[:-1])).to_pylist())
    problems, first_of = Problems(), dict[int, int]()
    for row, digest in enumerate(hashes):
        if digest in repeated and (first := first_of.setdefault(digest, row)) != row:
            problems.add("duplicate", f"{key_of(row)} is {key_of(first)}")
    numbers = {"rows": len(hashes), "duplicates": problems.counts["duplicate"]}
    return problems.verdict(f"no audio is repeated in {plural(len(hashes), 'row')}", numbers, Severity.WARN)


def check_all(observer: Observer, key_of: Callable[[int], str]) -> dict[str, Verdict]:
    """Return the verdict of every check of this module by name."""
    return {
        "audio": check_audio(observer.sample(), decode_audio),
        "ranges": check_ranges(observer.counts),
        "texts": check_texts(observer.counts),
        "duplicates": check_duplicates(observer.hashes, key_of),
    }
