"""The columns of the dataset, and how each is written to Parquet.

The schema metadata carries the `huggingface` features as `datasets` writes them, so that load_dataset and the viewer
play the audio. audio.bytes is MP3: compressing it again, a dictionary or statistics over it cost seconds and give
nothing, so it is stored plain; the other columns are small and zstd. A page index lets readers fetch single pages.
"""

import json
from typing import Any

import pyarrow as pa

AUDIO = pa.struct([pa.field("path", pa.string()), pa.field("bytes", pa.binary())])

_FEATURES = {
    "audio": {"_type": "Audio"},
    "text": {"dtype": "string", "_type": "Value"},
    "speaker_id": {"dtype": "string", "_type": "Value"},
    "duration_seconds": {"dtype": "float32", "_type": "Value"},
    "dnsmos": {"dtype": "float32", "_type": "Value"},
    "language": {"dtype": "string", "_type": "Value"},
}

SCHEMA = pa.schema(
    [
        pa.field("audio", AUDIO),
        pa.field("text", pa.string()),
        pa.field("speaker_id", pa.string()),
        pa.field("duration_seconds", pa.float32()),
        pa.field("dnsmos", pa.float32()),
        pa.field("language", pa.string()),
    ],
    metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}})},
)

# One row each: a whole episode (level "episode") or one entry of its metadata (level "segment").
REJECT_SCHEMA = pa.schema(
    [pa.field(name, pa.string()) for name in ("level", "episode", "key", "reason", "detail")],
)

WRITER_OPTIONS: dict[str, Any] = {
    "compression": {
        "audio.path": "zstd",
        "audio.bytes": "none",
        "text": "zstd",
        "speaker_id": "zstd",
        "duration_seconds": "zstd",
        "dnsmos": "zstd",
        "language": "zstd",
    },
    "use_dictionary": ["speaker_id", "language"],
    "write_statistics": ["speaker_id", "duration_seconds", "dnsmos", "language"],
    "write_page_index": True,
    # Page sizes are looked at after each batch of rows: a page of audio is 2.5 MB, with the default of 1024 rows it is
    # 80 MB. Larger pages deduplicate better when an episode changes, and cost more memory to copy (memory.py).
    "write_batch_size": 32,
}
