"""Rows `build`, `cpu` and `parquet`: a build against bare GETs, CPU without Dagster, Parquet against defaults."""

from functools import partial

from bench.compare import Figure, Row, alternate, cpu, ratio, reported, summarize, typical
from bench.measure import Sample
from bench.testbed import Testbed


def build(testbed: Testbed) -> Row:
    def run(job: str, *arguments: str) -> Sample:
        with testbed.workspace(testbed.speech()) as workspace:
            return workspace.job(job, *arguments)

    keys = str(testbed.keys(testbed.speech()))
    runs = {"ours": lambda: run("build"), "GETs": lambda: run("gets", keys)}
    samples = alternate(runs, testbed.rounds, testbed.log)
    return Row(
        "build",
        "fetch + build shards, no upload",
        "GETs of the same keys with obstore, 128 threads, nothing else",
        (Figure("wall", ratio(samples, "ours", "GETs"), 1.35),),
        (
            *summarize(samples),
            f"without start and imports: {ratio(samples, 'ours', 'GETs', reported('seconds')):.2f}x wall; "
            f"CPU {ratio(samples, 'ours', 'GETs', cpu):.2f}x",
        ),
        samples=samples,
    )


def cpu_a_gb(testbed: Testbed) -> Row:
    def run() -> Sample:
        episodes = str(testbed.sizes.chunk_episodes)
        with testbed.workspace(testbed.speech(), hub=True, EPISODES_PER_CHUNK=episodes) as workspace:
            return workspace.job("data_plane")

    samples = alternate({"ours": run}, testbed.rounds, testbed.log)
    used = typical(samples["ours"], lambda sample: sample.reported["cpu"] / sample.reported["bytes"] * 1e9)
    return Row(
        "cpu",
        "bucket to commit, without start and Dagster",
        "",
        (Figure("CPU seconds a GB", used, 5.5, "s"),),
        summarize(samples),
        samples=samples,
    )


def parquet(testbed: Testbed) -> Row:
    def run(variant: str) -> Sample:
        with testbed.workspace(testbed.speech()) as workspace:
            return workspace.job("parquet", variant, *shards)

    shards = [str(path) for path in sorted(testbed.built().rglob("*.parquet"))]
    samples = alternate({name: partial(run, name) for name in ("ours", "defaults")}, testbed.rounds, testbed.log)
    return Row(
        "parquet",
        "Parquet writing",
        "the same rows with ParquetWriter defaults",
        (
            Figure("wall", ratio(samples, "ours", "defaults", reported("seconds")), 0.45),
            Figure("file size", ratio(samples, "ours", "defaults", reported("bytes")), 1.0),
        ),
        tuple(
            f"{variant}: {typical(runs, reported('seconds')):.2f} s, {typical(runs, reported('cpu')):.2f} CPU s writing"
            for variant, runs in samples.items()
        ),
        samples=samples,
    )
