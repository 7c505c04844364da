"""Each rule about a chunk's content: what passes it, what fails it and with which numbers."""

from pathlib import Path
from typing import Any

import pytest

from r2_hf_assets.shards import quality
from r2_hf_assets.shards.decode import Decoded, decode
from r2_hf_assets.shards.observe import Sampled
from r2_hf_assets.shards.quality import check_all, check_audio, check_duplicates, check_ranges, check_texts
from r2_hf_assets.verdict import Severity, Verdict
from r2_hf_assets_tests.shards.quality_samples import mp3, observed, row, write


def warned(verdict: Verdict) -> dict[str, int]:
    """What a verdict that warns has found."""
    assert (verdict.passed, verdict.severity) == (False, Severity.WARN)
    return dict(verdict.numbers["problems_by_kind"])


def test_sound_rows_pass_everything(tmp_path: Path) -> None:
    body, length = mp3()
    rows = [row(index, body=body + bytes([index]), duration_seconds=length) for index in range(50)]
    verdicts = check_all(observed(rows), write(tmp_path, [rows]))
    assert list(verdicts) == ["audio", "ranges", "texts", "duplicates"]
    assert all(verdict.passed for verdict in verdicts.values()), verdicts
    assert (verdicts["audio"].numbers["sampled"], verdicts["audio"].numbers["decoded"]) == (4, 4)
    assert verdicts["audio"].numbers["kinds"] == {"MP3 24000 Hz mono": 4}


def test_no_row_passes_everything() -> None:
    assert all(verdict.passed for verdict in check_all(observed(), []).values())


def sample(*bodies: bytes, duration: float | None = 2.0) -> list[Sampled]:
    return [Sampled(f"k{index}", duration, body) for index, body in enumerate(bodies)]


def test_audio_that_does_not_decode_warns() -> None:
    body, _ = mp3()
    verdict = check_audio(sample(body, b"<html>", body), decode)
    assert warned(verdict) == {"undecodable": 1}
    assert (verdict.numbers["sampled"], verdict.numbers["decoded"], verdict.numbers["undecodable"]) == (3, 2, 1)
    assert verdict.summary == "1 x undecodable (k1: no audio: LibsndfileError)"


@pytest.mark.parametrize(
    ("told", "real", "passes"),
    [
        (2.0, 2.0, True),
        (2.0, 2.3, True),  # padding
        (2.0, 1.7, True),
        (2.0, 2.4, False),
        (2.0, 1.5, False),
        (600.0, 611.0, True),  # a share of a long one
        (600.0, 620.0, False),
        (None, 5.0, True),
        (float("nan"), 5.0, True),
        (1e9, 5.0, False),
    ],
)
def test_audio_of_another_length_warns(told: float | None, real: float, passes: bool) -> None:
    verdict = check_audio(sample(b"", duration=told), lambda body: Decoded(real, "MP3"))
    assert verdict.passed is passes
    assert verdict.numbers["other_length"] == (not passes)
    assert passes or f"{real:.2f} s of audio, duration_seconds {told:.2f}" in verdict.summary


def test_without_a_decoder_it_says_so() -> None:
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
    assert (few.numbers[f"{name}_null"], few.numbers[f"{name}_null_share"]) == (10, 0.1)
    many = check_ranges(observed(nulls, [row(index) for index in range(89)]).counts)
    assert warned(many) == {f"{name}_null": 10}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("column", ["duration_seconds", "dnsmos"])
def test_what_no_input_gives_is_an_error(column: str, value: float) -> None:
    verdict = check_ranges(observed([row(0), row(1) | {column: value}]).counts)
    assert (verdict.passed, verdict.severity, verdict.numbers["impossible"]) == (False, Severity.ERROR, 1)
    assert "no input gives that" in verdict.summary


def test_a_negative_duration_is_an_error() -> None:
    assert check_ranges(observed([row(duration_seconds=-1.0)]).counts).severity is Severity.ERROR


@pytest.mark.parametrize(("text", "kind"), [(None, "text_null"), ("", "text_blank"), (" \t\n\u3000", "text_blank")])
def test_texts_that_are_empty_warn_above_a_hundredth(text: str | None, kind: str) -> None:
    good = [row(index) for index in range(198)]
    few = check_texts(observed([row(0, text=text), row(1, text=text), *good]).counts)
    assert few.passed
    assert (few.numbers[kind], few.numbers["empty_share"], few.numbers["rows"]) == (2, 0.01, 200)
    assert warned(check_texts(observed([row(0, text=text), row(1, text=text), *good[1:]]).counts)) == {"text_empty": 2}


def test_equal_audio_warns_in_whichever_file_it_lies(tmp_path: Path) -> None:
    rows = [row(index) for index in range(30)]
    rows[17] = row(17, body=rows[3]["audio"]["bytes"])
    rows[29] = row(29, body=rows[3]["audio"]["bytes"])
    groups = [rows[:10], rows[10:20], rows[20:]]
    verdict = check_duplicates(observed(*groups).sketches, write(tmp_path, groups[:2], groups[2:]))
    assert warned(verdict) == {"duplicate": 2}
    assert verdict.numbers["examples"]["duplicate"] == [
        f"processed/en/ep/ep_{index:06d}.mp3 is processed/en/ep/ep_000003.mp3" for index in (17, 29)
    ]
    assert (verdict.numbers["duplicates"], verdict.numbers["duplicates_share"]) == (2, round(2 / 30, 4))
    assert (verdict.numbers["compared"], verdict.numbers["alike_not_compared"]) == (3, 0)


def test_equal_audio_is_found_deep_in_a_row_group(tmp_path: Path) -> None:
    rows = [row(index) for index in range(200)]
    rows[190] = row(190, body=rows[70]["audio"]["bytes"])
    verdict = check_duplicates(observed(rows).sketches, write(tmp_path, [rows]))
    assert verdict.summary == "1 x duplicate (processed/en/ep/ep_000190.mp3 is processed/en/ep/ep_000070.mp3)"


def test_audio_that_only_looks_equal_passes(tmp_path: Path) -> None:
    rows = [row(0, body=b"x" * 1000), row(1, body=b"x" * 500 + b"y" + b"x" * 499)]
    verdict = check_duplicates(observed(rows).sketches, write(tmp_path, [rows]))
    assert verdict.passed
    assert (verdict.numbers["compared"], verdict.numbers["duplicates"]) == (2, 0)


def test_no_file_is_read_when_nothing_looks_equal() -> None:
    assert check_duplicates(observed([row(0), row(1)]).sketches, [Path("nowhere")]).passed


def test_what_is_too_much_to_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "_COMPARED_BYTES", 0)
    rows = [row(index, body=b"same") for index in range(6)]
    groups = [rows[:2], rows[2:4], rows[4:]]
    verdict = check_duplicates(observed(*groups).sketches, write(tmp_path, groups))
    assert warned(verdict) == {"duplicate": 1, "alike": 4}
    assert verdict.numbers["alike_not_compared"] == 4
