"""Rows `script`, `transfer` and `floor`: the whole job, against the script, against s5cmd and `hf`, and beside the
cost of servers and bare transfers of the same bytes.

One run of ours a round serves all rows. On loopback a job takes at least the CPU seconds of servers and transfers over
the number of cores.
"""

import os
import shlex
from collections.abc import Callable, Sequence

from bench.baselines import download, missing, upload
from bench.compare import Figure, Row, Samples, alternate, cpu, ratio, served_by, summarize, typical
from bench.measure import Sample
from bench.testbed import HUB_SERVER, S3, Testbed

_OURS = "ours"
_SCRIPT = "script"
_TRANSFER = "s5cmd + hf"


def script(testbed: Testbed) -> Row:
    samples = _samples(testbed)
    return Row(
        "script",
        "scan + all partitions + commits, one process start included",
        "the script's stand-in, a sixth cheaper than the script",
        (
            Figure("wall", ratio(samples, _OURS, _SCRIPT), 0.26),
            Figure("CPU", ratio(samples, _OURS, _SCRIPT, cpu), 0.22),
        ),
        (*summarize({name: samples[name] for name in (_SCRIPT, _OURS)}),),
        samples=samples,
    )


def transfer(testbed: Testbed) -> Row:
    what, baseline = "the whole job", "`s5cmd cp` of the prefix, then `hf upload` of a finished Parquet"
    if reason := missing("s5cmd"):
        return Row("transfer", what, baseline, (), missing=reason)
    samples = _samples(testbed)
    return Row(
        "transfer",
        what,
        baseline,
        (Figure("wall", ratio(samples, _OURS, _TRANSFER), 0.9),),
        summarize({name: samples[name] for name in (_TRANSFER, _OURS)}),
        samples=samples,
    )


def floor(testbed: Testbed) -> Row:
    keys, built = str(testbed.keys(testbed.speech())), testbed.built()

    def gets() -> Sample:
        with testbed.workspace(testbed.speech()) as workspace:
            return workspace.job("gets", keys)

    def uploads() -> Sample:
        with testbed.workspace(testbed.speech(), hub=True) as workspace:
            return workspace.run(upload(built))

    whole = {name: runs for name, runs in _samples(testbed).items() if name != _SCRIPT}
    samples = {**alternate({"bare GETs": gets, "bare hf upload": uploads}, testbed.rounds, testbed.log), **whole}
    table: list[tuple[str, ...]] = [("", "client, CPU s", "S3 server, CPU s", "Hub, CPU s", "all, CPU s", "wall, s")]
    costs = {name: _costs(runs) for name, runs in samples.items()}
    bare = [sum(parts) for parts in zip(costs["bare GETs"], costs["bare hf upload"], strict=True)]
    cores = os.cpu_count() or 1
    lines = {**costs, f"floor: both bare, on {cores} cores": [*bare[:-1], bare[-2] / cores]}
    table += [(name, *(f"{value:.1f}" for value in values)) for name, values in lines.items()]
    return Row("floor", "CPU of servers and bare transfers", "", (), table=tuple(table), samples=samples)


def _costs(runs: Sequence[Sample]) -> list[float]:
    """Return the CPU seconds of client, S3 server, Hub and all, and wall."""
    parts = [typical(runs, value) for value in (cpu, served_by(S3), served_by(HUB_SERVER))]
    return [*parts, sum(parts), typical(runs)]


def _samples(testbed: Testbed) -> Samples:
    def run() -> Samples:
        runs: dict[str, Callable[[], Sample]] = {_OURS: lambda: _run(testbed, "process")}
        if "script" in testbed.rows:
            runs[_SCRIPT] = lambda: _run(testbed, "script")
        if "transfer" in testbed.rows and not missing("s5cmd"):
            testbed.built()
            runs[_TRANSFER] = lambda: _transfer(testbed)
        testbed.speech()
        return alternate(runs, testbed.rounds, testbed.log)

    return testbed.once("whole job", run)


def _run(testbed: Testbed, job: str) -> Sample:
    episodes = str(testbed.sizes.chunk_episodes)
    with testbed.workspace(testbed.speech(), hub=True, EPISODES_PER_CHUNK=episodes) as workspace:
        return workspace.job(job)


def _transfer(testbed: Testbed) -> Sample:
    with testbed.workspace(testbed.speech(), hub=True) as workspace:
        source = download(testbed.s3.endpoint_url, testbed.speech())
        return workspace.run(["sh", "-c", f"{shlex.join(source)} && {shlex.join(upload(testbed.built()))}"])
