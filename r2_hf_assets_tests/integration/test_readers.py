"""The dataset read by datasets.load_dataset, DuckDB and polars, compared row by row with the bucket."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from r2_hf_assets_tests.support.world import World

# A separate process, since `datasets` reads HF_ENDPOINT when it is imported.
LOAD = """
import hashlib, io, json, os, sys
import soundfile
from datasets import Audio, load_dataset, load_dataset_builder
repo = sys.argv[1]
streamed = load_dataset(repo, split="train", streaming=True)
whole = load_dataset(repo, split="train")
german = load_dataset(repo, data_dir="data/de", split="train").cast_column("audio", Audio())
features = {name: repr(feature) for name, feature in whole.features.items()}
def plain(dataset):
    rows = []
    for row in dataset.cast_column("audio", Audio(decode=False)):
        body = row["audio"].pop("bytes")
        sound = soundfile.info(io.BytesIO(body))
        rows.append({**row, "sha256": hashlib.sha256(body).hexdigest(), "seconds": sound.frames / sound.samplerate})
    return rows
print(json.dumps(
    {"features": features, "whole": plain(whole), "streamed": plain(streamed), "german": plain(german)}
))
# Arrow's threads can still use a Python file when the interpreter ends, which aborts the process.
sys.stdout.flush()
os._exit(0)
"""

LANGUAGE_OF = {"en": "en", "en_gb": "en", "deu": "de", "in": "id"}


@pytest.fixture
def committed(in_process: World) -> tuple[World, dict[str, Any]]:
    """A committed dataset of three languages, and its expected rows by key."""
    world = in_process
    summary = world.upload(episodes={"en": 3, "en_gb": 1, "deu": 2, "in": 1})
    world.scan()
    world.build_due()
    return world, {row.key: row for row in summary.rows}


def _load(world: World) -> dict[str, Any]:
    command = [sys.executable, "-c", LOAD, world.repo_id]
    env = world.command_env(**{name: world.env[name] for name in ("HF_ENDPOINT", "HF_TOKEN", "HF_HOME")})
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_load_dataset_reads_and_decodes_every_row(committed: tuple[World, dict[str, Any]]) -> None:
    world, expected = committed
    loaded = _load(world)
    assert loaded["streamed"] == loaded["whole"]
    rows = {row["audio"]["path"]: row for row in loaded["whole"]}
    assert set(rows) == set(expected)
    assert len(rows) == len(loaded["whole"])
    for key, row in rows.items():
        want = expected[key]
        language = LANGUAGE_OF[want.folder]
        values = (row["sha256"], row["text"], row["speaker_id"], row["language"])
        assert values == (want.sha256, want.text, want.speaker, language)
        assert row["seconds"] == pytest.approx(want.duration, abs=0.1)
        assert row["dnsmos"] == pytest.approx(want.dnsmos)
    assert loaded["german"] == [row for row in loaded["whole"] if row["language"] == "de"]
    assert loaded["features"]["audio"].startswith("Audio(")
    assert list(loaded["features"]) == ["audio", "text", "speaker_id", "duration_seconds", "dnsmos", "language"]


def test_duckdb_and_polars_read_the_same_bytes(committed: tuple[World, dict[str, Any]]) -> None:
    world, expected = committed
    with world.dataset_folder() as folder:
        from_duckdb = _duckdb(folder)
        from_polars = _polars(folder)
    assert len(from_duckdb) == len(from_polars) == len(expected)
    assert from_duckdb == from_polars
    for key, body_hash, text, speaker in from_duckdb:
        want = expected[key]
        assert (body_hash, text, speaker) == (want.sha256, want.text, want.speaker)
        assert body_hash == hashlib.sha256(world.object(key)).hexdigest()


def _duckdb(folder: Path) -> list[tuple]:
    query = "select audio.path, sha256(audio.bytes), text, speaker_id from read_parquet(?) order by 1"
    return duckdb.execute(query, [str(folder / "data" / "*" / "*.parquet")]).fetchall()


def _polars(folder: Path) -> list[tuple]:
    frame = pl.read_parquet(folder / "data" / "*" / "*.parquet").unnest("audio").sort("path")
    return [
        (path, hashlib.sha256(body).hexdigest(), text, speaker)
        for path, body, text, speaker in frame.select("path", "bytes", "text", "speaker_id").iter_rows()
    ]
