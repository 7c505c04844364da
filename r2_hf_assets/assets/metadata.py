"""Results of the data plane as Dagster metadata, in Dagster's own names where it has one."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetKey,
    DataVersion,
    MarkdownMetadataValue,
    MaterializeResult,
    MetadataValue,
    TableColumn,
    TableColumnDep,
    TableColumnLineage,
    TableMetadataValue,
    TableRecord,
    TableSchema,
)

from r2_hf_assets.assets.history import data_version
from r2_hf_assets.assets.progress import LanguageProgress
from r2_hf_assets.hub.commit import CommitRecord
from r2_hf_assets.plan.due import UNPLANNED
from r2_hf_assets.plan.scan import ScanReport
from r2_hf_assets.shards.names import path_in_repo
from r2_hf_assets.shards.picture import draw
from r2_hf_assets.shards.record import BuildRecord, ShardFile
from r2_hf_assets.shards.schema import SCHEMA
from r2_hf_assets.shards.stats import Stats

# Says for which chunk a materialization was made: "done" means done for this digest. The data version says the same:
# Dagster indexes it, while people read the tag.
DIGEST_TAG = "r2_hf_assets/chunk_digest"
# Stats.as_json of a chunk, for the card: the sum over hub_commit's latest materializations is the dataset.
STATS = "stats"
# work_plan's data version: the plan only grows and sealed chunks never change, so a scan makes nothing built stale.
PLAN_VERSION = "append-only"

_DESCRIPTIONS = {
    "audio": "MP3 as it lies in the bucket; path is its key there",
    "text": "transcript",
    "speaker_id": "speaker within the episode",
    "duration_seconds": "end - start",
    "dnsmos": "DNSMOS speech quality, 1 to 5",
    "language": "normalized code",
}

COLUMN_SCHEMA = TableSchema([TableColumn(field.name, str(field.type), _DESCRIPTIONS[field.name]) for field in SCHEMA])


def _lineage(upstream: str, sources: Mapping[str, Sequence[str]]) -> TableColumnLineage:
    return TableColumnLineage(
        {column: [TableColumnDep(AssetKey(upstream), source) for source in found] for column, found in sources.items()}
    )


# Where each column comes from: fields of all_segments.json, and the MP3 beside it; a commit changes nothing.
SHARDS_LINEAGE = _lineage(
    "episodes",
    {
        "audio": ["mp3"],
        "text": ["text"],
        "speaker_id": ["speaker"],
        "duration_seconds": ["start", "end"],
        "dnsmos": ["dnsmos"],
        "language": ["language"],
    },
)
COMMIT_LINEAGE = _lineage("parquet_shards", {field.name: [field.name] for field in SCHEMA})

Metadata = dict[str, Any]


def scan_metadata(report: ScanReport, progress: Sequence[LanguageProgress]) -> Metadata:
    """A scan: what was seen, what was planned, what was left out and why; and how far each language is by then."""
    chunks = {p.language: {"chunks": p.planned, "built": p.built, "committed": p.committed} for p in progress}
    languages = sorted({*report.seen, *report.folders_left_out, *chunks})
    table = [
        {
            "language": name,
            "episodes_seen": report.seen[name],
            "newly_planned": report.newly_planned[name],
            "waiting": report.waiting[name],
            **chunks.get(name, {"chunks": 0, "built": 0, "committed": 0}),
        }
        for name in languages
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
            {folder: {"decided": decided, "rule": rule} for folder, (decided, rule) in report.other_rules.items()}
        ),
        "folders_left_out": MetadataValue.json(dict(report.folders_left_out)),
        "languages_that_fit": report.languages_line,
    }


def build_metadata(record: BuildRecord, ledger_uri: str | None, seconds: float) -> Metadata:
    """A built chunk: the ledger, the sizes, the files by their paths in the repo."""
    tally = record.tally
    return {
        "dagster/row_count": tally.rows,
        "dagster/column_schema": COLUMN_SCHEMA,
        "dagster/column_lineage": SHARDS_LINEAGE,
        "planned": True,
        "chunk_digest": record.digest,
        "episodes": tally.episodes,
        "episodes_with_rows": tally.episodes_with_rows,
        "episodes_rejected": tally.episodes_rejected,
        "segments": tally.entries,
        "segments_rejected": tally.segments_rejected,
        "rejects_by_reason": MetadataValue.json(tally.rejects),
        "texts_repaired": tally.repaired_texts,
        "hours": round(record.hours, 4),
        "speakers": record.stats.speakers,
        "audio_bytes": tally.audio_bytes,
        "bytes": record.bytes,
        "seconds": round(seconds, 3),
        "MB_per_second": round(tally.audio_bytes / 1e6 / seconds, 1) if seconds else 0.0,
        "files": files_table(record.files, record.language),
        "rejects_ledger": ledger_uri or "none",
        **({"pictures": _picture(record.stats)} if record.stats.rows else {}),
    }


def commit_metadata(commit: CommitRecord, record: BuildRecord, dataset: str, seconds: float) -> Metadata:
    """A commit: where the chunk stands on the Hub."""
    return {
        "dagster/row_count": record.tally.rows,
        "dagster/uri": commit.url,
        "dagster/column_schema": COLUMN_SCHEMA,
        "dagster/column_lineage": COMMIT_LINEAGE,
        "planned": True,
        "chunk_digest": record.digest,
        "commit": MetadataValue.url(commit.url),
        "commit_oid": commit.oid,
        "dataset": dataset,
        "committed": commit.committed,
        "files": files_table(record.files, record.language),
        "removed": MetadataValue.json(list(commit.removed)),
        "episodes": record.tally.episodes_with_rows,
        "hours": round(record.hours, 4),
        "bytes": record.bytes,
        "seconds": round(seconds, 3),
        **stats_metadata(record.stats),
    }


def result_for(
    digest: str, metadata: Metadata, checks: Sequence[AssetCheckResult], dataset: str | None = None
) -> MaterializeResult:
    """A materialization that is made for the chunk with this digest, and what its checks said.

    Args:
        dataset: of a commit, the repo that it was made in.
    """
    return MaterializeResult(
        metadata=metadata,
        tags={DIGEST_TAG: digest},
        data_version=DataVersion(data_version(digest, dataset)),
        check_results=checks,
    )


def unplanned_result(checks: Sequence[AssetCheckResult]) -> MaterializeResult:
    """A cell of the grid in which the plan has nothing: a success with nothing in it."""
    return MaterializeResult(
        metadata={"dagster/row_count": 0, "planned": False},
        data_version=DataVersion(UNPLANNED),
        check_results=checks,
    )


def stats_metadata(stats: Stats | None) -> Metadata:
    """What can be added up over partitions, see shards/stats.py; the other entries are for people."""
    return {STATS: MetadataValue.json(stats.as_json())} if stats else {}


def _picture(stats: Stats) -> MarkdownMetadataValue:
    """The UI drops raw HTML, and shows a data URI."""
    return MetadataValue.md(
        f"![durations and DNSMOS](data:image/svg+xml;base64,{b64encode(draw(stats).encode()).decode()})"
    )


def files_table(files: Sequence[ShardFile], language: str) -> TableMetadataValue | str:
    """Files by path in the repo; history.py reads them back."""
    rows = [
        {
            "file": path_in_repo(language, file.name),
            "rows": file.rows,
            "bytes": file.size,
            "sha256": file.sha256 or "none",
        }
        for file in files
    ]
    return _table(rows)


def _table(rows: Sequence[Mapping[str, Any]]) -> TableMetadataValue | str:
    """Rows as a table; Dagster can't guess the columns of none."""
    return MetadataValue.table([TableRecord(dict(row)) for row in rows]) if rows else "none"
