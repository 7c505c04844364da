"""decode_audio on real MP3s, damaged ones, other formats and bytes without audio."""

import io
import random

import numpy as np
import pytest
import soundfile

from r2_hf_assets.shards import quality
from r2_hf_assets.shards.quality import decode_audio
from r2_hf_assets_tests.shards.quality_samples import mp3


@pytest.mark.parametrize("seconds", [0.05, 2.0, 61.0])
def test_an_mp3_has_the_length_of_its_frames(seconds):
    body, length = mp3(seconds)
    decoded = decode_audio(body)
    assert (decoded.kind, decoded.problem) == ("MP3 24000 Hz mono", None)
    assert decoded.seconds == pytest.approx(length, abs=0.001)


def test_a_truncated_mp3_is_shorter():
    body, length = mp3(8.0)
    assert decode_audio(body[: len(body) // 2]).seconds == pytest.approx(length / 2, abs=0.1)


@pytest.mark.parametrize(
    "body", [b"", b"hello" * 1000, b"<html>", bytes(50_000), b"\xff" * 50_000, random.Random(1).randbytes(50_000)]
)
def test_a_body_without_audio_is_a_problem_and_not_an_error(body):
    decoded = decode_audio(body)
    assert (decoded.seconds, decoded.kind, decoded.problem) == (0, "no audio", "no audio: LibsndfileError")


def test_an_mp3_damaged_in_the_middle_is_a_problem(capfd):
    body, _ = mp3(8.0)
    broken = body[:2000] + random.Random(1).randbytes(3000) + body[5000:]
    assert decode_audio(broken).problem == "MP3 24000 Hz mono: LibsndfileError"
    assert capfd.readouterr().err == ""  # the decoder would write a line a frame


def test_other_formats_are_decoded_and_named():
    file = io.BytesIO()
    soundfile.write(file, np.zeros((16_000, 2), "float32"), 16_000, format="WAV")
    decoded = decode_audio(file.getvalue())
    assert (decoded.seconds, decoded.kind, decoded.problem) == (1.0, "WAV 16000 Hz stereo", None)
    empty = io.BytesIO()
    soundfile.write(empty, np.zeros(0, "float32"), 16_000, format="WAV")
    assert decode_audio(empty.getvalue()).problem == "WAV 16000 Hz mono: no samples"


def test_hours_of_silence_are_not_decoded_to_the_end(monkeypatch):
    monkeypatch.setattr(quality, "_MAX_DECODED_S", 60)
    file = io.BytesIO()
    soundfile.write(file, np.zeros(1800 * 8000, "int16"), 8000, format="FLAC")
    assert len(file.getvalue()) < 2**17
    assert 60 <= decode_audio(file.getvalue()).seconds < 1800
