"""Rows `memory` and `disk`: what a run takes of both while it works, at default settings.

Memory: the peak of a run of one chunk of growing size (`dagster asset materialize`), and of several chunks in one
process (`r2-hf process`, the card included), both with the processes that they start; the plan is made beforehand.
Disk: what the run's folder grows by at the most, and what is left at its end; the Hub's own folder does not count.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from bench.arena import HUB, Arena
from bench.baselines import command, materialize
from bench.compare import Figure, Row, alternate, peak, said, tell, typical
from bench.disk import disk_use
from bench.measure import Sample

_BOUND_MB = 550
_DISK_BOUND_MB = 80
_ROUNDS = 2
_SAME = 1.1  # "the same" at every size: what two runs of one size may differ by


def memory(arena: Arena) -> Row:
    sizes = arena.sizes.memory_mb
    episodes = {size: math.ceil(size / arena.sizes.episode_mb) for size in sizes}
    bucket = arena.bucket("memory", episodes={"en": max(episodes.values())})
    several = f"{arena.sizes.same_chunks} chunks of {arena.sizes.same_chunk_mb} MB in one process"

    def one(size: int) -> Sample:
        # The first chunk of a plan with that many episodes a chunk.
        with arena.place(bucket, hub=True, EPISODES_PER_CHUNK=str(episodes[size])) as place:
            place.run([command("r2-hf"), "scan"])
            return place.run(materialize())

    runs = {f"{size} MB": partial(one, size) for size in sizes}
    samples = {**alternate(runs, min(arena.rounds, _ROUNDS), arena.say), several: _chunks(arena)}
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
        tell(samples),
        samples=samples,
    )


def disk(arena: Arena) -> Row:
    runs = _chunks(arena)
    return Row(
        "disk",
        f"disk used by a run of {arena.sizes.same_chunks} chunks of {arena.sizes.same_chunk_mb} MB: DAGSTER_HOME, "
        "HF_HOME, scratch, working folder",
        "",
        (
            Figure("most during the run", typical(runs, said("most_mb")), _DISK_BOUND_MB, "MB"),
            Figure("left at its end", typical(runs, said("end_mb")), _DISK_BOUND_MB, "MB"),
        ),
        tell({"ours": runs}),
        samples={"ours": runs},
    )


def _chunks(arena: Arena) -> Sequence[Sample]:
    """Runs of several chunks in one process, which both rows look at."""

    def run() -> Sample:
        chunk = str(arena.sizes.same_chunk_episodes)
        with arena.place(arena.chunked(), hub=True, EPISODES_PER_CHUNK=chunk) as place:
            place.run([command("r2-hf"), "scan"])
            with disk_use(place.folder, without=HUB) as use:
                sample = place.run([command("r2-hf"), "process"])
            return replace(sample, said={**sample.said, "most_mb": use.most / 1e6, "end_mb": use.end / 1e6})

    rounds = min(arena.rounds, _ROUNDS)
    return arena.once("several chunks", lambda: alternate({"several chunks": run}, rounds, arena.say)["several chunks"])
