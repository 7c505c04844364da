"""Ours without Dagster: plan, build and commit every chunk by the data plane's own functions.

`cpu` are this process's CPU seconds from the start of the first chunk to the end of the last one.
"""

import time

from bench.jobs import report
from bench.jobs.build import planned
from r2_hf_assets.hub.build import build_on_hub
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import commit_chunk, prepare_repo
from r2_hf_assets.hub.ownership import Claim
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.settings import load


def main() -> None:
    settings = load()
    chunks = planned(settings)
    claim = Claim(open_plan(settings.plan, settings.r2).ensure_id(), lambda _: {}, lambda *_: True)
    repo = HubClient(settings.hub)
    size, done_at, cpu = 0, [], time.process_time()
    prepare_repo(repo, claim)
    for chunk in chunks:
        record = build_on_hub(chunk, settings.r2, repo, settings.shards, plan_id=claim.plan_id).record
        commit_chunk(repo, record, claim)
        done_at.append(time.monotonic())
        size += record.bytes
    report(
        chunks=len(chunks),
        bytes=size,
        cpu=time.process_time() - cpu,
        seconds_a_chunk=(done_at[-1] - done_at[0]) / max(1, len(chunks) - 1),
    )


if __name__ == "__main__":
    main()
