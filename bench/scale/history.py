"""A history of many runs: one real run of the product on the sandbox, and copies of it.

A copy is stored by Dagster's storage, event by event; only the run's id, partition, digest and time differ. The work
between the events is not simulated. The run has the events of the queue and the launcher, as one launched from the UI.
"""

import json
import re
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dagster import DagsterEvent, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.events import DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._serdes import deserialize_value, serialize_value

from bench.scale.copies import copy_rows
from r2_hf_assets.cli.in_process import due_chunks, run_chunks, run_scan
from r2_hf_assets.partitions import add_partitions, chunk_key, partition_key
from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.runs.heartbeat import ALIVE_TAG

# Engine events that a run in this process lacks.
_LAUNCHED = (
    "Creating Celery run worker job task",
    "Celery task has been forwarded to the broker.",
    "Started process for run (pid: 10013).",
    "Process for run exited (pid: 10013).",
)
_EVENT_BY_EVENT = 10


@dataclass(frozen=True)
class Template:
    """A real run: its row, and its serialized events."""

    run: DagsterRun
    events: list[str]
    language: str
    chunk: str
    digest: str

    @property
    def bytes(self) -> int:
        return sum(map(len, self.events))

    def copy(self, run_id: str, chunk: ChunkRef) -> tuple[DagsterRun, list[EventLogEntry]]:
        """Return the same run of another chunk."""
        key, name = str(partition_key(*chunk.name)), chunk_key(chunk.number)
        words = {
            self.run.run_id: run_id,
            f"{self.language}|{self.chunk}": key,
            f'"{self.chunk}"': f'"{name}"',
            f'"{self.language}"': f'"{chunk.language}"',
            self.digest: chunk.digest,
        }
        pattern = re.compile("|".join(map(re.escape, words)))
        entries = []
        for text in self.events:
            entries.append(deserialize_value(pattern.sub(lambda match: words[match[0]], text), EventLogEntry))
        tags = {
            "dagster/partition": key,
            "dagster/partition/language": chunk.language,
            "dagster/partition/plan_chunk": name,
            "dagster/backfill": "simulated",
            ALIVE_TAG: "2000-01-01T00:00:00.000000+00:00",
        }
        return self.run._replace(run_id=run_id, tags={**self.run.tags, **tags}), entries


def real_run(instance: DagsterInstance) -> Template:
    """Scan, build and commit the one chunk of the sandbox, which has several parts."""
    if error := run_scan(instance):
        raise SystemExit(f"scale: {error}")
    (chunk,) = due_chunks(instance)
    (done,) = run_chunks(instance, [chunk])
    if done.error:
        raise SystemExit(f"scale: {done.error}")
    run = instance.get_run_by_id(done.run_id)
    assert run is not None
    for message in _LAUNCHED:
        instance.report_engine_event(message, run)
    for kind in (
        DagsterEventType.PIPELINE_ENQUEUED,
        DagsterEventType.PIPELINE_DEQUEUED,
        DagsterEventType.PIPELINE_STARTING,
    ):
        event = DagsterEvent(event_type_value=kind.value, job_name=run.job_name)
        instance.event_log_storage.store_event(_entry(event, run))
    events = [serialize_value(entry) for entry in instance.all_logs(run.run_id)]
    return Template(run, events, chunk.language, chunk_key(chunk.number), chunk.digest)


def _entry(event: DagsterEvent, run: DagsterRun) -> EventLogEntry:
    return EventLogEntry(
        error_info=None,
        level=20,
        user_message="",
        run_id=run.run_id,
        timestamp=time.time(),
        job_name=run.job_name,
        dagster_event=event,
    )


def record(instance: DagsterInstance, template: Template, chunks: Sequence[ChunkRef]) -> tuple[float, float]:
    """Store a finished run of each chunk; return wall and CPU seconds of storing one, event by event."""
    add_partitions(instance, (chunk.number for chunk in chunks))
    url = getattr(instance.run_storage, "postgres_url", None)
    stored = chunks[:_EVENT_BY_EVENT] if url else chunks
    started, cpu = time.perf_counter(), time.process_time()
    for chunk in stored:
        run, entries = template.copy(str(uuid.uuid4()), chunk)
        instance.add_run(run._replace(status=DagsterRunStatus.SUCCESS))
        for entry in entries:
            instance.event_log_storage.store_event(entry)
    cost = (time.perf_counter() - started) / len(stored), (time.process_time() - cpu) / len(stored)
    if url:
        copies = [(str(uuid.uuid4()), chunk) for chunk in chunks[len(stored) :]]
        copy_rows(url, run.run_id, (stored[-1], copies))
    return cost


def sizes(instance: DagsterInstance) -> dict[str, tuple[int, int]]:
    """Return rows and bytes, indexes included, of each table; on SQLite only the bytes of its files."""
    if (url := getattr(instance.run_storage, "postgres_url", None)) is not None:
        import sqlalchemy

        engine = sqlalchemy.create_engine(url)
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("analyze"))
            tables = connection.execute(
                sqlalchemy.text(
                    "select relname, reltuples::bigint, pg_total_relation_size(oid) from pg_class "
                    "where relkind = 'r' and relnamespace = 'public'::regnamespace"
                )
            ).all()
        engine.dispose()
        return {name: (max(rows, 0), size) for name, rows, size in tables}
    home = Path(instance.root_directory)
    files = list((home / "history").rglob("*.db*"))
    per_run = sum(path.stat().st_size for path in files if path.stem not in ("runs", "index"))
    shared = sum(path.stat().st_size for path in files if path.stem in ("runs", "index"))
    return {"a file for each run": (0, per_run), "runs.db, index.db": (0, shared)}


def event_counts(template: Template) -> Counter[str]:
    """Count the events of a run by type."""
    events = (json.loads(text).get("dagster_event") or {} for text in template.events)
    return Counter(event.get("event_type_value", "log line") for event in events)
