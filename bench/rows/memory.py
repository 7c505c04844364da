"""Rows `memory` and `disk`: the memory and disk of a run, at default settings.

Memory: the peak of a run of one chunk of growing size (`dagster asset materialize`), and of several chunks in one
process (`r2-hf process`, the card included), both with their child processes; the plan exists before.
Disk: the growth of the run's folder without the Hub's, at most and at the end.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from bench.baselines import command, materialize
from bench.compare import Figure, Row, alternate, peak, reported, summarize, typical
from bench.disk import disk_use
from bench.measure import Sample
from bench.testbed import HUB, Testbed

_BOUND_MB = 550
_DISK_BOUND_MB = 80
_ROUNDS = 2
_SAME = 1.1  # two runs of one size differ by as much


def memory(testbed: Testbed) -> Row:
    sizes = testbed.sizes.memory_mb
    episodes = {size: math.ceil(size / testbed.sizes.episode_mb) for size in sizes}
    bucket = testbed.bucket("memory", episodes={"en": max(episodes.values())})
    several = f"{testbed.sizes.same_chunks} chunks of {testbed.sizes.same_chunk_mb} MB in one process"

    def one(size: int) -> Sample:
        # The first chunk of a plan with that many episodes a chunk.
        with testbed.workspace(bucket, hub=True, EPISODES_PER_CHUNK=str(episodes[size])) as workspace:
            workspace.run([command("r2-hf"), "scan"])
            return workspace.run(materialize())

    runs = {f"{size} MB": partial(one, size) for size in sizes}
    samples = {**alternate(runs, min(testbed.rounds, _ROUNDS), testbed.log), several: _chunks(testbed)}
    peaks = [typical(samples[f"{size} MB"], peak) for size in sizes]
    return Row(
        "memory",
        f"peak resident memory of a run, chunks of {', '.join(f'{size} MB' for size in sizes)}",
        "the script: 2.7 x the chunk",
        (
            Figure("highest peak", max(peaks), _BOUND_MB, "MB"),
            Figure(f"{max(sizes)} MB against {min(sizes)} MB", peaks[-1] / peaks[0], _SAME),
            Figure(several, typical(samples[several], peak), _BOUND_MB, "MB"),
        ),
        summarize(samples),
        samples=samples,
    )


def disk(testbed: Testbed) -> Row:
    runs = _chunks(testbed)
    return Row(
        "disk",
        f"disk used by a run of {testbed.sizes.same_chunks} chunks of {testbed.sizes.same_chunk_mb} MB: DAGSTER_HOME, "
        "HF_HOME, scratch, working folder",
        "",
        (
            Figure("most during the run", typical(runs, reported("most_mb")), _DISK_BOUND_MB, "MB"),
            Figure("left at its end", typical(runs, reported("end_mb")), _DISK_BOUND_MB, "MB"),
        ),
        summarize({"ours": runs}),
        samples={"ours": runs},
    )


def _chunks(testbed: Testbed) -> Sequence[Sample]:
    """Return runs of several chunks in one process, for both rows."""

    def run() -> Sample:
        chunk = str(testbed.sizes.same_chunk_episodes)
        with testbed.workspace(testbed.chunked(), hub=True, EPISODES_PER_CHUNK=chunk) as workspace:
            workspace.run([command("r2-hf"), "scan"])
            with disk_use(workspace.folder, without=HUB) as use:
                sample = workspace.run([command("r2-hf"), "process"])
            return replace(sample, reported={**sample.reported, "most_mb": use.most / 1e6, "end_mb": use.end / 1e6})

    rounds = min(testbed.rounds, _ROUNDS)
    return testbed.once("chunks", lambda: alternate({"several chunks": run}, rounds, testbed.log)["several chunks"])
