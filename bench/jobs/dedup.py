"""Bytes sent when a committed chunk is built again: `dedup BATCH_ROWS CDC EPISODES SEGMENTS`.

Streams a chunk's rows to the Hub with the product's options except the two under test: a first time, again unchanged,
and with one episode in the middle changed (other audio of other lengths, and one segment more). The cache is empty each
time, so only the Hub's global deduplication finds stored chunks.
"""

import json
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from urllib.request import urlopen

from bench.jobs import report
from r2_hf_assets.bucket.segments import Segment
from r2_hf_assets.hub.build import open_upload
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.settings import load_partial
from r2_hf_assets.shards import schema
from r2_hf_assets.shards.rowgroup import RowGroup
from r2_hf_assets.shards.writer import PartWriter, Upload

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
        number=index,
        key=f"processed/en/{name}/{name}_{index:06d}.mp3",
        text=words,
        speaker_id=f"SPEAKER_{draw.randrange(3):02d}",
        start=float(index),
        end=index + 20.0,
        duration=draw.uniform(3, 20),
        dnsmos=draw.uniform(2, 4),
        language="en",
        repaired=False,
        settling=False,
    )


def _write(upload: Upload, rows: Iterator[tuple[Segment, bytes]], limit: int) -> tuple[float, int]:
    """Write one part of row groups of `limit` bytes; return the seconds of writing, and the bytes."""
    group, seconds = RowGroup(limit), 0.0
    with PartWriter(upload, 2**40) as writer:

        def flush() -> float:
            started = time.monotonic()
            writer.write(group.to_table(), group.size)
            group.clear()
            return time.monotonic() - started

        for segment, body in rows:
            if not group.has_room(segment, len(body)):
                seconds += flush()
            group.add(segment, [body])
        seconds += flush()
    return seconds, writer.parts[0].size


def _sent(endpoint: str) -> int:
    """Return the bytes of all bodies sent to the content store, by the Hub's log of requests."""
    with urlopen(f"{endpoint}/_sandbox/requests") as response:
        requests = json.load(response)["requests"]
    uploads = [request for request in requests if request["method"] == "POST" and "/v1/" in request["path"]]
    return sum(int(request["headers"].get("content-length", 0)) for request in uploads)


def main(arguments: Sequence[str]) -> None:
    batch, cdc, episodes, segments = (int(argument) for argument in arguments)
    settings = load_partial()
    assert settings.hub is not None
    schema.WRITER_OPTIONS.update(write_batch_size=batch, use_content_defined_chunking=bool(cdc))
    repo = HubClient(settings.hub)
    repo.create_repo()
    sent, size, seconds = [0], 0, 0.0
    for changed in (None, None, episodes // 2):
        # As on another machine, without a cache of earlier uploads.
        shutil.rmtree(os.environ["HF_HOME"], ignore_errors=True)
        with open_upload(repo, settings.shards, "en", 0) as upload:
            elapsed, size = _write(upload, _rows(episodes, segments, changed), settings.shards.rowgroup_bytes)
        seconds += elapsed / 3
        sent.append(_sent(settings.hub.endpoint))
    first, unchanged, changed_bytes = (after - before for before, after in pairwise(sent))
    episode = sum(len(body) for _, body in _rows(episodes, segments, episodes // 2)) // episodes
    report(seconds=seconds, bytes=size, first=first, unchanged=unchanged, changed=changed_bytes, episode=episode)


if __name__ == "__main__":
    main(sys.argv[1:])
