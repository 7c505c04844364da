"""The results of the script that this project replaces: work_plan.json, progress.log and files on the Hub.

An episode with a missing file or a bad entry is left out; a chunk's rows are in order of completion of its episodes.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq

from r2_hf_assets.shards.schema import SCHEMA
from r2_hf_assets_tests.support.world import World

_MAPPED = {"eng": "en", "deu": "de", "spa": "es"}


def script_language(tag: str) -> str:
    base = tag.lower().split("-")[0]
    return _MAPPED.get(base, base)


@dataclass(frozen=True)
class Script:
    """Works in the world's folder."""

    world: World
    episodes_per_chunk: int = 3
    rows_per_part: int = 10_000

    @property
    def plan_file(self) -> Path:
        return self.world.folder / "work_plan.json"

    @property
    def progress_file(self) -> Path:
        return self.world.folder / "progress.log"

    def scan(self, limit: int = 1000) -> None:
        """Plan at most `limit` episodes of each folder."""
        plan: dict[str, list[str]] = {}
        for folder in self._folders("processed/"):
            language = script_language(folder.rstrip("/").rpartition("/")[2])
            plan.setdefault(language, []).extend(self._folders(folder)[:limit])
        self.plan_file.write_text(json.dumps(plan, indent=2))

    def process(self, selected: Callable[[str, int], bool]) -> dict[str, str]:
        """Upload the chunks `selected` by language and number; return the SHA-256 of all files by path."""
        self.world.api().create_repo(self.world.repo_id, repo_type="dataset", exist_ok=True)
        for language, prefixes in json.loads(self.plan_file.read_text()).items():
            for start in range(0, len(prefixes), self.episodes_per_chunk):
                number = start // self.episodes_per_chunk
                if selected(language, number):
                    # The last episode completes first.
                    members = reversed(prefixes[start : start + self.episodes_per_chunk])
                    rows = [row for prefix in members for row in self._episode(prefix, language)]
                    self.upload(f"data/{language}/chunk-{number:05d}", rows)
                    with self.progress_file.open("a") as progress:
                        progress.write(f"{language}-{number}\n")
        return file_hashes(self.world)

    def upload(self, stem: str, rows: list[dict[str, Any]]) -> None:
        parts = [rows[start : start + self.rows_per_part] for start in range(0, len(rows), self.rows_per_part)]
        for part, members in enumerate(parts):
            local = self.world.folder / "part.parquet"
            pq.write_table(pa.Table.from_pylist(members, SCHEMA.remove_metadata()), local)
            path = f"{stem}{f'-part-{part:02d}' if len(parts) > 1 else ''}.parquet"
            self.world.api().upload_file(
                path_or_fileobj=local, path_in_repo=path, repo_id=self.world.repo_id, repo_type="dataset"
            )
            local.unlink()

    def _episode(self, prefix: str, language: str) -> list[dict[str, Any]]:
        episode = prefix.rstrip("/").rpartition("/")[2]
        try:
            entries = json.loads(self.world.object(f"{prefix}all_segments.json"))
            return [self._row(entry, f"{prefix}{episode}_{i:06d}.mp3", language) for i, entry in enumerate(entries)]
        except Exception:
            return []

    def _row(self, entry: dict[str, Any], key: str, language: str) -> dict[str, Any]:
        return {
            "audio": {"path": key, "bytes": self.world.object(key)},
            "text": entry.get("text") or "",
            "speaker_id": entry.get("speaker") or "UNKNOWN",
            "duration_seconds": float(entry.get("end", 0)) - float(entry.get("start", 0)),
            "dnsmos": float(entry.get("dnsmos") or 0),
            "language": script_language(entry.get("language") or language) or "UNKNOWN",
        }

    def _folders(self, prefix: str) -> list[str]:
        folders = obstore.list_with_delimiter(self.world.store(), prefix)["common_prefixes"]
        return [f"{folder.rstrip('/')}/" for folder in sorted(folders)]


def file_hashes(world: World) -> dict[str, str]:
    """Return the SHA-256 of the data files at the head, by path."""
    listed = world.api().list_repo_tree(world.repo_id, "data", recursive=True, repo_type="dataset")
    return {entry.path: entry.lfs.sha256 for entry in listed if getattr(entry, "lfs", None)}
