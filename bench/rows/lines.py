"""Rows `line` and `one_chunk`: the job where the lines are the limit, and not the cores of this machine.

S3 server and Hub each have a line of their own of 40 MB/s in each direction, 30 ms longer for every answer. A job that
moves bytes one way after the other takes the time of both lines; one that uploads while it downloads takes that of the
slower one.
"""

import shlex
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench.arena import Arena, Place
from bench.baselines import download, installed, materialize, missing, upload
from bench.compare import Figure, Row, alternate, ratio, tell, typical
from bench.line import Line, open_line
from bench.measure import Sample

_DELAY_S = 0.030
_RATE = 40e6
_LINES = f"{_RATE / 1e6:.0f} MB/s and {_DELAY_S * 1e3:.0f} ms to S3 server and Hub"


def line(arena: Arena) -> Row:
    what = f"the whole job, {_LINES}"
    baseline = "`s5cmd cp` of the prefix, then `hf upload` of a finished Parquet, over the same lines"
    if not installed("s5cmd"):
        return Row("line", what, baseline, (), missing=missing("s5cmd"))
    bucket, built = arena.speech(), arena.built()

    def ours(chunk_episodes: int) -> Sample:
        with _slow_place(arena, bucket, chunk_episodes) as place:
            return place.job("process")

    def theirs() -> Sample:
        with _slow_place(arena, bucket) as place:
            source = download(place.env["R2_ENDPOINT_URL"], bucket)
            return place.run(["sh", "-c", f"{shlex.join(source)} && {shlex.join(upload(built))}"])

    runs = {
        "ours": lambda: ours(arena.sizes.chunk_episodes),
        "ours, a chunk for each language": lambda: ours(arena.sizes.episodes),
        "s5cmd + hf": theirs,
    }
    samples = alternate(runs, arena.rounds, arena.say)
    return Row(
        "line",
        what,
        baseline,
        (Figure("wall", ratio(samples, "ours", "s5cmd + hf"), 0.55),),
        tell(samples),
        samples=samples,
    )


def one_chunk(arena: Arena) -> Row:
    bucket = arena.chunked()
    episodes = arena.sizes.big_chunk_episodes
    keys = arena.keys(bucket, episodes)
    built = arena.finished(bucket, keys, 1)

    def ours() -> Sample:
        with _slow_place(arena, bucket, episodes) as place:
            place.job("process", "0")
            return place.run(materialize())

    def gets() -> Sample:
        with _slow_s3(arena) as url, arena.place(bucket, R2_ENDPOINT_URL=url) as place:
            return place.job("gets", str(keys))

    def uploads() -> Sample:
        with _slow_line() as hub, arena.place(bucket, line=hub) as place:
            return place.run(upload(built))

    samples = alternate({"ours": ours, "GETs": gets, "hf upload": uploads}, arena.rounds, arena.say)
    slower = max("GETs", "hf upload", key=lambda name: typical(samples[name]))
    return Row(
        "one_chunk",
        f"one chunk of {_size(built) / 1e6:,.0f} MB as a process of its own, {_LINES}",
        "the slower of bare GETs of its keys and `hf upload` of its Parquet, each alone over its line",
        (Figure("wall", ratio(samples, "ours", slower), 1.15),),
        (*tell(samples), f"the slower one: {slower}"),
        samples=samples,
    )


@contextmanager
def _slow_place(arena: Arena, bucket: str, chunk_episodes: int = 1000) -> Iterator[Place]:
    """A place that reaches each server over a slow line of its own."""
    with (
        _slow_s3(arena) as url,
        _slow_line() as hub,
        arena.place(bucket, line=hub, R2_ENDPOINT_URL=url, EPISODES_PER_CHUNK=str(chunk_episodes)) as place,
    ):
        yield place


def _slow_line() -> AbstractContextManager[Line]:
    return open_line(delay_s=_DELAY_S, rate=_RATE)


@contextmanager
def _slow_s3(arena: Arena) -> Iterator[str]:
    """The S3 server's URL over a slow line."""
    with _slow_line() as line:
        line.lead_to(arena.s3.endpoint_url)
        yield line.url


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
