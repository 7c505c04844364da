"""Row `static`: the client's cost of a GET from a server of minimal cost, without a target.

The S3 server uses most of this machine's cores while objects are fetched, and so hides the client's speed.
"""

from dataclasses import replace
from pathlib import Path

import obstore

from bench.compare import Row, alternate, reported, served_by, typical
from bench.line import served
from bench.measure import Sample, cpu_seconds
from bench.static import pack
from bench.testbed import Testbed

_NAME = "static server"
_VARIANTS = {"ours": "fetch", "bare GETs with obstore, 128 threads": "gets"}


def static(testbed: Testbed) -> Row:
    bucket = testbed.speech()
    keys = testbed.keys(bucket)

    def make() -> Path:
        folder, store = testbed.folder / "static", testbed.store(bucket)
        names = keys.read_text().split("\n")
        pack(folder, bucket, ((name, bytes(obstore.get(store, name).bytes())) for name in names))
        return folder

    def run(job: str, url: str, pid: int) -> Sample:
        with testbed.workspace(bucket, R2_ENDPOINT_URL=url) as workspace:
            before = cpu_seconds(pid)
            sample = workspace.job(job, str(keys))
            return replace(sample, servers={_NAME: cpu_seconds(pid) - before})

    with served("bench.static", str(testbed.once("static", make))) as (url, server):
        jobs = {name: lambda job=job: run(job, url, server.pid) for name, job in _VARIANTS.items()}
        samples = alternate(jobs, testbed.rounds, testbed.log)
    table: list[tuple[str, ...]] = [("client", "objects/s", "MB/s", "CPU an object, ms", "server's CPU an object, ms")]
    for name, runs in samples.items():
        count, seconds = typical(runs, reported("objects")), typical(runs, reported("seconds"))
        # Without start and imports.
        costs = (typical(runs, reported("cpu")), typical(runs, served_by(_NAME)))
        table.append(
            (
                name,
                f"{count / seconds:,.0f}",
                f"{typical(runs, reported('bytes')) / seconds / 1e6:,.0f}",
                *(f"{cost / count * 1e3:.3f}" for cost in costs),
            )
        )
    return Row("static", "GETs from a server of minimal cost", "", (), table=tuple(table), samples=samples)
