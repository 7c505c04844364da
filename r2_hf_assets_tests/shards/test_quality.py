"""Each check of a chunk's content: what passes, what warns, and the numbers."""

from collections.abc import Callable
from typing import Any

import obstore
import pytest

from r2_hf_assets.shards.observe import Sampled
from r2_hf_assets.shards.quality import (
    Decoded,
    check_all,
    check_audio,
    check_duplicates,
    check_ranges,
    check_texts,
    decode_audio,
)
from r2_hf_assets.verdict import Severity, Verdict
from r2_hf_assets_tests.shards.quality_samples import mp3, observed, row
from r2_hf_assets_tests.support.build_samples import PREFIX, audio, build_in_memory, chunk_of, put_episode
from r2_hf_assets_tests.support.store_gets import MemoryBucket


def warned(verdict: Verdict) -> dict[str, int]:
    """Return the problems of a verdict that warns, by kind."""
    assert (verdict.passed, verdict.severity) == (False, Severity.WARN)
    return dict(verdict.numbers["problems_by_kind"])


def test_sound_rows_pass_every_check() -> None:
    body, length = mp3()
    rows = [row(index, body=body + bytes([index]), duration_seconds=length) for index in range(50)]
    verdicts = check_all(observed(rows), keys_of(rows))
    assert list(verdicts) == ["audio", "ranges", "texts", "duplicates"]
    assert all(verdict.passed for verdict in verdicts.values()), verdicts
    assert (verdicts["audio"].numbers["sampled"], verdicts["audio"].numbers["decoded"]) == (4, 4)
    assert verdicts["audio"].numbers["kinds"] == {"MP3 24000 Hz mono": 4}


def test_an_empty_chunk_passes_every_check() -> None:
    assert all(verdict.passed for verdict in check_all(observed(), keys_of([])).values())


def keys_of(rows: list[dict[str, Any]]) -> Callable[[int], str]:
    return lambda row: rows[row]["audio"]["path"]


def no_key(row: int) -> str:
    raise AssertionError("no key is needed without equal audio")


def sample(*bodies: bytes, duration: float | None = 2.0) -> list[Sampled]:
    return [Sampled(f"k{index}", duration, body) for index, body in enumerate(bodies)]


def test_audio_that_does_not_decode_warns() -> None:
    body, _ = mp3()
    verdict = check_audio(sample(body, b"<html>", body), decode_audio)
    assert warned(verdict) == {"undecodable": 1}
    assert (verdict.numbers["sampled"], verdict.numbers["decoded"]) == (3, 2)
    assert verdict.summary == "1 x undecodable (k1: no audio: LibsndfileError)"


@pytest.mark.parametrize(
    ("stated", "decoded", "passes"),
    [
        (2.0, 2.0, True),
        (2.0, 2.3, True),  # padding
        (2.0, 1.7, True),
        (2.0, 2.4, False),
        (2.0, 1.5, False),
        (600.0, 611.0, True),  # the tolerance grows with the length
        (600.0, 620.0, False),
        (None, 5.0, True),
        (1e9, 5.0, False),
    ],
)
def test_audio_of_another_length_warns(stated: float | None, decoded: float, passes: bool) -> None:
    verdict = check_audio(sample(b"", duration=stated), lambda body: Decoded(decoded, "MP3"))
    assert verdict.passed is passes
    assert passes or warned(verdict) == {"other_length": 1}
    assert passes or f"{decoded:.2f} s of audio, duration_seconds {stated:.2f}" in verdict.summary


def test_a_missing_decoder_warns() -> None:
    def missing(body: bytes) -> Decoded:
        raise OSError("sndfile library not found")

    verdict = check_audio(sample(b"", b""), missing)
    assert (verdict.passed, verdict.severity, verdict.numbers["decoded"]) == (False, Severity.WARN, 0)
    assert "no audio was decoded" in verdict.summary


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        ({"duration_seconds": 0.05}, "duration_short"),
        ({"duration_seconds": 0.0}, "duration_short"),
        ({"duration_seconds": 3600.5}, "duration_long"),
        ({"duration_seconds": 1e9}, "duration_long"),
        ({"dnsmos": 0.99}, "dnsmos_low"),
        ({"dnsmos": -3e38}, "dnsmos_low"),
        ({"dnsmos": 5.01}, "dnsmos_high"),
    ],
)
def test_a_value_out_of_range_warns(bad: dict[str, Any], kind: str) -> None:
    verdict = check_ranges(observed([row(0), row(1, **bad)], [row(2, **bad)]).counts)
    assert warned(verdict) == {kind: 2}
    assert (verdict.numbers[kind], verdict.numbers["rows"]) == (2, 3)


@pytest.mark.parametrize("name", ["duration", "dnsmos"])
def test_many_nulls_warn_and_a_few_are_counted(name: str) -> None:
    column = {"duration": "duration_seconds", "dnsmos": "dnsmos"}[name]
    nulls = [row(index) | {column: None} for index in range(10)]
    few = check_ranges(observed(nulls, [row(index) for index in range(90)]).counts)
    assert few.passed
    assert few.numbers[f"{name}_null"] == 10
    many = check_ranges(observed(nulls, [row(index) for index in range(89)]).counts)
    assert warned(many) == {f"{name}_null": 10}


@pytest.mark.parametrize(("text", "kind"), [(None, "text_null"), ("", "text_blank"), (" \t\n\u3000", "text_blank")])
def test_empty_texts_warn_above_a_hundredth(text: str | None, kind: str) -> None:
    good = [row(index) for index in range(198)]
    few = check_texts(observed([row(0, text=text), row(1, text=text), *good]).counts)
    assert few.passed
    assert (few.numbers[kind], few.numbers["rows"]) == (2, 200)
    assert warned(check_texts(observed([row(0, text=text), row(1, text=text), *good[1:]]).counts)) == {"text_empty": 2}


def test_equal_audio_warns_across_row_groups() -> None:
    rows = [row(index) for index in range(200)]
    for index in (17, 190):
        rows[index] = row(index, body=rows[3]["audio"]["bytes"])
    rows[191] = row(191, body=rows[70]["audio"]["bytes"])
    verdict = check_duplicates(observed(rows[:10], rows[10:20], rows[20:]).hashes, keys_of(rows))
    assert warned(verdict) == {"duplicate": 3}
    assert verdict.numbers["examples"]["duplicate"] == [
        f"processed/en/ep/ep_{index:06d}.mp3 is processed/en/ep/ep_{first:06d}.mp3"
        for index, first in ((17, 3), (190, 3), (191, 70))
    ]
    assert (verdict.numbers["rows"], verdict.numbers["duplicates"]) == (200, 3)


def test_audio_that_is_nearly_equal_passes() -> None:
    bodies = [b"x" * 1000, b"x" * 500 + b"y" + b"x" * 499, b"x" * 999, b"x" * 1001]
    verdict = check_duplicates(observed([row(index, body=body) for index, body in enumerate(bodies)]).hashes, no_key)
    assert (verdict.passed, verdict.numbers["duplicates"]) == (True, 0)


def test_a_build_reports_the_keys_of_equal_segments() -> None:
    """Across rejected segments and episodes."""
    bucket = MemoryBucket()
    put_episode(bucket, "en/a", 4, without=[0])
    put_episode(bucket, "en/none", [])
    put_episode(bucket, "en/b", 4, without=[1])
    obstore.put(bucket, f"{PREFIX}en/b/b_000003.mp3", audio("en/a", 2))
    verdict = build_in_memory(chunk_of("en/a", "en/none", "en/b"), bucket).record.verdicts["duplicates"]
    assert verdict.summary == f"1 x duplicate ({PREFIX}en/b/b_000003.mp3 is {PREFIX}en/a/a_000002.mp3)"
