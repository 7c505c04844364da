"""Rows `line` and `one_chunk`: the job where the lines are the limit, not the cores of this machine.

S3 server and Hub each have a line of 40 MB/s in each direction, with 30 ms added to every response. A sequential job
takes the time of both lines; one that uploads while it downloads takes that of the slower one.
"""

import shlex
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench.baselines import download, materialize, missing, upload
from bench.compare import Figure, Row, alternate, ratio, summarize, typical
from bench.line import Line, open_line
from bench.measure import Sample
from bench.testbed import Testbed, Workspace

_DELAY_S = 0.030
_RATE = 40e6
_LINES = f"{_RATE / 1e6:.0f} MB/s and {_DELAY_S * 1e3:.0f} ms to S3 server and Hub"


def line(testbed: Testbed) -> Row:
    what = f"the whole job, {_LINES}"
    baseline = "`s5cmd cp` of the prefix, then `hf upload` of a finished Parquet, over the same lines"
    if reason := missing("s5cmd"):
        return Row("line", what, baseline, (), missing=reason)
    bucket, built = testbed.speech(), testbed.built()

    def ours(chunk_episodes: int) -> Sample:
        with _slow_workspace(testbed, bucket, chunk_episodes) as workspace:
            return workspace.job("process")

    def transfer() -> Sample:
        with _slow_workspace(testbed, bucket) as workspace:
            source = download(workspace.env["R2_ENDPOINT_URL"], bucket)
            return workspace.run(["sh", "-c", f"{shlex.join(source)} && {shlex.join(upload(built))}"])

    runs = {
        "ours": lambda: ours(testbed.sizes.chunk_episodes),
        "ours, a chunk for each language": lambda: ours(testbed.sizes.episodes),
        "s5cmd + hf": transfer,
    }
    samples = alternate(runs, testbed.rounds, testbed.log)
    return Row(
        "line",
        what,
        baseline,
        (Figure("wall", ratio(samples, "ours", "s5cmd + hf"), 0.55),),
        summarize(samples),
        samples=samples,
    )


def one_chunk(testbed: Testbed) -> Row:
    bucket = testbed.chunked()
    episodes = testbed.sizes.big_chunk_episodes
    keys = testbed.keys(bucket, episodes)
    built = testbed.finished(bucket, keys, 1)

    def ours() -> Sample:
        with _slow_workspace(testbed, bucket, episodes) as workspace:
            workspace.job("process", "0")
            return workspace.run(materialize())

    def gets() -> Sample:
        with _slow_s3(testbed) as url, testbed.workspace(bucket, R2_ENDPOINT_URL=url) as workspace:
            return workspace.job("gets", str(keys))

    def uploads() -> Sample:
        with _slow_line() as hub, testbed.workspace(bucket, line=hub) as workspace:
            return workspace.run(upload(built))

    samples = alternate({"ours": ours, "GETs": gets, "hf upload": uploads}, testbed.rounds, testbed.log)
    slower = max("GETs", "hf upload", key=lambda name: typical(samples[name]))
    return Row(
        "one_chunk",
        f"one chunk of {_size(built) / 1e6:,.0f} MB as a process of its own, {_LINES}",
        "the slower of bare GETs of its keys and `hf upload` of its Parquet, each alone over its line",
        (Figure("wall", ratio(samples, "ours", slower), 1.15),),
        (*summarize(samples), f"the slower one: {slower}"),
        samples=samples,
    )


@contextmanager
def _slow_workspace(testbed: Testbed, bucket: str, chunk_episodes: int = 1000) -> Iterator[Workspace]:
    """Make a workspace with a slow line to each server."""
    with (
        _slow_s3(testbed) as url,
        _slow_line() as hub,
        testbed.workspace(bucket, line=hub, R2_ENDPOINT_URL=url, EPISODES_PER_CHUNK=str(chunk_episodes)) as workspace,
    ):
        yield workspace


def _slow_line() -> AbstractContextManager[Line]:
    return open_line(delay_s=_DELAY_S, rate=_RATE)


@contextmanager
def _slow_s3(testbed: Testbed) -> Iterator[str]:
    """Yield the S3 server's URL over a slow line."""
    with _slow_line() as line:
        line.connect(testbed.s3.endpoint_url)
        yield line.url


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
