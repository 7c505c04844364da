"""Sample episodes for a bucket: real MP3s and metadata of the shape the product reads, the same bytes for a seed.

    <prefix><folder>/<episode_id>/all_segments.json, filtered_segments.json, <episode_id>_000000.mp3, ...

`sample_bucket(put, seed=1)` calls `put(key, body)` for every object and returns the expected rows and rejects. An
episode depends only on seed, folder and number, so a larger bucket contains the smaller one, and a later call with
higher counts adds episodes as an uploader would. `awkward=True` adds, to the first folder, one episode for each defect
of real buckets; see awkward.py.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from r2_hf_sandbox.s3.server import S3Server
from r2_hf_sandbox.samples.awkward import DEFECTS
from r2_hf_sandbox.samples.episode import Episode, ExpectedReject, ExpectedRow, make_episode

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


def sample_bucket(
    put: Put,
    *,
    seed: int,
    episodes: Mapping[str, int] = DEFAULT_EPISODES,
    segments: tuple[int, int] = (3, 6),
    seconds: tuple[float, float] = (1.0, 4.0),
    prefix: str = "processed/",
    awkward: bool = False,
    expect: bool = True,
) -> SampleSummary:
    """Put sample episodes.

    Args:
        put: called with each key and body.
        episodes: count by folder name.
        segments: fewest and most of an episode.
        seconds: shortest and longest segment; a second is 6 kB.
        awkward: also the damaged episodes.
        expect: False leaves `rows` out of the summary, for big buckets.
    """
    count: Counter[str] = Counter()
    rows: list[ExpectedRow] = []
    rejects: list[ExpectedReject] = []
    for episode in sample_episodes(
        seed=seed, episodes=episodes, segments=segments, seconds=seconds, prefix=prefix, awkward=awkward
    ):
        for key, body in episode.objects:
            put(key, body)
            count["audio_bytes"] += len(body) if key.endswith(".mp3") else 0
        count["episodes"] += 1
        count["segments"] += len(episode.rows)
        count["objects"] += len(episode.objects)
        rejects.extend(episode.rejects)
        if expect:
            rows.extend(episode.rows)
    return SampleSummary(
        episodes=count["episodes"],
        segments=count["segments"],
        audio_bytes=count["audio_bytes"],
        objects=count["objects"],
        rows=tuple(rows),
        rejects=tuple(rejects),
    )


def sample_episodes(
    *,
    seed: int,
    episodes: Mapping[str, int] = DEFAULT_EPISODES,
    segments: tuple[int, int] = (3, 6),
    seconds: tuple[float, float] = (1.0, 4.0),
    prefix: str = "processed/",
    awkward: bool = False,
) -> Iterator[Episode]:
    """Yield the same episodes one by one."""
    for folder, count in episodes.items():
        for number in range(count):
            yield make_episode(seed, folder, number, segments, seconds, prefix)
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
