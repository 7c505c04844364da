"""Samples depend only on the seed, decode to the length in their metadata, and list the expected rows and rejects."""

import hashlib
import io
import json
import os
from collections import Counter
from typing import Any

import pytest
import soundfile

from r2_hf_sandbox import S3Server, SampleSummary, sample_bucket, upload_samples
from r2_hf_sandbox.samples.awkward import DEFECTS

SMALL = {"en": 2, "de": 1, "ja": 1, "unknown": 1}


def _samples(**options: Any) -> tuple[dict[str, bytes], SampleSummary]:
    objects: dict[str, bytes] = {}
    options = {"seed": 1, "episodes": SMALL, **options}
    return objects, sample_bucket(objects.__setitem__, **options)


def test_the_same_seed_makes_the_same_bytes_and_another_seed_others() -> None:
    first, again, other = _samples()[0], _samples()[0], _samples(seed=2)[0]
    assert first == again
    assert not first.keys() & other.keys()
    assert not set(first.values()) & set(other.values())


def test_a_larger_bucket_contains_the_smaller() -> None:
    small, large = _samples()[0], _samples(episodes={**SMALL, "en": 4})[0]
    assert small.items() <= large.items()
    assert len(large) > len(small)


def test_every_row_has_audio_of_the_length_in_its_metadata(capfd: pytest.CaptureFixture[str]) -> None:
    objects, summary = _samples()
    assert len(summary.rows) == summary.segments == len({row.sha256 for row in summary.rows})
    for row in summary.rows:
        folder, _, name = row.key.rpartition("/")
        entry = json.loads(objects[f"{folder}/all_segments.json"])[int(name[-10:-4])]
        audio = objects[row.key]
        assert hashlib.sha256(audio).hexdigest() == row.sha256
        wave, rate = soundfile.read(io.BytesIO(audio))
        assert rate == 24_000
        assert abs(wave).max() > 0.05
        assert len(wave) / rate == pytest.approx(row.duration, abs=1e-6)
        assert entry["end"] - entry["start"] == row.duration
        assert (entry["text"], entry["speaker"], entry["dnsmos"]) == (row.text, row.speaker, row.dnsmos)
        assert entry.get("language") == row.language
        assert entry["segment_id"] == int(name[-10:-4])
    assert capfd.readouterr().err == ""  # no warning of the decoder
    assert {row.language for row in summary.rows} == {"en", "de", "ja", None}


def test_awkward_episodes_have_the_expected_rejects() -> None:
    objects, summary = _samples(awkward=True)
    assert {key.split("/")[1] for key in objects} == set(SMALL)
    assert summary.episodes == sum(SMALL.values()) + len(DEFECTS)
    reasons = Counter(reject.reason for reject in summary.rejects)
    assert reasons == dict.fromkeys(
        (
            "audio_missing audio_empty entry_not_an_object metadata_missing metadata_not_json metadata_not_a_list "
            "no_segments"
        ).split(),
        1,
    )
    by_reason = {reject.reason: reject for reject in summary.rejects}
    assert by_reason["audio_missing"].key not in objects
    assert objects[by_reason["audio_empty"].key] == b""
    assert by_reason["metadata_missing"].key not in objects
    assert by_reason["metadata_missing"].level == "episode"
    assert not {row.key for row in summary.rows} & {reject.key for reject in summary.rejects}
    assert [row.text for row in summary.rows if row.text and "\ufffd" in row.text]
    assert any(b"\\ud83d" in body for body in objects.values())
    sparse = [row for row in summary.rows if row.duration is None]
    assert [(row.text is None, row.speaker, row.dnsmos) for row in sparse] == [(True, None, None), (False, None, None)]


def test_a_big_bucket_without_expected_rows() -> None:
    _, summary = _samples(expect=False)
    assert summary.rows == ()
    assert summary.segments == _samples()[1].segments


def test_samples_are_uploaded_to_a_bucket(s3: S3Server, bucket: str) -> None:
    summary = upload_samples(s3, bucket, seed=3, episodes={"en_gb": 2}, prefix="elsewhere/")
    listed = s3.client().list_objects_v2(Bucket=bucket)["Contents"]
    assert len(listed) == summary.objects
    row = summary.rows[-1]
    body = s3.client().get_object(Bucket=bucket, Key=row.key)["Body"].read()
    assert row.key.startswith("elsewhere/en_gb/")
    assert hashlib.sha256(body).hexdigest() == row.sha256


def test_a_failed_upload_raises_its_error(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(S3Server, "create_bucket", lambda *_: None)
    with pytest.raises(Exception, match=r"(?i)bucket|404|not found"):
        upload_samples(s3, f"absent-{os.getpid()}", seed=3, episodes={"en": 1})
