"""Rows `build`, `cpu` and `parquet`: fetch and build against bare GETs, the CPU of all but Dagster, and the Parquet
writer against its defaults.
"""

from functools import partial

from bench.arena import Arena
from bench.compare import Figure, Row, alternate, cpu, ratio, said, tell, typical
from bench.measure import Sample


def build(arena: Arena) -> Row:
    def run(job: str, *arguments: str) -> Sample:
        with arena.place(arena.speech()) as place:
            return place.job(job, *arguments)

    keys = str(arena.keys(arena.speech()))
    runs = {"ours": lambda: run("build"), "GETs": lambda: run("gets", keys)}
    samples = alternate(runs, arena.rounds, arena.say)
    return Row(
        "build",
        "fetch + build shards, no upload",
        "GETs of the same keys with obstore, 128 threads, nothing else",
        (Figure("wall", ratio(samples, "ours", "GETs"), 1.35),),
        (
            *tell(samples),
            f"without start and imports: {ratio(samples, 'ours', 'GETs', said('seconds')):.2f}x wall; "
            f"CPU {ratio(samples, 'ours', 'GETs', cpu):.2f}x",
        ),
        samples=samples,
    )


def cpu_a_gb(arena: Arena) -> Row:
    def run() -> Sample:
        with arena.place(arena.speech(), hub=True, EPISODES_PER_CHUNK=str(arena.sizes.chunk_episodes)) as place:
            return place.job("data_plane")

    samples = alternate({"ours": run}, arena.rounds, arena.say)
    used = typical(samples["ours"], lambda sample: sample.said["cpu"] / sample.said["bytes"] * 1e9)
    return Row(
        "cpu",
        "bucket to commit, without start and Dagster",
        "",
        (Figure("CPU seconds a GB", used, 5.5, "s"),),
        tell(samples),
        samples=samples,
    )


def parquet(arena: Arena) -> Row:
    def run(way: str) -> Sample:
        with arena.place(arena.speech()) as place:
            return place.job("parquet", way, *shards)

    shards = [str(path) for path in sorted(arena.built().rglob("*.parquet"))]
    samples = alternate({way: partial(run, way) for way in ("ours", "defaults")}, arena.rounds, arena.say)
    seconds = {way: typical(runs, said("seconds")) for way, runs in samples.items()}
    return Row(
        "parquet",
        "Parquet writing",
        "the same rows with ParquetWriter defaults",
        (
            Figure("wall", ratio(samples, "ours", "defaults", said("seconds")), 0.45),
            Figure("file size", ratio(samples, "ours", "defaults", said("bytes")), 1.0),
        ),
        (*(f"{way}: {seconds[way]:.2f} s, {typical(samples[way], said('cpu')):.2f} CPU s writing" for way in seconds),),
        samples=samples,
    )
