"""The reader's check by the real `datasets` on the local Hub: what passes, each kind of problem, and its process."""

import importlib.util
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from r2_hf_assets.hub import reader
from r2_hf_assets.hub.reader import ADVICE, NothingToRead, advice, check_reader
from r2_hf_assets.hub.viewer import ViewerAnswer
from r2_hf_assets.settings import HubSettings
from r2_hf_assets.shards.schema import SCHEMA
from r2_hf_assets.verdict import Severity, Verdict
from r2_hf_assets_tests.hub.conftest import commit_files
from r2_hf_assets_tests.support.world import World

CARD = """---
configs:
- config_name: all
  data_files: data/*/*.parquet
  default: true
- config_name: metadata
  data_files: metadata/*/*.parquet
- config_name: en
  data_files: data/en/*.parquet
- config_name: de
  data_files: data/de/*.parquet
- config_name: of-a-user
  data_files: notes/*.csv
---
"""


def mp3() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(24_000, np.float32), 24_000, format="MP3")
    return file.getvalue()


def parquet(*audio: bytes) -> bytes:
    rows = [
        {"audio": {"path": f"processed/en/e1/e1_{number:06d}.mp3", "bytes": data}, "text": "hello", "language": "en"}
        for number, data in enumerate(audio)
    ]
    file = io.BytesIO()
    with pq.ParquetWriter(file, SCHEMA) as writer:
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
    return file.getvalue()


def index() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"key": ["processed/en/e1/e1_000000.mp3"], "duration_seconds": [1.0]}), file)
    return file.getvalue()


def chunk(language: str) -> str:
    return f"data/{language}/chunk-00000.parquet"


@pytest.fixture
def files() -> dict[str, bytes]:
    good = parquet(mp3())
    shards = {chunk(language): good for language in ("en", "de")}
    return {"README.md": CARD.encode(), "metadata/en/chunk-00000.parquet": index(), **shards}


@pytest.fixture
def hub(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubSettings:
    """The settings of the world's repo, and temporary folders in one of the test's."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return HubSettings(world.repo_id, world.sandbox.hub.token, world.sandbox.hub.endpoint)


def kinds(verdict: Verdict) -> dict[str, int]:
    counts: dict[str, int] = verdict.numbers["problems_by_kind"]
    return counts


def test_a_row_of_each_config_is_read_and_nothing_is_left(
    world: World, hub: HubSettings, files: dict[str, bytes], tmp_path: Path
) -> None:
    commit_files(world, files)
    before = sorted(Path(world.env["HF_HOME"]).rglob("*"))
    mark = world.sandbox.hub.mark()
    verdict = check_reader(hub)
    assert verdict.passed and verdict.summary.startswith("a row of each of 4 configs was streamed")
    assert verdict.numbers == {"configs": 4, "read": 4}
    assert advice(verdict) == ""
    read = {
        request["path"].rpartition("/resolve/")[2].partition("/")[2] for request in world.sandbox.hub.requests(mark)
    }
    assert {chunk("en"), chunk("de"), "metadata/en/chunk-00000.parquet"} <= read
    assert list((tmp_path / "temporary").iterdir()) == []
    assert sorted(Path(world.env["HF_HOME"]).rglob("*")) == before, "the user's caches"


def test_every_problem_is_a_warning_with_what_to_do(world: World, hub: HubSettings, files: dict[str, bytes]) -> None:
    card = CARD.replace("- config_name: de", "- config_name: fr\n  data_files: data/fr/*.parquet\n- config_name: de")
    commit_files(
        world,
        {
            **files,
            "README.md": card.encode(),
            chunk("de"): parquet(b"this is no audio"),
            chunk("en"): parquet(),
            "metadata/en/chunk-00000.parquet": b"PAR1 this is no Parquet",
        },
    )
    verdict = check_reader(hub)
    assert not verdict.passed and verdict.severity is Severity.WARN
    # `all` begins with the undecodable row of `de`; `fr` has no file, `en` no row, and the index is damaged.
    assert kinds(verdict) == {"not_decoded": 2, "not_loaded": 3}
    assert "en: it has no row" in verdict.numbers["examples"]["not_loaded"]
    assert verdict.numbers["read"] == 0
    assert "de: processed/en/e1/e1_000000.mp3: LibsndfileError" in verdict.numbers["examples"]["not_decoded"][1]
    assert "\n" not in verdict.summary
    assert all(ADVICE[kind] in advice(verdict) for kind in kinds(verdict))


def test_a_hub_that_is_silent_ends_the_reading_in_time(world: World, hub: HubSettings, files: dict[str, bytes]) -> None:
    commit_files(world, files)
    world.sandbox.hub.inject({"path_regex": "/tree/", "silence": "read", "times": 1000})
    verdict = check_reader(hub, limit_s=3)
    assert kinds(verdict) == {"not_reached": 4}
    assert "no result within 3 s" in verdict.summary


def test_a_process_that_dies_is_reported(
    world: World, hub: HubSettings, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_files(world, files)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    verdict = check_reader(hub)
    assert kinds(verdict) == {"not_reached": 4}
    assert "the process ended with 1: no message" in verdict.summary


def test_without_a_card_or_datasets_nothing_is_read(
    world: World, hub: HubSettings, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NothingToRead, match="names no configs yet"):
        check_reader(hub)
    commit_files(world, {chunk("en"): files[chunk("en")]})
    with pytest.raises(NothingToRead, match="names no configs yet"):
        check_reader(hub)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "datasets" else find_spec(name))
    with pytest.raises(NothingToRead, match=r"pip install 'r2_hf_assets\[reader\]'"):
        check_reader(hub)


def test_the_viewer_of_a_public_dataset_is_asked(
    world: World, hub: HubSettings, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def ask(settings: HubSettings, base: str) -> ViewerAnswer:
        asked.append(base)
        return ViewerAnswer("preview", 7, "configs that failed there: en")

    monkeypatch.setattr(reader, "ask_viewer", ask)
    monkeypatch.setattr(reader, "_read_in_process", lambda *_: [reader.Reading("en", "", "key")])
    commit_files(world, files)
    verdict = check_reader(hub, viewer="http://viewer")
    assert asked == ["http://viewer"] and kinds(verdict) == {"viewer": 1}
    assert verdict.numbers["viewer_rows"] == 7 and advice(verdict) == ADVICE["viewer"]
    private = HubSettings(hub.repo_id, hub.token, hub.endpoint, private=True)
    assert check_reader(private, viewer="http://viewer").passed and len(asked) == 1
