"""Results of the data plane as Dagster metadata, in Dagster's own names where it has one."""

from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    DataVersion,
    MaterializeResult,
    MetadataValue,
    TableColumn,
    TableMetadataValue,
    TableRecord,
    TableSchema,
)

from r2_hf_assets.checks import check_result
from r2_hf_assets.hub.commit import CommitRecord
from r2_hf_assets.plan.due import UNPLANNED
from r2_hf_assets.plan.scan import ScanReport
from r2_hf_assets.runs.history import data_version
from r2_hf_assets.shards.names import path_in_repo
from r2_hf_assets.shards.picture import draw
from r2_hf_assets.shards.record import BuildRecord, ShardFile
from r2_hf_assets.shards.schema import COLUMNS
from r2_hf_assets.verdict import Severity, Verdict

# On runs: the chunk that they are for.
DIGEST_TAG = "r2_hf_assets/chunk_digest"
# Stats.as_json of a chunk, for the card: the sum over hub_commit's latest materializations is the dataset.
STATS = "stats"
# work_plan's data version: the plan only grows and sealed chunks never change, so a scan makes nothing built stale.
PLAN_VERSION = "append-only"

_COLUMN_SCHEMA = TableSchema(
    [TableColumn(c.name, str(c.type), f"{c.description}; from {', '.join(c.sources)}") for c in COLUMNS]
)

Metadata = dict[str, Any]

# Of a cell of the grid that the plan does not fill.
UNPLANNED_METADATA: Metadata = {"dagster/row_count": 0, "planned": False}


def scan_metadata(report: ScanReport) -> Metadata:
    """Return what a scan saw, planned and left out, and why."""
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
        "chunks_planned": len(report.planned),
        "chunks_new": len(report.new_chunks),
        "by_language": _table(table),
        "folders": MetadataValue.json(report.folders),
        "unknown_folders": MetadataValue.json(report.unknown_folders),
        "unreadable_folders": MetadataValue.json(report.unreadable_folders),
        "folders_of_another_rule": MetadataValue.json(
            {folder: {"decided": decided, "rule": rule} for folder, (decided, rule) in report.changed_rules.items()}
        ),
        "folders_left_out": MetadataValue.json(dict(report.folders_left_out)),
        "languages_that_fit": report.languages_line,
    }


def build_metadata(record: BuildRecord, ledger_uri: str | None, seconds: float) -> Metadata:
    """Return the ledger, the sizes and the files of a built chunk, and a picture of its figures."""
    tally = record.tally
    metadata = {
        **_chunk_metadata(record, seconds),
        "episodes": tally.episodes,
        "episodes_with_rows": tally.episodes_with_rows,
        "episodes_rejected": tally.episodes_rejected,
        "segments": tally.entries,
        "segments_rejected": tally.segments_rejected,
        "rejects_by_reason": MetadataValue.json(tally.rejects),
        "rejects_ledger": ledger_uri or "none",
        "texts_repaired": tally.repaired_texts,
        "speakers": record.stats.speakers,
        "audio_bytes": tally.audio_bytes,
        "MB_per_second": round(tally.audio_bytes / 1e6 / seconds, 1) if seconds else 0.0,
    }
    if record.stats.rows:  # the UI drops raw HTML, and shows a data URI
        picture = b64encode(draw(record.stats).encode()).decode()
        metadata["pictures"] = MetadataValue.md(f"![durations and DNSMOS](data:image/svg+xml;base64,{picture})")
    return metadata


def commit_metadata(commit: CommitRecord, record: BuildRecord, dataset: str, seconds: float) -> Metadata:
    """Return where a chunk is on the Hub."""
    return {
        **_chunk_metadata(record, seconds),
        "dagster/uri": commit.url,
        "commit": MetadataValue.url(commit.url),
        "commit_oid": commit.oid,
        "dataset": dataset,
        "committed": commit.committed,
        "removed": MetadataValue.json(list(commit.removed)),
        "episodes": record.tally.episodes_with_rows,
        STATS: MetadataValue.json(record.stats.as_json()),
    }


def _chunk_metadata(record: BuildRecord, seconds: float) -> Metadata:
    return {
        "dagster/row_count": record.tally.rows,
        "dagster/column_schema": _COLUMN_SCHEMA,
        "planned": True,
        "chunk_digest": record.digest,
        "hours": round(record.stats.hours, 4),
        "bytes": record.bytes,
        "seconds": round(seconds, 3),
        "files": files_table(record.files, record.language),
    }


def result_for(
    digest: str, metadata: Metadata, checks: Sequence[AssetCheckResult], dataset: str | None = None
) -> MaterializeResult:
    """Return the materialization for the chunk with this digest; `dataset` is the repo that a commit was made in."""
    version = DataVersion(data_version(digest, dataset))
    return MaterializeResult(metadata=metadata, data_version=version, check_results=checks)


def unplanned_result(checks: Sequence[AssetCheckSpec]) -> MaterializeResult:
    """Return the materialization of a cell of the grid that the plan does not fill."""
    nothing = Verdict(True, Severity.ERROR, "nothing planned")
    return result_for(UNPLANNED, UNPLANNED_METADATA, [check_result(spec, nothing) for spec in checks])


def files_table(files: Sequence[ShardFile], language: str) -> TableMetadataValue | str:
    """Return files by path in the repo; history.files_of reads them back."""
    return _table(
        [
            {
                "file": path_in_repo(language, file.name),
                "rows": file.rows,
                "bytes": file.size,
                "sha256": file.sha256 or "none",
            }
            for file in files
        ]
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> TableMetadataValue | str:
    """Return rows as a table; Dagster can't guess the columns of none."""
    return MetadataValue.table([TableRecord(dict(row)) for row in rows]) if rows else "none"
