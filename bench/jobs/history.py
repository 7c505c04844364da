"""Make a plan of many chunks and a history in which the first of them are materialized: `history PLANNED DONE`.

Recording a materialization takes 10 ms, so Dagster records the first one, and the others are copies of its rows with
another key and digest.
"""

import itertools
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from dagster import AssetMaterialization, DagsterInstance
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from bench.jobs import report
from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.partitions import chunk_key, partition_key, plan_chunk_partitions
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.settings import load_for_scan

_LANGUAGES = 20
_COPY_EVENT = """
    insert into event_logs (id, run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)
    select :id, run_id, replace(replace(event, :old, :key), :was, :digest), dagster_event_type, timestamp, step_key,
           asset_key, :key
    from event_logs where id = :first"""
_COPY_TAG = """
    insert into asset_event_tags (event_id, asset_key, key, value, event_timestamp)
    select :id, asset_key, key, replace(value, :was, :digest), event_timestamp
    from asset_event_tags where event_id = :first"""


def main() -> None:
    planned, done = int(sys.argv[1]), int(sys.argv[2])
    settings = load_for_scan()
    plan = open_plan(settings.plan, settings.r2)
    plan.check_identity()
    names = itertools.islice(((language, n) for n in itertools.count() for language in LANGUAGES[:_LANGUAGES]), planned)
    chunks = [
        ChunkManifest(language, number, settings.r2.prefix, (f"{language}/ep{number}",)) for language, number in names
    ]
    for chunk in chunks:
        plan.create(chunk)
    plan.write_index()
    with DagsterInstance.get() as instance:
        numbers = sorted({chunk.number for chunk in chunks})
        instance.add_dynamic_partitions(plan_chunk_partitions.name or "", [chunk_key(number) for number in numbers])
        _record(instance, chunks[:done])
    report(planned=planned, done=done)


def _record(instance: DagsterInstance, chunks: list[ChunkManifest]) -> None:
    names = [(str(partition_key(*chunk.name)), chunk.digest) for chunk in chunks]
    key, digest = names[0]
    instance.report_runless_asset_event(
        AssetMaterialization(COMMIT, partition=key, tags={DATA_VERSION_TAG: digest}),
    )
    index = Path(instance.root_directory) / "history" / "runs" / "index.db"
    with closing(sqlite3.connect(index)) as database, database:
        (first,) = database.execute("select id from event_logs where partition = ?", (key,)).fetchone()
        for number, name in enumerate(names[1:], start=first + 1):
            values = {"first": first, "id": number, "old": key, "key": name[0], "was": digest, "digest": name[1]}
            database.execute(_COPY_EVENT, values)
            database.execute(_COPY_TAG, values)


if __name__ == "__main__":
    main()
