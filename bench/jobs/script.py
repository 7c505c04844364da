"""The script that this project replaces: `--scan`, then the process mode.

Written anew, its costs included: a boto3 client for every episode, an episode a thread and its
downloads one after the other, the whole chunk as Python objects, pyarrow's defaults, then the upload. It works in the
current folder: work_plan.json, progress.log, out/.
"""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import HfApi

from bench.jobs import say

_PLAN = Path("work_plan.json")
_PROGRESS = Path("progress.log")
_PREFIX = "processed/"
_EPISODES_PER_CHUNK = int(os.environ.get("EPISODES_PER_CHUNK", "1000"))
_WORKERS = int(os.environ.get("DOWNLOAD_WORKERS", "128"))
_MAX_BYTES = int(os.environ.get("PARQUET_MAX_BYTES", str(2 * 2**30)))
_ROWGROUP_BYTES = int(os.environ.get("PARQUET_ROWGROUP_BYTES", str(128 * 2**20)))
_SCHEMA = pa.schema(
    [
        pa.field("audio", pa.struct([pa.field("path", pa.string()), pa.field("bytes", pa.binary())])),
        pa.field("text", pa.string()),
        pa.field("speaker_id", pa.string()),
        pa.field("duration_seconds", pa.float32()),
        pa.field("dnsmos", pa.float32()),
        pa.field("language", pa.string()),
    ]
)


def make_client() -> Any:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=os.environ["R2_ENDPOINT_URL"],
        aws_access_key_id=os.environ["R2_ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["R2_SECRET_ACCESS_KEY"],
        region_name="auto",
    )


def folders(client: Any, prefix: str) -> Iterator[str]:
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=os.environ["R2_BUCKET"], Prefix=prefix, Delimiter="/"
    )
    for page in pages:
        for found in page.get("CommonPrefixes", []):
            yield found["Prefix"]


def base_language(folder: str) -> str:
    code = folder.lower().split("-")[0]
    if code == "eng":
        return "en"
    if code == "deu":
        return "de"
    return code


def scan() -> None:
    client = make_client()
    episodes: dict[str, list[str]] = {}
    for folder in folders(client, _PREFIX):
        language = base_language(folder.rstrip("/").rsplit("/", 1)[-1])
        episodes.setdefault(language, []).extend(folders(client, folder))
    _PLAN.write_text(json.dumps(episodes))


def download_episode(prefix: str, language: str) -> list[dict[str, Any]]:
    """The episode's rows; none when anything of it fails."""
    client, bucket = make_client(), os.environ["R2_BUCKET"]
    episode = prefix.rstrip("/").rsplit("/", 1)[-1]
    rows = []
    try:
        entries = json.loads(client.get_object(Bucket=bucket, Key=f"{prefix}all_segments.json")["Body"].read())
        for index, entry in enumerate(entries):
            key = f"{prefix}{episode}_{index:06d}.mp3"
            rows.append(
                {
                    "audio": {"path": key, "bytes": client.get_object(Bucket=bucket, Key=key)["Body"].read()},
                    "text": entry.get("text") or "",
                    "speaker_id": entry.get("speaker") or "UNKNOWN",
                    "duration_seconds": float(entry.get("end", 0)) - float(entry.get("start", 0)),
                    "dnsmos": float(entry.get("dnsmos") or 0),
                    "language": base_language(entry.get("language") or language) or "UNKNOWN",
                }
            )
    except Exception:
        return []
    return rows


def split(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Rows of one file each."""
    part: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        length = len(row["audio"]["bytes"])
        if part and size + length > _MAX_BYTES:
            yield part
            part, size = [], 0
        part.append(row)
        size += length
    if part:
        yield part


def write(rows: list[dict[str, Any]], path: Path) -> None:
    size = sum(len(row["audio"]["bytes"]) for row in rows)
    columns = {name: [row[name] for row in rows] for name in _SCHEMA.names}
    table = pa.table(columns, schema=_SCHEMA)
    pq.write_table(table, path, row_group_size=max(1, len(rows) * _ROWGROUP_BYTES // max(size, 1)))


def process() -> int:
    plan = json.loads(_PLAN.read_text())
    done = set(_PROGRESS.read_text().split()) if _PROGRESS.exists() else set()
    api = HfApi(endpoint=os.environ["HF_ENDPOINT"], token=os.environ["HF_TOKEN"])
    repo = os.environ["HF_REPO_ID"]
    api.create_repo(repo, repo_type="dataset", exist_ok=True)
    Path("out").mkdir(exist_ok=True)
    count = 0
    for language, prefixes in plan.items():
        for number, start in enumerate(range(0, len(prefixes), _EPISODES_PER_CHUNK)):
            name = f"{language}/chunk-{number:05d}"
            if f"{language}-{number}" in done:
                continue
            with ThreadPoolExecutor(_WORKERS) as pool:
                members = prefixes[start : start + _EPISODES_PER_CHUNK]
                begun = [pool.submit(download_episode, prefix, language) for prefix in members]
                rows = [row for episode in as_completed(begun) for row in episode.result()]
            parts = list(split(rows))
            for part, members in enumerate(parts):
                suffix = f"-part-{part:02d}" if len(parts) > 1 else ""
                path = Path("out") / f"{name.replace('/', '-')}{suffix}.parquet"
                write(members, path)
                api.upload_file(
                    path_or_fileobj=path,
                    path_in_repo=f"data/{name}{suffix}.parquet",
                    repo_id=repo,
                    repo_type="dataset",
                )
                path.unlink()
            with _PROGRESS.open("a") as progress:
                progress.write(f"{language}-{number}\n")
            count += len(rows)
    return count


if __name__ == "__main__":
    scan()
    say(rows=process())
