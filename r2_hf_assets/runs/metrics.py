"""The progress as Prometheus metrics, for node_exporter's textfile collector.

Names and units follow Prometheus: seconds of audio in place of hours, and the time of the last commit, scan and tick in
place of their age, which the query computes: `time() - r2_hf_last_commit_timestamp_seconds`. All are gauges, because a
removal makes each of them smaller. What never happened has no sample. The Grafana dashboard is
deploy/grafana/r2_hf_assets.json.
"""

from collections.abc import Callable

import dagster as dg
from prometheus_client import CollectorRegistry, Gauge

from r2_hf_assets.asset_keys import WORK_PLAN
from r2_hf_assets.runs.progress import LanguageProgress, Progress
from r2_hf_assets.runs.ticks import SENSORS, latest_ticks


def metrics(instance: dg.DagsterInstance, progress: Progress) -> CollectorRegistry:
    """Return the metrics of the progress, of the last scan, and of the sensors that are on."""
    registry = CollectorRegistry()
    _add_languages(registry, progress)
    times = {"commit": progress.last_commit, "scan": _last_scan(instance)}
    for what, at in times.items():
        name, text = f"r2_hf_last_{what}_timestamp_seconds", f"When the last {what} was recorded, in Unix seconds."
        if at is not None:
            Gauge(name, text, registry=registry).set(at)
    tick = Gauge(
        "r2_hf_last_tick_timestamp_seconds",
        "When the last tick of a sensor that is on began, in Unix seconds.",
        ["sensor"],
        registry=registry,
    )
    newest: dict[str, float] = {}  # the database keeps the states of a code location that had another name
    for state, ticks in latest_ticks(instance, SENSORS, limit=1):
        for last in ticks:
            newest[state.instigator_name] = max(last.timestamp, newest.get(state.instigator_name, 0.0))
    for sensor, at in newest.items():
        tick.labels(sensor).set(at)
    return registry


def _add_languages(registry: CollectorRegistry, progress: Progress) -> None:
    def add(name: str, text: str, value: Callable[[LanguageProgress], float]) -> None:
        gauge = Gauge(f"r2_hf_{name}", text, ["language"], registry=registry)
        for row in progress.languages:
            gauge.labels(row.language).set(value(row))

    add("planned_chunks", "Chunks in the plan.", lambda row: row.planned)
    add("due_chunks", "Planned chunks without a commit of their digest.", lambda row: row.due)
    add("failed_chunks", "Due chunks whose last run failed.", lambda row: row.failed)
    add("committed_chunks", "Chunks whose commit is recorded.", lambda row: row.committed)
    add("committed_rows", "Rows of the committed chunks.", lambda row: row.rows)
    add("committed_audio_seconds", "Audio of the committed chunks.", lambda row: (row.hours or 0.0) * 3600)
    add("committed_bytes", "Size of the files of the committed chunks.", lambda row: row.bytes)
    add(
        "commit_quota_wait_seconds",
        "How long the commits of these chunks waited for the Hub's quota.",
        lambda row: row.quota_wait_s,
    )


def _last_scan(instance: dg.DagsterInstance) -> float | None:
    event = instance.get_latest_materialization_event(WORK_PLAN)
    return event.timestamp if event else None
