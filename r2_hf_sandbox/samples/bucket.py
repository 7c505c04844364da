"""Sample episodes for a bucket: real MP3s and metadata of the shape the product reads, the same bytes for a seed.

    <prefix><folder>/<episode_id>/all_segments.json, filtered_segments.json, <episode_id>_000000.mp3, ...

`sample_bucket(put, seed=1)` calls `put(key, body)` for every object and returns the expected rows and rejects. An
episode depends only on seed, folder and number, so a larger bucket contains the smaller one, and a later call with
higher counts adds episodes as an uploader would. `add_samples` adds so many to what is there, and overwrites nothing.
`awkward=True` adds, to the first folder, one episode for each defect of real buckets; see awkward.py.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from r2_hf_sandbox.s3.server import S3Server
from r2_hf_sandbox.samples.awkward import DEFECTS
from r2_hf_sandbox.samples.episode import Episode, ExpectedReject, ExpectedRow, episode_id_of, make_episode

Put = Callable[[str, bytes], None]

DEFAULT_EPISODES: Mapping[str, int] = {
    "en": 4,
    "en-US": 2,
    "en_gb": 1,
    "ENG": 1,
    "en-ZH": 1,
    "de": 2,
    "deu": 1,
    "fr": 2,
    "es": 2,
    "ja": 2,
    "in": 1,
    "yue": 1,
    "unknown": 1,
    "junk": 1,
}
PREFIX = "processed/"
MAX_IN_FLIGHT_A_WORKER = 4


@dataclass(frozen=True)
class SampleSummary:
    """The uploaded samples. `segments` counts the expected rows; `rows` is empty with `expect=False`."""

    episodes: int
    segments: int
    audio_bytes: int
    objects: int
    rows: tuple[ExpectedRow, ...]
    rejects: tuple[ExpectedReject, ...]


def scaled_episodes(total: int) -> dict[str, int]:
    """Return `total` episodes over the default folders, in their proportions."""
    folders = [folder for folder, count in DEFAULT_EPISODES.items() for _ in range(count)]
    return dict(Counter(folders[number % len(folders)] for number in range(total)))


def sample_bucket(put: Put, *, expect: bool = True, **options: Any) -> SampleSummary:
    """Call `put` with each key and body of `sample_episodes`.

    Args:
        expect: False leaves `rows` out of the summary, for big buckets.
    """
    counts: Counter[str] = Counter()
    rows: list[ExpectedRow] = []
    rejects: list[ExpectedReject] = []
    for episode in sample_episodes(**options):
        for key, body in episode.objects:
            put(key, body)
            counts["audio_bytes"] += len(body) if key.endswith(".mp3") else 0
        counts["episodes"] += 1
        counts["segments"] += len(episode.rows)
        counts["objects"] += len(episode.objects)
        rejects.extend(episode.rejects)
        if expect:
            rows.extend(episode.rows)
    return SampleSummary(
        episodes=counts["episodes"],
        segments=counts["segments"],
        audio_bytes=counts["audio_bytes"],
        objects=counts["objects"],
        rows=tuple(rows),
        rejects=tuple(rejects),
    )


def sample_episodes(
    *,
    seed: int,
    episodes: Mapping[str, int] = DEFAULT_EPISODES,
    segments: tuple[int, int] = (3, 6),
    seconds: tuple[float, float] = (1.0, 4.0),
    prefix: str = PREFIX,
    awkward: bool = False,
    kind: str = "ep",
    taken: Container[str] = (),
) -> Iterator[Episode]:
    """Yield sample episodes one by one.

    Args:
        episodes: count by folder name.
        segments: fewest and most of an episode.
        seconds: shortest and longest segment; a second is 6 kB.
        awkward: also the damaged episodes.
        kind: the start of their ids.
        taken: episodes to leave out, as "folder/id"; others take their place.
    """
    for folder, total in episodes.items():
        free = (n for n in count(0) if f"{folder}/{episode_id_of(seed, folder, n, kind)}" not in taken)
        for number in islice(free, total):
            yield make_episode(seed, folder, number, segments, seconds, prefix, kind)
    if awkward:
        folder = next(iter(episodes), "en")
        for name, damage in DEFECTS.items():
            yield damage(make_episode(seed, folder, name, (3, 3), seconds, prefix))


def upload_samples(server: S3Server, bucket: str, *, workers: int = 16, **options: Any) -> SampleSummary:
    """Upload `sample_bucket` to a bucket, created if missing, with `workers` uploads at a time."""
    from obstore.store import S3Store

    server.create_bucket(bucket)
    store = S3Store(
        bucket,
        endpoint=server.endpoint_url,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
        region="auto",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True, "proxy_excludes": "*"},
    )
    with ThreadPoolExecutor(workers) as pool:
        pending: set[Future[Any]] = set()

        def put(key: str, body: bytes) -> None:
            nonlocal pending
            pending.add(pool.submit(store.put, key, body))
            if len(pending) >= workers * MAX_IN_FLIGHT_A_WORKER:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for upload in done:
                    upload.result()

        summary = sample_bucket(put, **options)
        for upload in pending:
            upload.result()
    return summary


def add_samples(server: S3Server, bucket: str, *, episodes: Mapping[str, int], **options: Any) -> SampleSummary:
    """Upload so many more episodes of each folder: those of the seed that are not in the bucket yet."""
    pages = server.client().get_paginator("list_objects_v2")
    taken = {
        found["Prefix"].removeprefix(PREFIX).rstrip("/")
        for folder in episodes
        for page in pages.paginate(Bucket=bucket, Prefix=f"{PREFIX}{folder}/", Delimiter="/")
        for found in page.get("CommonPrefixes", ())
    }
    return upload_samples(server, bucket, episodes=episodes, taken=taken, expect=False, **options)
