"""Look at all rows of the dataset, by the indexes at one revision of the Hub, without any audio.

Reports rows that nobody planned: those of an episode that the manifest of their chunk lacks, and those of a chunk
without a manifest. Each index is compared with the manifest of its chunk alone, which is read after the Hub was listed,
so the manifest of a committed chunk is there. Unplanned rows and unreadable indexes are differences.

Also reports repeats, for review: audio that several episodes have, and episodes that two languages have, by their name
or by equal audio. Rows are equal if hash and size of their audio are. These go into a DuckDB database in a scratch
folder, with a number of the episode: some 11 bytes a row. They are grouped in passes, each over the hashes with one
remainder, so that the groups of a pass fit into the memory limit. Equal audio within an episode is not a repeat: the
check `duplicates` of its chunk counts it. Chunks of earlier releases have no index: they are only counted.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from r2_hf_assets import activity
from r2_hf_assets.background import map_in_order
from r2_hf_assets.disk import on_disk, scratch_folder
from r2_hf_assets.errors import ShardError
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.reads import HubReader, Inventory
from r2_hf_assets.plan.chunks import ChunkManifest, Name
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.plural import plural
from r2_hf_assets.reconcile.report import Difference, Kind
from r2_hf_assets.reconcile.verify import PARALLEL_CHUNKS
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.index import INDEX_SCHEMA
from r2_hf_assets.verdict import Severity, Verdict

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Of an index, what is compared.
COMPARED = pa.schema([INDEX_SCHEMA.field(name) for name in ("episode", "audio_bytes", "audio_hash", "row")])
# DuckDB's own, beside some 250 MB of Arrow and the tables in flight.
MEMORY_LIMIT = "512MB"
# The groups of so many rows fit into that.
_ROWS_PER_PASS = 10_000_000
_EXAMPLES = 3
_LOGGED = 100  # a line of log for so many indexes
# An episode's number has its chunk in the upper half. Chunks are in the order of their languages.
_TABLES = """
SET preserve_insertion_order = false; SET enable_progress_bar = false; BEGIN;
CREATE TABLE rows (hash UBIGINT, bytes UINTEGER, episode UBIGINT);
CREATE TABLE episodes (episode UBIGINT, language VARCHAR, name VARCHAR);
CREATE TABLE equal (bytes UINTEGER, number UBIGINT, first UBIGINT, last UBIGINT);
"""
_EQUAL = """
INSERT INTO equal SELECT bytes, count(*), min(episode), max(episode) FROM rows
    WHERE hash % {passes} = {number} GROUP BY hash, bytes HAVING min(episode) < max(episode)
"""
_PAIRS = """
CREATE TABLE pairs AS SELECT a.language, a.name, b.language AS other_language, b.name AS other
    FROM (SELECT DISTINCT first, last FROM equal)
    JOIN episodes a ON a.episode = first JOIN episodes b ON b.episode = last;
CREATE TABLE in_two AS SELECT * FROM pairs WHERE language <> other_language
    UNION SELECT min(language), name, max(language), name FROM episodes
    GROUP BY name HAVING min(language) < max(language)
"""
_COUNT = """
SELECT count(*), count(*) FILTER (first >> 32 < last >> 32), coalesce(sum(number - 1), 0)::BIGINT,
    coalesce(sum((number - 1) * bytes), 0)::BIGINT, (SELECT count(*) FROM in_two) FROM equal
"""
_FIRST = "SELECT name, language, other, other_language FROM {} ORDER BY ALL LIMIT {}"


@dataclass(frozen=True)
class AllRows:
    """What the indexes show.

    Attributes:
        indexes: that were read.
        without_index: chunks with files and no index.
        equal_groups: groups of rows with equal audio in several episodes, `across_chunks` of them in several chunks.
        redundant_rows, redundant_bytes: of these groups, all rows but one of each.
        in_two_languages: pairs of episodes, or episodes, that two languages have.
        lines: the first examples of repeats.
    """

    indexes: int = 0
    without_index: int = 0
    rows: int = 0
    rejects: int = 0
    unplanned_rows: int = 0
    differences: tuple[Difference, ...] = ()
    equal_groups: int = 0
    across_chunks: int = 0
    redundant_rows: int = 0
    redundant_bytes: int = 0
    in_two_languages: int = 0
    lines: tuple[str, ...] = ()

    @property
    def numbers(self) -> dict[str, Any]:
        return {
            "indexes": self.indexes,
            "chunks_without_index": self.without_index,
            "rows": self.rows,
            "rejects": self.rejects,
            "rows_not_planned": self.unplanned_rows,
            "equal_audio_across_episodes": {
                "groups": self.equal_groups,
                "across_chunks": self.across_chunks,
                "redundant_rows": self.redundant_rows,
                "redundant_bytes": self.redundant_bytes,
            },
            "episodes_in_two_languages": self.in_two_languages,
            "first_repeats": list(self.lines),
        }

    @property
    def summary(self) -> str:
        return (
            f"{plural(self.rows, 'row')} in {plural(self.indexes, 'index', 'indexes')}; "
            f"chunks without one: {self.without_index:,}; "
            f"{plural(self.redundant_rows, 'row repeats', 'rows repeat')} audio of another episode "
            f"({self.redundant_bytes:,} bytes); "
            f"episodes in two languages: {self.in_two_languages:,}"
        )


@dataclass(frozen=True)
class Index:
    """The index of a chunk: its columns COMPARED, and the chunk's manifest, None if it is not planned."""

    name: Name
    table: pa.Table
    manifest: ChunkManifest | None


def look_at_rows(settings: Settings, hub: Inventory, log: Callable[[str], None] | None = None) -> AllRows:
    """Look at all indexes of the inventory.

    Raises PlanError, AccessError, RetriesExhausted, and DiskError for the scratch folder.
    """
    if hub.revision is None:
        return AllRows()
    indexes, chunks = hub.indexes(), hub.by_chunk().keys() - {None}
    plan, reader = open_plan(settings.plan, settings.r2), HubReader(HubClient(settings.hub, log), hub.revision)

    def read(name: Name) -> Index | Difference:
        try:
            return Index(name, reader.columns(indexes[name], COMPARED.names), plan.read(*name))
        except ShardError as error:
            return Difference(Kind.UNREADABLE_INDEX, name, str(error))

    with closing(map_in_order(read, sorted(indexes), PARALLEL_CHUNKS, "rows")) as results:
        return summarize(results, Path(settings.shards.scratch), len(chunks) - len(indexes), log)


def summarize(
    results: Iterable[Index | Difference],
    scratch: Path,
    without_index: int = 0,
    log: Callable[[str], None] | None = None,
) -> AllRows:
    """Look at all of these, one at a time, in the order of their languages. Raises DiskError.

    A Difference stands for an index that can't be read; `scratch` is the folder of the database.
    """
    indexes = rows = rejects = unplanned = 0
    differences: list[Difference] = []
    with _open_database(scratch.absolute()) as database:
        for result in results:
            if isinstance(result, Difference):
                differences.append(result)
                continue
            _insert(database, indexes, result)
            rejected = result.table["row"].null_count
            indexes, rows, rejects = indexes + 1, rows + result.table.num_rows - rejected, rejects + rejected
            count, detail = find_unplanned_rows(result)
            if count:
                unplanned += count
                differences.append(Difference(Kind.ROWS_NOT_PLANNED, result.name, detail))
            if log and indexes % _LOGGED == 0:
                log(f"read {indexes} indexes, {rows:,} rows")
        passes = 1 + rows // _ROWS_PER_PASS
        for number in range(passes):
            activity.advance()  # a pass takes seconds
            database.execute(_EQUAL.format(passes=passes, number=number))
        database.execute(_PAIRS)
        (counts,) = database.execute(_COUNT).fetchall()
        lines = [
            f"{what}: {one} in {language} = {other} in {other_language}"
            for what, table in (("equal_audio", "pairs"), ("episodes_in_two_languages", "in_two"))
            for one, language, other, other_language in database.execute(_FIRST.format(table, _EXAMPLES)).fetchall()
        ]
    looked_at = AllRows(indexes, without_index, rows, rejects, unplanned, tuple(differences), lines=tuple(lines))
    names = ("equal_groups", "across_chunks", "redundant_rows", "redundant_bytes", "in_two_languages")
    return replace(looked_at, **dict(zip(names, counts, strict=True)))


@contextmanager
def _open_database(scratch: Path) -> Iterator["DuckDBPyConnection"]:
    import duckdb  # 0.1 s, and the command's help imports this package

    with scratch_folder(scratch, "rows-") as folder, on_disk(scratch):
        config = {"memory_limit": MEMORY_LIMIT, "temp_directory": str(folder / "spilled"), "threads": 2}
        with duckdb.connect(str(folder / "rows.duckdb"), config=config) as database:
            # Nothing is committed, so nothing is written twice; rows are written to the file in row groups.
            database.execute(_TABLES)
            yield database


def _insert(database: "DuckDBPyConnection", number: int, index: Index) -> None:
    """Insert the index of the chunk that is the `number`-th."""
    table, base = index.table, pa.scalar(number << 32, pa.uint64())
    names = table["episode"].combine_chunks().dictionary_encode()
    rows = {
        "hash": table["audio_hash"],
        "bytes": table["audio_bytes"].cast(pa.uint32()),
        "episode": pc.add(names.indices.cast(pa.uint64()), base),
    }
    episodes = {
        "episode": pc.add(pa.array(range(len(names.dictionary)), pa.uint64()), base),
        "language": pa.repeat(index.name[0], len(names.dictionary)),
        "name": names.dictionary,
    }
    accepted = table["audio_hash"].is_valid()  # a reject has none
    database.from_arrow(pa.table(rows).filter(accepted)).insert_into("rows")
    database.from_arrow(pa.table(episodes)).insert_into("episodes")


def find_unplanned_rows(index: Index) -> tuple[int, str]:
    """Return the number of rows and rejects that no plan names, and what they are."""
    if index.manifest is None:
        count = index.table.num_rows
        return count, f"{plural(count, 'row')}, and the plan has no such chunk"
    members = frozenset(index.manifest.episodes)
    counted = pc.value_counts(index.table["episode"]).to_pylist()
    foreign = {one["values"]: one["counts"] for one in counted if one["values"] not in members}
    count, first = sum(foreign.values()), next(iter(foreign), "")
    what = f"{plural(count, 'row')} of {plural(len(foreign), 'episode')} that its manifest lacks"
    return count, f"{what}, the first is {first}"


def check_rows(verdict: Verdict, rows: AllRows) -> Verdict:
    """Add the rows to the verdict of a report that has their differences. Repeats alone are a WARN."""
    severity = Severity.WARN if verdict.passed else verdict.severity
    passed = verdict.passed and not rows.equal_groups and not rows.in_two_languages
    return Verdict(passed, severity, f"{verdict.summary}; {rows.summary}", {**verdict.numbers, **rows.numbers})
