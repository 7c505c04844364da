"""Copies of one run's rows in every table of Dagster's PostgreSQL, made by the database."""

from collections.abc import Sequence

import sqlalchemy
from sqlalchemy import text

from r2_hf_assets.partitions import chunk_key, partition_key
from r2_hf_assets.plan.chunks import ChunkRef

_COPIES = "create temporary table copies (run_id text, key text, language text, chunk text, digest text)"
_COLUMNS = """select column_name, data_type from information_schema.columns
    where table_schema = 'public' and table_name = :table and column_name != 'id'"""
_TABLES = """select table_name from information_schema.columns
    where table_schema = 'public' and column_name = 'run_id' order by table_name"""
# Tags of events point to the events' ids; of one kind and asset a run has one event.
_EVENT_TAGS = """insert into asset_event_tags (event_id, asset_key, key, value, event_timestamp)
    select new.id, t.asset_key, t.key, replace(t.value, :digest, c.digest), t.event_timestamp
    from asset_event_tags t join event_logs old on t.event_id = old.id and old.run_id = :run_id
    join event_logs new on new.dagster_event_type = old.dagster_event_type and new.asset_key = old.asset_key
    join copies c on c.run_id = new.run_id"""
_RUN_TAGS = """update run_tags r set value = case r.key when 'dagster/partition/language' then c.language else c.chunk
end
    from copies c where c.run_id = r.run_id and r.key in ('dagster/partition/language',
    'dagster/partition/plan_chunk')"""


def copy_rows(url: str, run_id: str, copies: tuple[ChunkRef, Sequence[tuple[str, ChunkRef]]]) -> None:
    """Copy the run `run_id`, which is of the chunk `copies[0]`, for each run id and chunk of `copies[1]`."""
    template, targets = copies
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as database:
        # No check of foreign keys, so that the order of tables does not matter.
        database.execute(text("set local session_replication_role = replica"))
        database.execute(text(_COPIES))
        database.execute(
            text("insert into copies values (:run_id, :key, :language, :chunk, :digest)"),
            [{"run_id": copy, **_words(chunk)} for copy, chunk in targets],
        )
        old = {"run_id": run_id, **_words(template)}
        for table in database.execute(text(_TABLES)).scalars().all():
            columns = {str(name): str(kind) for name, kind in database.execute(text(_COLUMNS), {"table": table})}
            values = [_value(name, kind) for name, kind in columns.items()]
            names = ", ".join(f'"{name}"' for name in columns)
            copied = f"insert into {table} ({names}) select {', '.join(values)} from {table} t cross join copies c"
            database.execute(text(f"{copied} where t.run_id = :run_id"), old)
        database.execute(text(_EVENT_TAGS), old)
        database.execute(text(_RUN_TAGS))
    engine.dispose()


def _words(chunk: ChunkRef) -> dict[str, str]:
    key = str(partition_key(*chunk.name))
    return {"key": key, "language": chunk.language, "chunk": chunk_key(chunk.number), "digest": chunk.digest}


def _value(column: str, kind: str) -> str:
    """Return the SQL of a column in the copy: texts get the copy's run, partition and digest."""
    if kind not in ("text", "character varying"):
        return f't."{column}"'
    value = f't."{column}"'
    for word in ("run_id", "key", "digest"):
        value = f"replace({value}, :{word}, c.{word})"
    for word in ("language", "chunk"):
        value = f"replace({value}, '\"' || :{word} || '\"', '\"' || c.{word} || '\"')"
    return value
