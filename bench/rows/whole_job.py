"""Rows `script`, `transfer` and `floor`: the whole job, against the script, against moving the bytes with s5cmd and
`hf`, and beside what servers and bare moves of the same bytes cost.

Our run serves all of them, so it is measured once a round. On loopback everything shares the machine's cores: a job
takes at least the CPU seconds of servers and moves, over the number of cores.
"""

import os
import shlex
from collections.abc import Callable, Sequence

from bench.arena import HUB_SERVER, S3, Arena
from bench.baselines import command, download, installed, missing, upload
from bench.compare import Figure, Row, Samples, alternate, cpu, ratio, served_by, tell, typical
from bench.errors import NotInstalled
from bench.measure import Sample

_OURS = "ours"
_SCRIPT = "script"
_TRANSFER = "s5cmd + hf"


def script(arena: Arena) -> Row:
    samples = _samples(arena)
    return Row(
        "script",
        "scan + all partitions + commits, one process start included",
        "the script's stand-in, a sixth cheaper than the script",
        (
            Figure("wall", ratio(samples, _OURS, _SCRIPT), 0.26),
            Figure("CPU", ratio(samples, _OURS, _SCRIPT, cpu), 0.22),
        ),
        (*tell({name: samples[name] for name in (_SCRIPT, _OURS)}),),
        samples=samples,
    )


def transfer(arena: Arena) -> Row:
    what, baseline = "the whole job", "`s5cmd cp` of the prefix, then `hf upload` of a finished Parquet"
    try:
        samples = _samples(arena)
        command("s5cmd")
    except NotInstalled as name:
        return Row("transfer", what, baseline, (), missing=missing(str(name)))
    return Row(
        "transfer",
        what,
        baseline,
        (Figure("wall", ratio(samples, _OURS, _TRANSFER), 0.9),),
        tell({name: samples[name] for name in (_TRANSFER, _OURS)}),
        samples=samples,
    )


def floor(arena: Arena) -> Row:
    keys, built = str(arena.keys(arena.speech())), arena.built()

    def gets() -> Sample:
        with arena.place(arena.speech()) as place:
            return place.job("gets", keys)

    def uploads() -> Sample:
        with arena.place(arena.speech(), hub=True) as place:
            return place.run(upload(built))

    whole = {name: runs for name, runs in _samples(arena).items() if name != _SCRIPT}
    samples = {**alternate({"bare GETs": gets, "bare hf upload": uploads}, arena.rounds, arena.say), **whole}
    table: list[tuple[str, ...]] = [("", "client, CPU s", "S3 server, CPU s", "Hub, CPU s", "all, CPU s", "wall, s")]
    costs = {name: _costs(runs) for name, runs in samples.items()}
    bare = [sum(parts) for parts in zip(costs["bare GETs"], costs["bare hf upload"], strict=True)]
    cores = os.cpu_count() or 1
    lines = {**costs, f"floor: both bare, on {cores} cores": [*bare[:-1], bare[-2] / cores]}
    table += [(name, *(f"{value:.1f}" for value in values)) for name, values in lines.items()]
    return Row("floor", "CPU of servers and bare moves of the same bytes", "", (), table=tuple(table), samples=samples)


def _costs(runs: Sequence[Sample]) -> list[float]:
    """CPU of client, S3 server, Hub and all; wall."""
    parts = [typical(runs, of) for of in (cpu, served_by(S3), served_by(HUB_SERVER))]
    return [*parts, sum(parts), typical(runs)]


def _samples(arena: Arena) -> Samples:
    def run() -> Samples:
        runs: dict[str, Callable[[], Sample]] = {_OURS: lambda: _run(arena, "process")}
        if "script" in arena.rows:
            runs[_SCRIPT] = lambda: _run(arena, "script")
        if "transfer" in arena.rows and installed("s5cmd"):
            arena.built()
            runs[_TRANSFER] = lambda: _transfer(arena)
        arena.speech()
        return alternate(runs, arena.rounds, arena.say)

    return arena.once("whole job", run)


def _run(arena: Arena, job: str) -> Sample:
    with arena.place(arena.speech(), hub=True, EPISODES_PER_CHUNK=str(arena.sizes.chunk_episodes)) as place:
        return place.job(job)


def _transfer(arena: Arena) -> Sample:
    with arena.place(arena.speech(), hub=True) as place:
        source = download(arena.s3.endpoint_url, arena.speech())
        return place.run(["sh", "-c", f"{shlex.join(source)} && {shlex.join(upload(arena.built()))}"])
