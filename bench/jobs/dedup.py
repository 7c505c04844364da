"""What Xet uploads again when a chunk is rebuilt with one episode changed: `dedup BATCH_ROWS CDC EPISODES SEGMENTS`.

Writes a chunk's rows with the product's options but for the two under test, uploads the file, changes one episode in
the middle (its audio replaced by other audio of other lengths, and one segment more), writes and uploads again. What
was uploaded is read off the Hub's folder, ./hub: the bytes of the content that it stores.
"""

import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.jobs import say
from r2_hf_assets.bucket.segments import Segment
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.settings import load
from r2_hf_assets.shards.rowgroup import RowGroup
from r2_hf_assets.shards.schema import SCHEMA, WRITER_OPTIONS

_AUDIO_BYTES = (30_000, 120_000)


def _rows(episodes: int, segments: int, changed: int | None) -> Iterator[tuple[Segment, bytes]]:
    for episode in range(episodes):
        other = episode == changed
        draw = random.Random(f"{episode}{' changed' if other else ''}")
        for index in range(segments + other):
            body = draw.randbytes(draw.randint(*_AUDIO_BYTES))
            yield _segment(episode, index, draw), body


def _segment(episode: int, index: int, draw: random.Random) -> Segment:
    name = f"episode_{episode:05d}"
    words = " ".join(f"word{draw.randrange(5000)}" for _ in range(draw.randint(5, 40)))
    return Segment(
        episode=f"en/{name}",
        key=f"processed/en/{name}/{name}_{index:06d}.mp3",
        text=words,
        speaker_id=f"SPEAKER_{draw.randrange(3):02d}",
        duration=draw.uniform(3, 20),
        dnsmos=draw.uniform(2, 4),
        language="en",
        repaired=False,
        settling=False,
    )


def _write(path: Path, rows: Iterator[tuple[Segment, bytes]], limit: int, options: dict) -> float:
    """Write a file of row groups of `limit` bytes; the seconds that writing took."""
    group, seconds = RowGroup(limit), 0.0
    with pq.ParquetWriter(path, SCHEMA, **options) as writer:

        def flush() -> float:
            started = time.monotonic()
            table: pa.Table = group.to_table()
            writer.write_table(table, row_group_size=table.num_rows)
            group.clear()
            return time.monotonic() - started

        for segment, body in rows:
            if not group.has_room(segment, len(body)):
                seconds += flush()
            group.add(segment, [body])
        seconds += flush()
    return seconds


def _stored() -> int:
    return sum(path.stat().st_size for path in Path("hub").rglob("*") if path.is_file())


def main(arguments: Sequence[str]) -> None:
    batch, cdc, episodes, segments = (int(argument) for argument in arguments)
    settings = load(needs=["hub"])
    assert settings.hub is not None
    options = WRITER_OPTIONS | {"write_batch_size": batch, "use_content_defined_chunking": bool(cdc)}
    repo = HubClient(settings.hub)
    repo.create_repo()
    uploaded, path = [], Path("chunk.parquet")
    for changed in (None, episodes // 2):
        seconds = _write(path, _rows(episodes, segments, changed), settings.shards.rowgroup_bytes, options)
        before = _stored()
        repo.upload([("data/en/chunk-00000.parquet", path)])
        uploaded.append(_stored() - before)
    episode = sum(len(body) for _, body in _rows(episodes, segments, episodes // 2)) // episodes
    say(seconds=seconds, bytes=path.stat().st_size, first=uploaded[0], again=uploaded[1], episode=episode)


if __name__ == "__main__":
    main(sys.argv[1:])
