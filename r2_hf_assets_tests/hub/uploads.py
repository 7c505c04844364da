"""Upload chunks to a running Hub with the product's client."""

from collections.abc import Sequence
from pathlib import Path

from r2_hf_assets.hub.build import open_upload
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.ownership import Claim
from r2_hf_assets.shards.names import index_path, path_in_repo, shard_names
from r2_hf_assets.shards.record import BuildRecord, ShardFile, Tally
from r2_hf_assets.shards.writer import Content, Upload
from r2_hf_assets_tests.support.build_samples import limits

CLAIM = Claim("0" * 32, lambda _: {}, lambda *_: True)
WRITE_BYTES = 100_000


def send(upload: Upload, data: bytes) -> Content:
    """Write one part in several blocks."""
    part = upload.begin()
    for start in range(0, len(data), WRITE_BYTES):
        part.write(data[start : start + WRITE_BYTES])
    return part.finish()


def upload_chunk(
    repo: HubClient,
    folder: Path,
    *parts: bytes,
    index: bytes | None = None,
    number: int = 7,
    language: str = "en",
    keep: bool = False,
) -> BuildRecord:
    """Upload a chunk of these parts and index, and return its record. `folder` is for scratch files."""
    with open_upload(repo, limits(folder, keep=keep), language, number) as upload:
        contents = [send(upload, data) for data in parts]
        last = None if index is None else send(upload, index)
    return record_of(contents, last, number, language)


def record_of(
    parts: Sequence[Content], index: Content | None = None, number: int = 7, language: str = "en"
) -> BuildRecord:
    """Return the record of a chunk whose parts and index were uploaded."""
    paths = [path_in_repo(language, name) for name in shard_names(number, len(parts))]
    files = tuple(ShardFile(path, 1, part.size, part.sha256) for path, part in zip(paths, parts, strict=True))
    last = None
    if index is not None:
        last = ShardFile(index_path(language, number), len(files), index.size, index.sha256)
    return BuildRecord(language, number, f"digest-{number}", files, last, Tally(rows=len(files)))
