"""Row `memory`: peak memory of a whole run, scan to commit, of one chunk of growing size, at default settings."""

import math
from functools import partial

from bench.arena import Arena
from bench.compare import Figure, Row, alternate, peak, tell, typical
from bench.measure import Sample

_BOUND_MB = 700
_SAME = 1.1  # "the same" at every size: what two runs of one size may differ by


def memory(arena: Arena) -> Row:
    sizes = arena.sizes.memory_mb
    episodes = {size: math.ceil(size / arena.sizes.episode_mb) for size in sizes}
    bucket = arena.bucket("memory", episodes={"en": max(episodes.values())})

    def run(size: int) -> Sample:
        # The first chunk of a plan with that many episodes a chunk.
        with arena.place(bucket, hub=True, EPISODES_PER_CHUNK=str(episodes[size])) as place:
            return place.job("process", "1")

    runs = {f"{size} MB": partial(run, size) for size in sizes}
    samples = alternate(runs, min(arena.rounds, 2), arena.say)
    peaks = [typical(of_size, peak) for of_size in samples.values()]
    return Row(
        "memory",
        f"peak resident memory of a run, chunks of {', '.join(samples)}",
        "the script: 2.7 x the chunk",
        (
            Figure("highest peak", max(peaks), _BOUND_MB, "MB"),
            Figure(f"{max(sizes)} MB against {min(sizes)} MB", peaks[-1] / peaks[0], _SAME),
        ),
        tell(samples),
        samples=samples,
    )
