"""Row `chunks`: what each further chunk of one run costs over its data, beside a new process for it.

Time a chunk is taken from the first chunk's end to the last one's: start-up is paid once and not counted. The data time
is that of the same chunks built and committed by the data plane alone.
"""

from bench.arena import Arena
from bench.baselines import command
from bench.compare import Figure, Row, alternate, said, tell, typical
from bench.measure import Sample

_SEGMENTS = (5, 5)
_SECONDS = (1.0, 2.0)


def chunks(arena: Arena) -> Row:
    count = arena.sizes.chunks
    bucket = arena.bucket("chunks", episodes={"en": count}, segments=_SEGMENTS, seconds=_SECONDS)

    def run(job: str) -> Sample:
        with arena.place(bucket, hub=True, EPISODES_PER_CHUNK="1") as place:
            return place.job(job)

    def new_process() -> Sample:
        with arena.place(bucket, hub=True, EPISODES_PER_CHUNK="1") as place:
            place.job("process", "0")
            return place.run(
                [
                    *(command("dagster"), "asset", "materialize", "-m", "r2_hf_assets.definitions"),
                    *("--select", "parquet_shards,hub_commit", "--partition", "en|chunk_0000"),
                ]
            )

    runs = {"one run": lambda: run("process"), "data alone": lambda: run("data_plane"), "new process": new_process}
    samples = alternate(runs, arena.rounds, arena.say)
    data = typical(samples["data alone"], said("seconds_a_chunk"))
    inside = typical(samples["one run"], said("seconds_a_chunk"))
    outside = typical(samples["new process"])
    return Row(
        "chunks",
        f"each further chunk inside one run of {count}",
        "a new `dagster asset materialize`",
        (Figure("over its data time", inside - data, 0.4, "s"),),
        (
            f"a chunk: {inside:.3f} s in the run, {data:.3f} s of it data; a new process: {outside:.2f} s",
            *tell(samples),
        ),
        samples=samples,
    )
