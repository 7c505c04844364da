"""A reader that chooses rows by the index, with the code of docs/reading.md, and the dataset that it reads.

    choose write EPISODES SEGMENTS AUDIO_KB   writes chunks with the product's writers and uploads them
    choose all|run|episodes|rows COUNTS       reads everything, or a chosen hundredth

A hundredth of the rows is a run of consecutive episodes, as many episodes at random, or as many rows at random: a
band of DNSMOS each, so that the index is asked as in the document. Audio is smaller than real audio. Row groups and
parts have as many rows as with 80 kB a row and the default settings.
"""

import hashlib
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import HfApi

from bench.jobs import report
from bench.line import ROOT, received
from r2_hf_assets.bucket.segments import Segment
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.shards.index import IndexHeader, IndexWriter
from r2_hf_assets.shards.names import index_path, path_in_repo, shard_names
from r2_hf_assets.shards.record import ShardFile
from r2_hf_assets.shards.rowgroup import RowGroup
from r2_hf_assets.shards.writer import Content, PartWriter, group_limit

_LANGUAGE, _PREFIX = "en", "processed/"
_EPISODES_PER_CHUNK = 1000
_ROWGROUP_ROWS, _PART_ROWS = 400, 26_000
_SHARE = 100  # one of so many rows is chosen
_BANDS = {"run": 4.65, "episodes": 4.75, "rows": 4.85}  # the middles, 0.1 wide; other rows are below
_WORDS = 35  # of a segment of 13 s


@dataclass
class _File:
    """An upload into memory, until the number of parts and so their names are known."""

    parts: list[bytes]

    def begin(self) -> "_File":
        self.body = BytesIO()
        return self

    def write(self, data: bytes) -> None:
        self.body.write(data)

    def finish(self) -> Content:
        self.parts.append(self.body.getvalue())
        return Content(len(self.parts[-1]), hashlib.sha256(self.parts[-1]).hexdigest())


class _Texts:
    """Texts of invented words by Zipf's law, as compressible as English: 10 bits a word."""

    def __init__(self, draw: np.random.Generator) -> None:
        self._draw = draw
        self._words = ["".join(map(chr, draw.integers(97, 123, int(size)))) for size in draw.poisson(4, 20_000) + 1]
        weights = 1 / np.arange(1, len(self._words) + 1)
        self._weights = weights / weights.sum()

    def episode(self, segments: int) -> list[str]:
        chosen = self._draw.choice(len(self._words), (segments, _WORDS), p=self._weights)
        return [" ".join(self._words[word] for word in row) for row in chosen]


def write(episodes: int, segments: int, audio_kb: float) -> None:
    """Write and upload the dataset, and report the bytes of its index a row."""
    draw, folder = np.random.default_rng(5), Path("dataset")
    texts, kinds = _Texts(draw), _kinds(draw, episodes, segments)
    for number, first in enumerate(range(0, episodes, _EPISODES_PER_CHUNK)):
        names = range(first, min(first + _EPISODES_PER_CHUNK, episodes))
        rows = (row for one in names for row in _episode(draw, texts, one, segments, kinds[one]))
        chunk = [f"{_LANGUAGE}/{_name(one)}" for one in names]
        for path, body in _chunk(number, chunk, rows, draw, audio_kb):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(body)
    api, repo = HfApi(endpoint=os.environ["HF_ENDPOINT"], token=os.environ["HF_TOKEN"]), os.environ["HF_REPO_ID"]
    api.create_repo(repo, repo_type="dataset")
    api.upload_folder(repo_id=repo, repo_type="dataset", folder_path=folder)
    files = list(folder.glob("metadata/*/*.parquet"))
    size, text = sum(file.stat().st_size for file in files), 0
    for metadata in map(pq.read_metadata, files):
        columns = [metadata.row_group(group).column(c) for group in range(metadata.num_row_groups) for c in range(17)]
        text += sum(one.total_compressed_size for one in columns if one.path_in_schema == "text")
    data = sum(file.stat().st_size for file in folder.glob("data/*/*.parquet"))
    report(rows=episodes * segments, index_bytes=size, text_bytes=text, data_bytes=data)


def _kinds(draw: np.random.Generator, episodes: int, segments: int) -> np.ndarray:
    """Return the DNSMOS of each row of each episode."""
    scores = draw.uniform(1.5, 4.5, (episodes, segments)).astype(np.float32)
    share = max(1, episodes // _SHARE)
    start = episodes // 3
    scores[start : start + share] = _BANDS["run"]
    others = [one for one in range(episodes) if not start <= one < start + share]
    at_random = draw.permutation(others)
    scores[at_random[:share]] = _BANDS["episodes"]
    free = [(one, segment) for one in at_random[share:] for segment in range(segments)]
    for place in draw.choice(len(free), share * segments, replace=False):
        scores[free[place]] = _BANDS["rows"]
    return scores


def _name(episode: int) -> str:
    return hashlib.sha256(str(episode).encode()).hexdigest()[:16]


def _episode(
    draw: np.random.Generator, texts: _Texts, number: int, segments: int, scores: np.ndarray
) -> Iterator[Segment]:
    name, end = _name(number), 0.0
    for index, text in enumerate(texts.episode(segments)):
        start = round(end + float(draw.exponential(1.0)), 3)
        end = round(start + float(draw.uniform(4, 22)), 3)
        yield Segment(
            f"{_LANGUAGE}/{name}", index, f"{_PREFIX}{_LANGUAGE}/{name}/{name}_{index:06d}.mp3", text,
            f"SPEAKER_{draw.integers(3):02d}", start, end, end - start, float(scores[index]), _LANGUAGE, False, False,
        )  # fmt: skip


def _chunk(
    number: int, episodes: Sequence[str], rows: Iterator[Segment], draw: np.random.Generator, audio_kb: float
) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a chunk, each with its path."""
    row_bytes = audio_kb * 1000 + 300  # key and text
    limit = int(_PART_ROWS * row_bytes)
    group, index = RowGroup(group_limit(int(_ROWGROUP_ROWS * row_bytes), limit)), IndexWriter(_LANGUAGE, number)
    hashes: list[int] = []

    def flush(writer: PartWriter) -> None:
        index.place(*writer.write(group.to_table(), group.size), hashes)
        group.clear()
        hashes.clear()

    parts: list[bytes] = []
    with PartWriter(_File(parts), limit) as writer:
        for row in rows:
            body = draw.bytes(int(draw.uniform(0.4, 1.6) * audio_kb * 1000))
            if not group.has_room(row, len(body)):
                flush(writer)
            group.add(row, [body])
            index.add_row(row, len(body))
            hashes.append(int(draw.integers(2**63)))
        flush(writer)
    names = [path_in_repo(_LANGUAGE, name) for name in shard_names(number, len(parts))]
    files = tuple(
        ShardFile(name, part.rows, part.size, part.sha256) for name, part in zip(names, writer.parts, strict=True)
    )
    manifest = ChunkManifest(_LANGUAGE, number, _PREFIX, tuple(episodes))
    etags = tuple((episode, _name(len(episode)) * 2) for episode in episodes)
    header = IndexHeader("0" * 32, _LANGUAGE, number, _PREFIX, manifest.digest, etags, files)
    yield from zip(names, parts, strict=True)
    yield index_path(_LANGUAGE, number), index.finish(header)


def read(what: str, counts: Path) -> None:
    """Report rows, row groups, seconds, and bytes received: of the index, and in all."""
    document = (ROOT / "docs" / "reading.md").read_text()
    choose, _, read, *_ = re.findall(r"^```python\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    code: dict[str, Any] = {}
    exec(read.partition("\nfor table in ")[0], code)
    if what != "all":
        middle = _BANDS[what]
        condition = f"dnsmos BETWEEN {middle - 0.05} AND {middle + 0.05} AND reject_reason IS NULL"
        choose, replaced = re.subn(r"WHERE .*", f"WHERE {condition}", choose)
        assert replaced == 1
    else:
        choose = choose.partition("\nduckdb.register_filesystem")[0]
    import duckdb  # the clock starts after the imports
    import huggingface_hub  # noqa: F401

    assert duckdb
    started, before = time.monotonic(), received(counts)
    exec(choose.replace("owner/name", os.environ["HF_REPO_ID"]), code)
    chosen = code["chosen"] if what != "all" else _everything(code)
    indexed, choosing = 0 if what == "all" else received(counts) - before, time.monotonic() - started
    rows = groups = audio = 0
    for table in code["read_rows"](chosen):
        rows, groups, audio = rows + table.num_rows, groups + 1, audio + table["audio"].nbytes
    assert rows == chosen.num_rows
    total = received(counts) - before
    seconds = time.monotonic() - started
    report(rows=rows, groups=groups, index=indexed, bytes=total, choosing=choosing, seconds=seconds, audio=audio)


def _everything(code: dict[str, Any]) -> pa.Table:
    """Return every row's place, from the footers."""
    places: dict[str, list[Any]] = {"file": [], "row_group": [], "row": []}
    for path in code["hub"].glob(f"{code['root']}/data/*/*.parquet"):
        with code["hub"].open(path) as file:
            metadata = pq.read_metadata(file)
        for group in range(metadata.num_row_groups):
            count = metadata.row_group(group).num_rows
            places["file"] += [path.removeprefix(f"{code['root']}/")] * count
            places["row_group"] += [group] * count
            places["row"] += range(count)
    return pa.table(places)


def main(arguments: Sequence[str]) -> None:
    what, *rest = arguments
    if what == "write":
        write(int(rest[0]), int(rest[1]), float(rest[2]))
    else:
        read(what, Path(rest[0]))
        sys.stdout.flush()
        os._exit(0)  # Arrow's threads can still use a Python file when the interpreter ends


if __name__ == "__main__":
    main(sys.argv[1:])
