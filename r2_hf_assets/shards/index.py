"""The index of a chunk: a Parquet file without audio, with one row for each entry that was read, row or reject.

It is committed together with the chunk's parts. Readers choose rows by it; it is the ledger of what became no row and
why; and its schema metadata has the manifest, so the plan can be restored from the Hub alone (IndexHeader).

Rows are in plan order. An episode without any entry has one row, whose `segment` is null. A reject has no `file`.
The name of the first part depends on whether there is a second one, so rows are held until that is known. An index
that is made from existing parts (reconcile/write_index.py) has no audio_bytes, audio_hash, start and end.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from r2_hf_assets.bucket.segments import Reject, Segment
from r2_hf_assets.errors import ShardError
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.shards.names import part_name, path_in_repo
from r2_hf_assets.shards.record import ShardFile, Tally
from r2_hf_assets.shards.schema import numbers, strings
from r2_hf_assets.shards.stats import Stats

HEADER_KEY = b"r2_hf_assets"
_VERSION = 1
# Some MB: small enough to skip by the statistics of `episode`, large enough to compress.
_ROWS_PER_GROUP = 2**15

INDEX_SCHEMA = pa.schema(
    [
        ("episode", pa.string()),  # "<folder>/<episode_id>"
        ("segment", pa.int32()),  # its place in the episode's metadata
        ("key", pa.string()),  # of the audio; of the metadata for an episode without entries
        ("language", pa.string()),
        ("speaker_id", pa.string()),
        ("text", pa.string()),
        ("start", pa.float64()),  # seconds within the episode
        ("end", pa.float64()),
        ("duration_seconds", pa.float32()),
        ("dnsmos", pa.float32()),
        ("audio_bytes", pa.int32()),
        ("audio_hash", pa.uint64()),  # 64-bit XXH3 of the audio
        ("file", pa.string()),  # path in the repo
        ("row_group", pa.int32()),  # of that file
        ("row", pa.int32()),  # of that row group
        ("reject_reason", pa.string()),
        ("reject_detail", pa.string()),
    ]
)
_REPEATS = ["episode", "language", "speaker_id", "file", "row_group", "reject_reason", "reject_detail"]
_SPLIT = ["start", "end", "duration_seconds", "dnsmos"]
_OPTIONS: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": _REPEATS,
    "column_encoding": {
        **dict.fromkeys(_SPLIT, "BYTE_STREAM_SPLIT"),
        "key": "DELTA_BYTE_ARRAY",
        **dict.fromkeys(("segment", "row", "audio_bytes"), "DELTA_BINARY_PACKED"),
    },
    "write_statistics": [name for name in INDEX_SCHEMA.names if name not in ("text", "reject_detail", "audio_hash")],
}


@dataclass(frozen=True)
class IndexHeader:
    """What an index says of its chunk.

    Attributes:
        digest: of the chunk as it was built, amendments included.
        episodes: each with the ETag of its metadata: "" where there was none, None where it is unknown.
        amendments: numbers of those that concern the chunk.
        files: the chunk's parts.
        tally, stats: None where the build is unknown.
        product: version of the release that wrote it.
    """

    plan_id: str
    language: str
    number: int
    prefix: str
    digest: str
    episodes: tuple[tuple[str, str | None], ...]
    files: tuple[ShardFile, ...]
    amendments: tuple[int, ...] = ()
    tally: Tally | None = None
    stats: Stats | None = None
    product: str = field(default_factory=lambda: version("r2_hf_assets"))

    @cached_property
    def manifest(self) -> ChunkManifest:
        return ChunkManifest(self.language, self.number, self.prefix, tuple(name for name, _ in self.episodes))

    def encode(self) -> bytes:
        return json.dumps({"version": _VERSION, **asdict(self)}, separators=(",", ":")).encode()


def decode_header(metadata: Any) -> IndexHeader:
    """Decode the key-value metadata of an index. Raises ShardError when it has no valid header."""
    try:
        raw: dict[str, Any] = json.loads((metadata or {})[HEADER_KEY])
        if raw.pop("version") != _VERSION:
            raise ValueError
        typed = {
            "episodes": tuple((name, etag) for name, etag in raw["episodes"]),
            "files": tuple(ShardFile(**file) for file in raw["files"]),
            "amendments": tuple(raw["amendments"]),
            "tally": Tally(**raw["tally"]) if raw["tally"] else None,
            "stats": Stats.from_json(raw["stats"]) if raw["stats"] else None,
        }
        return IndexHeader(**{**raw, **typed})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ShardError("no index of this release: its header can't be read") from None


class IndexWriter:
    """Collects the index of one chunk."""

    def __init__(self, language: str, number: int) -> None:
        self._language, self._number = language, number
        self._pending: list[Segment | Reject] = []
        self._sizes: list[int | None] = []  # bytes of audio, of the pending rows
        self._held: list[tuple[int, pa.Table]] = []  # part, rows without `file`
        self._held_rows = 0
        self._sink = pa.BufferOutputStream()
        self._writer = pq.ParquetWriter(self._sink, INDEX_SCHEMA, **_OPTIONS)

    def add_row(self, segment: Segment, audio_bytes: int | None) -> None:
        """Add a row of the next row group."""
        self._pending.append(segment)
        self._sizes.append(audio_bytes)

    def add_reject(self, reject: Reject) -> None:
        self._pending.append(reject)

    def place(self, part: int, row_group: int, hashes: Sequence[int | None]) -> None:
        """Place the rows added since the last call in a row group; `hashes` are of their audio."""
        self._held.append((part, _to_table(self._pending, self._sizes, hashes, row_group)))
        self._held_rows += len(self._pending)
        self._pending, self._sizes = [], []
        if part > 0 and self._held_rows >= _ROWS_PER_GROUP:
            names = [part_name(self._number, one) for one in range(part + 1)]
            self._write([path_in_repo(self._language, name) for name in names])

    def finish(self, header: IndexHeader) -> bytes:
        """Return the file. Rejects may have been added since the last row group."""
        self._held.append((0, _to_table(self._pending, [], [], 0)))
        self._write([file.path for file in header.files])
        self._writer.add_key_value_metadata({HEADER_KEY.decode(): header.encode().decode()})
        self._writer.close()
        return bytes(self._sink.getvalue().to_pybytes())

    def _write(self, paths: Sequence[str]) -> None:
        """Write the held rows; `paths` are of the parts so far."""
        tables = []
        for part, table in self._held:
            placed = table["row"].is_valid()
            file = pa.scalar(paths[part] if paths else None, pa.string())
            files = pc.if_else(placed, file, pa.scalar(None, pa.string()))
            tables.append(table.add_column(INDEX_SCHEMA.get_field_index("file"), "file", files))
        self._writer.write_table(pa.concat_tables(tables), row_group_size=_ROWS_PER_GROUP)
        self._held, self._held_rows = [], 0


def _to_table(
    items: Sequence[Segment | Reject], sizes: Sequence[int | None], hashes: Sequence[int | None], row_group: int
) -> pa.Table:
    """Return the rows without their `file`."""
    rows = iter(zip(sizes, hashes, range(len(sizes)), strict=True))
    places = [next(rows) if isinstance(item, Segment) else (None, None, None) for item in items]
    segments = [item if isinstance(item, Segment) else item.segment for item in items]
    rejects = [item if isinstance(item, Reject) else None for item in items]

    def of_segment(name: str) -> list[Any]:
        return [None if segment is None else getattr(segment, name) for segment in segments]

    columns: dict[str, Sequence[Any]] = {
        "episode": [item.episode for item in items],
        "segment": [item.number for item in items],
        "key": [item.key for item in items],
        "language": of_segment("language"),
        "speaker_id": of_segment("speaker_id"),
        "text": of_segment("text"),
        "start": of_segment("start"),
        "end": of_segment("end"),
        "duration_seconds": of_segment("duration"),
        "dnsmos": of_segment("dnsmos"),
        "audio_bytes": [size for size, *_ in places],
        "audio_hash": [audio_hash for _, audio_hash, _ in places],
        "row_group": [None if row is None else row_group for *_, row in places],
        "row": [row for *_, row in places],
        "reject_reason": [reject.reason if reject else None for reject in rejects],
        "reject_detail": [(reject.detail or None) if reject else None for reject in rejects],
    }
    schema = pa.schema([one for one in INDEX_SCHEMA if one.name != "file"])
    arrays = [
        strings(columns[one.name]) if one.type == pa.string() else numbers(columns[one.name], one.type)
        for one in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
