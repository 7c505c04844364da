"""Fill a world with a large plan and its history in seconds.

Dagster takes 10 ms to record a materialization. So only the first chunk of each language is recorded, as `r2-hf
reconcile` does it, and the rows of the other chunks are copies with another key and digest.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from dagster import AssetMaterialization, DagsterInstance
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from r2_hf_assets.asset_keys import WORK_PLAN
from r2_hf_assets.partitions import add_partitions, chunk_key
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.reconcile.report import Recovered
from r2_hf_assets.runs.metadata import PLAN_VERSION
from r2_hf_assets.runs.runless_events import record_done
from r2_hf_assets.settings import load

_COPY_EVENT = """
    insert into event_logs (id, run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)
    select :id, run_id, replace(replace(event, :old, :new), :was, :digest), dagster_event_type, timestamp, step_key,
           asset_key, replace(partition, :old, :new)
    from event_logs where id = :first"""
_COPY_TAG = """
    insert into asset_event_tags (event_id, asset_key, key, value, event_timestamp)
    select :id, asset_key, key, replace(replace(value, :old, :new), :was, :digest), event_timestamp
    from asset_event_tags where event_id = :first"""


def fill(languages: Sequence[str], chunks: int, done: int, last: Mapping[str, Sequence[str]]) -> None:
    """Plan `chunks` chunks of each language and record the first `done` of them as built and committed.

    Args:
        last: the episodes of a language's last chunk, as `<folder>/<episode_id>`; others get generated ids.
    """
    settings = load()
    plan = open_plan(settings.plan, settings.r2)
    plan.check_identity()
    for language in languages:
        for number in range(chunks):
            real = last.get(language) if number == chunks - 1 else None
            plan.create(
                ChunkManifest(language, number, settings.r2.prefix, tuple(real or [f"{language}/generated-{number}"]))
            )
    planned = {chunk.name: chunk for chunk in plan.write_index()}
    with DagsterInstance.get() as instance:
        add_partitions(instance, range(chunks))
        instance.report_runless_asset_event(AssetMaterialization(WORK_PLAN, tags={DATA_VERSION_TAG: PLAN_VERSION}))
        for language in languages:
            first = Recovered(planned[language, 0], (), "a build record")
            record_done(instance, [first], "a revision", settings.hub.repo_id, "a test")
        index = Path(instance.root_directory) / "history" / "runs" / "index.db"
    with closing(sqlite3.connect(index)) as database, database:
        firsts = database.execute("select id, partition from event_logs where partition is not null").fetchall()
        free = max(first for first, _ in firsts) + 1
        for first, key in firsts:
            language = key.partition("|")[0]
            for number in range(1, done):
                values = {
                    "first": first,
                    "id": free,
                    "old": chunk_key(0),
                    "new": chunk_key(number),
                    "was": planned[language, 0].digest,
                    "digest": planned[language, number].digest,
                }
                database.execute(_COPY_EVENT, values)
                database.execute(_COPY_TAG, values)
                free += 1
