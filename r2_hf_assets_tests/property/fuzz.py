"""`make fuzz`: parse millions of damaged metadata files, until one violates an invariant.

    python -m r2_hf_assets_tests.property.fuzz --seconds 600 --seed 7
    python -m r2_hf_assets_tests.property.fuzz metadata-0123abcd.bin     # run a saved input again

Inputs are mutations of the sandbox's valid and awkward metadata: bytes, JSON values, encodings, splices. An input with
a new outcome (other reasons, other fields null, another encoding) joins the corpus, from which later ones are made.
This replaces coverage, which Python 3.11 can only measure by tracing every line. The same seed gives the same inputs.
The invariants are in `metadata.check_bytes`.
"""

import argparse
import hashlib
import json
import random
import re
import sys
import time
import traceback
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

from r2_hf_assets.bucket.segments import METADATA_NAME, Reject, Segment, UnusableMetadata, parse
from r2_hf_assets_tests.property.metadata import ENCODINGS, FIELDS, check_bytes
from r2_hf_sandbox.samples.awkward import DEFECTS
from r2_hf_sandbox.samples.episode import make_episode

MAX_BYTES = 32 * 1024
MAX_CORPUS = 2000
TOKENS = [
    *(b"[]", b"{}", b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"null", b"true", b"NaN", b"-Infinity", b"1e999"),
    *(b"-0", b"1E+2", b"9" * 400, b"9" * 5000, b"[" * 3000, b"\\ud83d", b"\\ude00", b"\\u0000", b"\\uD800\\uD800"),
    *(b"\x00", b"\xff", b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xf0\x9f\x8e\x99", b"\xe4\xb8"),
]
VALUES: list[Any] = [
    *(
        None,
        True,
        "",
        "x" * 300,
        "\ud800",
        "\ude00\ud83d",
        "\x00",
        "en-US",
        "iw_IL",
        "a-" * 40,
        "\u202e世",
        "3.2",
        [],
        {},
    ),
    *(0, -1, 10**400, -(10**400), 2**128, 1e39, -1e308, 5e-324, float("nan"), float("inf"), [[[]]], {"text": 1}),
]


def corpus() -> list[bytes]:
    """Return the metadata of the sandbox's episodes, valid and awkward."""
    valid = [make_episode(1, folder, 0, (3, 3), (0.2, 0.3), "p/") for folder in ("en-US", "junk", "ja")]
    episodes = valid + [change(valid[0]) for change in DEFECTS.values()]
    return [data for episode in episodes for key, data in episode.objects if key.endswith(METADATA_NAME)]


def inputs(seed: int, classify: Callable[[bytes], Hashable | None]) -> Iterator[bytes]:
    """Yield inputs without end. `classify` returns the outcome of each; None keeps it out of the corpus."""
    rng, pool, outcomes = random.Random(seed), corpus(), set[Hashable]()
    while True:
        data = rng.choice(pool)
        for _ in range(rng.choice((1, 1, 2, 4, 8))):
            data = rng.choice(MUTATIONS)(rng, data, pool)[:MAX_BYTES]
        yield data
        outcome = classify(data)
        if outcome is not None and outcome not in outcomes and len(pool) < MAX_CORPUS:
            outcomes.add(outcome)
            pool.append(data)


def _flip(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(1) + data[at + 1 :]


def _cut(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:start] + data[end:] if rng.random() < 0.5 else data[start:end]


def _insert(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(TOKENS) + data[at:]


def _splice(rng: random.Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    other = rng.choice(pool)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _recode(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data.decode("utf-8", "surrogateescape").encode(rng.choice(ENCODINGS), "replace")


def _value(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Change one value or key of the JSON; invalid JSON is returned unchanged."""
    try:
        entries = json.loads(data)
    except (ValueError, RecursionError):
        return data
    if not isinstance(entries, list) or not entries:
        return json.dumps([rng.choice(VALUES)]).encode()
    at = rng.randrange(len(entries))
    if isinstance(entries[at], dict) and rng.random() < 0.9:
        entries[at][rng.choice((*FIELDS, "text", "language", "\ud800"))] = rng.choice(VALUES)
    else:
        entries[at] = rng.choice(VALUES)
    return json.dumps(entries, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


MUTATIONS = (_flip, _flip, _cut, _insert, _insert, _splice, _recode, _value, _value, _value)


def check(data: bytes) -> Hashable:
    """Return the outcome of `data`; raise when an invariant is violated."""
    results = check_bytes(data)
    encoding = json.detect_encoding(data)
    if results:
        return encoding, frozenset(map(_shape, results))
    try:
        parse(data)
    except UnusableMetadata as error:
        return encoding, error.reason, re.sub(r"\d+|'.*?'", "", error.detail)
    return encoding


def _shape(result: Segment | Reject) -> Hashable:
    if isinstance(result, Reject):
        return result.detail
    fields = result.text, result.speaker_id, result.duration, result.dnsmos
    return tuple(value is None for value in fields), result.repaired, result.language


def fuzz(seed: int, *, count: int | None = None, seconds: float = float("inf")) -> tuple[int, bytes | None]:
    """Check inputs until one fails, or for a count or time. Return their number and the failing one."""
    outcomes: dict[bytes, Hashable] = {}
    stream = inputs(seed, outcomes.pop)
    end, tried = time.monotonic() + seconds, 0
    for data in stream:
        if tried == count or time.monotonic() > end:
            break
        tried += 1
        try:
            outcomes[data] = check(data)
        except Exception:
            traceback.print_exc()
            return tried, data
    return tried, None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description="Damaged metadata for the parser.")
    parser.add_argument("saved", nargs="*", type=Path, help="saved inputs to run again")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--inputs", type=int, help="stop after this number")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    for path in given.saved:
        print(f"{path}: {check(path.read_bytes())}")
    if given.saved:
        return 0
    tried, failing = fuzz(given.seed, count=given.inputs, seconds=given.seconds)
    print(f"{tried} inputs of seed {given.seed}, {'none' if failing is None else 'the last one'} failed")
    if failing is None:
        return 0
    path = Path(f"metadata-{hashlib.sha256(failing).hexdigest()[:8]}.bin")
    path.write_bytes(failing)
    print(f"saved; run again with: python -m r2_hf_assets_tests.property.fuzz {path}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
