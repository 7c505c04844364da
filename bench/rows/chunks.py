"""Row `chunks`: the overhead of each further chunk of one run, beside a new process for it.

Time a chunk is measured from the first chunk's end to the last one's, so the start is not counted. The data time is
that of the same chunks built and committed by the data plane alone.
"""

from bench.baselines import materialize
from bench.compare import Figure, Row, alternate, reported, summarize, typical
from bench.measure import Sample
from bench.testbed import Testbed

_SEGMENTS = (5, 5)
_SECONDS = (1.0, 2.0)


def chunks(testbed: Testbed) -> Row:
    count = testbed.sizes.chunks
    bucket = testbed.bucket("chunks", episodes={"en": count}, segments=_SEGMENTS, seconds=_SECONDS)

    def run(job: str) -> Sample:
        with testbed.workspace(bucket, hub=True, EPISODES_PER_CHUNK="1") as workspace:
            return workspace.job(job)

    def new_process() -> Sample:
        with testbed.workspace(bucket, hub=True, EPISODES_PER_CHUNK="1") as workspace:
            workspace.job("process", "0")
            return workspace.run(materialize())

    runs = {"one run": lambda: run("process"), "data alone": lambda: run("data_plane"), "new process": new_process}
    samples = alternate(runs, testbed.rounds, testbed.log)
    data = typical(samples["data alone"], reported("seconds_a_chunk"))
    inside = typical(samples["one run"], reported("seconds_a_chunk"))
    outside = typical(samples["new process"])
    return Row(
        "chunks",
        f"each further chunk inside one run of {count}",
        "a new `dagster asset materialize`",
        (Figure("over its data time", inside - data, 0.4, "s"),),
        (
            f"a chunk: {inside:.3f} s in the run, {data:.3f} s of it data; a new process: {outside:.2f} s",
            *summarize(samples),
        ),
        samples=samples,
    )
