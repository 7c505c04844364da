"""Results of the data plane as Dagster metadata, with Dagster's standard keys where they exist."""

from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from r2_hf_assets.checks import check_result
from r2_hf_assets.hub.commit import CommitRecord
from r2_hf_assets.plan.due import UNPLANNED
from r2_hf_assets.plan.scan import ScanReport
from r2_hf_assets.runs.history import QUOTA_WAIT, data_version
from r2_hf_assets.shards.picture import draw
from r2_hf_assets.shards.record import BuildRecord, ShardFile
from r2_hf_assets.shards.schema import COLUMNS
from r2_hf_assets.verdict import Severity, Verdict

# Metadata key of Stats.as_json: the card sums it over hub_commit's latest materializations.
STATS = "stats"
# work_plan's data version. Constant, because sealed chunks never change: a scan must not make built chunks stale.
PLAN_VERSION = "append-only"

_COLUMN_SCHEMA = dg.TableSchema(
    [dg.TableColumn(c.name, str(c.type), f"{c.description}; from {', '.join(c.sources)}") for c in COLUMNS]
)

Metadata = dict[str, Any]

# For a partition without a planned chunk.
UNPLANNED_METADATA: Metadata = {"dagster/row_count": 0, "planned": False, "note": "the plan has no chunk here"}


def scan_metadata(report: ScanReport) -> Metadata:
    """Return the counts and folders of a scan."""
    chunks = Counter(chunk.language for chunk in report.planned)
    table = [
        {
            "language": name,
            "episodes_seen": report.seen[name],
            "newly_planned": report.newly_planned[name],
            "waiting": report.waiting[name],
            "chunks": chunks[name],
        }
        for name in sorted({*report.seen, *report.folders_left_out, *chunks})
    ]
    return {
        "dagster/row_count": sum(chunk.episodes for chunk in report.planned),
        "episodes_seen": report.seen.total(),
        "episodes_newly_planned": report.newly_planned.total(),
        "episodes_waiting": report.waiting.total(),
        "episodes_removed": report.removed.total(),
        "chunks_planned": len(report.planned),
        "chunks_new": len(report.new_chunks),
        "by_language": _table(table),
        "folders": dg.MetadataValue.json(report.folders),
        "unknown_folders": dg.MetadataValue.json(report.unknown_folders),
        "unreadable_folders": dg.MetadataValue.json(report.unreadable_folders),
        "folders_of_another_rule": dg.MetadataValue.json(
            {folder: {"decided": decided, "rule": rule} for folder, (decided, rule) in report.changed_rules.items()}
        ),
        "folders_left_out": dg.MetadataValue.json(dict(report.folders_left_out)),
        "languages_that_fit": report.languages_line,
    }


def build_metadata(record: BuildRecord, seconds: float) -> Metadata:
    """Return the ledger's counts, sizes, files and histograms of a built chunk."""
    tally = record.tally
    metadata = {
        **_chunk_metadata(record),
        "build_seconds": round(seconds, 3),
        "episodes": tally.episodes,
        "episodes_with_rows": tally.episodes_with_rows,
        "episodes_rejected": tally.episodes_rejected,
        "segments": tally.entries,
        "segments_rejected": tally.segments_rejected,
        "rejects_by_reason": dg.MetadataValue.json(tally.rejects),
        "index": record.index.path if record.index else "none",
        "texts_repaired": tally.repaired_texts,
        "speakers": record.stats.speakers,
        "audio_bytes": tally.audio_bytes,
        "MB_per_second": round(tally.audio_bytes / 1e6 / seconds, 1) if seconds else 0.0,
    }
    if record.stats.rows:  # the UI drops raw HTML but shows a data URI
        picture = b64encode(draw(record.stats).encode()).decode()
        metadata["pictures"] = dg.MetadataValue.md(f"![durations and DNSMOS](data:image/svg+xml;base64,{picture})")
    return metadata


def commit_metadata(
    commit: CommitRecord, record: BuildRecord, dataset: str, seconds: float, quota_wait_s: float = 0.0
) -> Metadata:
    """Return the location, sizes and statistics of a committed chunk."""
    return {
        **_chunk_metadata(record),
        "commit_seconds": round(seconds, 3),
        "dagster/uri": commit.url,
        "commit": dg.MetadataValue.url(commit.url),
        "commit_oid": commit.oid,
        "dataset": dataset,
        "committed": commit.committed,
        QUOTA_WAIT: round(quota_wait_s, 3),
        "removed": dg.MetadataValue.json(list(commit.removed)),
        "episodes": record.tally.episodes_with_rows,
        STATS: dg.MetadataValue.json(record.stats.as_json()),
    }


def _chunk_metadata(record: BuildRecord) -> Metadata:
    return {
        "dagster/row_count": record.tally.rows,
        "dagster/column_schema": _COLUMN_SCHEMA,
        "chunk_digest": record.digest,
        "hours": round(record.stats.hours, 4),
        "bytes": record.bytes,
        "files": files_table(record.all_files),
    }


def result_for(
    digest: str, metadata: Metadata, checks: Sequence[dg.AssetCheckResult], dataset: str | None = None
) -> dg.MaterializeResult:
    """Return the materialization of the chunk with this digest; `dataset` is the repo of a commit."""
    version = dg.DataVersion(data_version(digest, dataset))
    return dg.MaterializeResult(metadata=metadata, data_version=version, check_results=checks)


def unplanned_result(checks: Sequence[dg.AssetCheckSpec]) -> dg.MaterializeResult:
    """Return the materialization of a partition without a planned chunk."""
    verdict = Verdict(True, Severity.ERROR, "nothing planned")
    return result_for(UNPLANNED, UNPLANNED_METADATA, [check_result(spec, verdict) for spec in checks])


def files_table(files: Sequence[ShardFile]) -> dg.TableMetadataValue | str:
    """Return files as a table, which history.files_of reads."""
    return _table([{"file": f.path, "rows": f.rows, "bytes": f.size, "sha256": f.sha256 or "none"} for f in files])


def _table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue | str:
    """Return rows as a table, or "none": Dagster can't infer the columns of an empty one."""
    return dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in rows]) if rows else "none"
