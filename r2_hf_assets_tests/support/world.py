"""The world of one test: its own bucket, dataset repo and Dagster instance, and the operations on them."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster import DagsterInstance, MetadataValue, TableMetadataValue
from obstore.store import S3Store

from r2_hf_assets.asset_keys import COMMIT, SHARDS
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.cli import in_process as launch
from r2_hf_assets.cli.in_process import ChunkRun, due_chunks, run_chunks, run_scan
from r2_hf_assets.partitions import partition_key, read_key
from r2_hf_assets.settings import BucketSettings
from r2_hf_sandbox.samples.bucket import SampleSummary, upload_samples
from r2_hf_sandbox.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@dataclass
class World:
    """`env` is the product's environment; `folder` is the working folder of its commands."""

    sandbox: Sandbox
    folder: Path
    bucket: str
    repo_id: str
    env: dict[str, str] = field(repr=False)

    @classmethod
    def make(cls, sandbox: Sandbox, folder: Path, name: str) -> "World":
        unique = hashlib.sha256(f"{folder}{name}".encode()).hexdigest()[:12]
        bucket, repo_id = f"bucket-{unique}", f"{sandbox.hub.user}/speech-{unique}"
        sandbox.s3.create_bucket(bucket)
        home = folder / "dagster_home"
        shutil.copytree(_empty_home(sandbox), home)
        env = {
            **sandbox.env(),
            "R2_BUCKET": bucket,
            "HF_REPO_ID": repo_id,
            "HF_HOME": str(folder / "hf_home"),
            "DAGSTER_HOME": str(home),
            "SETTLE_MINUTES": "0",
            "EPISODES_PER_CHUNK": "3",
        }
        return cls(sandbox, folder, bucket, repo_id, env)

    # the bucket

    def upload(self, **options: Any) -> SampleSummary:
        """Upload sample episodes, by default with seed 1."""
        return upload_samples(self.sandbox.s3, self.bucket, **{"seed": 1, **options})

    def store(self) -> S3Store:
        s3 = self.sandbox.s3
        return S3Store(
            self.bucket,
            endpoint=s3.endpoint_url,
            access_key_id=s3.access_key,
            secret_access_key=s3.secret_key,
            region="auto",
            client_options={"allow_http": True},
        )

    def reader(self) -> Bucket:
        """Return the bucket as the product reads it."""
        s3 = self.sandbox.s3
        return Bucket(BucketSettings(s3.endpoint_url, s3.access_key, s3.secret_key, self.bucket))

    def object(self, key: str) -> bytes:
        return bytes(obstore.get(self.store(), key).bytes())

    # the product

    def scan(self, **config: Any) -> str | None:
        with launch.open_instance() as instance:
            return run_scan(instance, **config)

    def build_due(self) -> list[ChunkRun]:
        """Build every due partition in this process."""
        with launch.open_instance() as instance:
            return list(run_chunks(instance, due_chunks(instance)))

    def build(self, key: str) -> str | None:
        """Build one partition, due or not; return the error's line."""
        with launch.open_instance() as instance:
            result = launch.execute(instance, [SHARDS, COMMIT], partition_key(*read_key(key)))
            return launch._error(result)

    def due(self) -> list[str]:
        with launch.open_instance() as instance:
            return [f"{chunk.language}|chunk_{chunk.number:04d}" for chunk in due_chunks(instance)]

    def command_env(self, **more: str) -> dict[str, str]:
        """Return the environment of a user's shell: settings are in .env, except PATH."""
        inherited = {k: v for k, v in os.environ.items() if not re.match(r"(R2|HF|DAGSTER|PARQUET)_|PYTEST", k)}
        path = f"{BIN}{os.pathsep}{inherited['PATH']}"
        module = {"DAGSTER_MODULE_NAME": "r2_hf_assets.definitions", "DAGSTER_DISABLE_TELEMETRY": "1"}
        return {**inherited, "PATH": path, "PYTHONPATH": str(ROOT), **module, **more}

    def write_dotenv(self, **more: str) -> None:
        values = {**self.env, "DAGSTER_MODULE_NAME": "", **more}
        lines = [f"{name}={value}" for name, value in values.items()]
        (self.folder / ".env").write_text("\n".join(lines) + "\n")

    def dagster(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the `dagster` command in the world's folder."""
        return self._run("dagster", arguments, more)

    def dg(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the `dg` command in the world's folder, without DAGSTER_MODULE_NAME."""
        self.make_project()
        return self._run("dg", arguments, {"DAGSTER_MODULE_NAME": ""})

    def make_project(self) -> None:
        """Make the world's folder a project of `dg`, as a checkout is."""
        for name in ("pyproject.toml", "r2_hf_assets"):
            if not (self.folder / name).exists():
                (self.folder / name).symlink_to(ROOT / name)

    def _run(self, program: str, arguments: Sequence[str], more: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BIN / program), *arguments],
            cwd=self.folder,
            env=self.command_env(**more),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    # the Hub

    def head(self) -> str:
        return self.api().repo_info(self.repo_id, repo_type="dataset").sha

    def api(self) -> Any:
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.sandbox.hub.endpoint, token=self.sandbox.hub.token)

    def files(self) -> list[str]:
        """Return the paths of the data files at the head."""
        return self._files("data/")

    def indexes(self) -> list[str]:
        """Return the paths of the indexes at the head."""
        return self._files("metadata/")

    def _files(self, folder: str) -> list[str]:
        paths = self.api().list_repo_files(self.repo_id, repo_type="dataset")
        return sorted(path for path in paths if path.startswith(folder))

    @contextmanager
    def dataset_folder(self) -> Iterator[Path]:
        """Download the dataset's files at the head."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            yield Path(
                self.api().snapshot_download(self.repo_id, repo_type="dataset", local_dir=folder, cache_dir=folder)
            )

    def table(self) -> pa.Table:
        """Return all rows of the dataset, in file order."""
        with self.dataset_folder() as folder:
            return pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob("data/*/*.parquet")))

    def row_keys(self) -> list[str]:
        """Return `audio.path` of every row of the dataset, sorted."""
        return sorted(row["path"] for row in self.table()["audio"].to_pylist())

    def index_rows(self) -> list[dict[str, Any]]:
        """Return all rows of the indexes, in file order."""
        with self.dataset_folder() as folder:
            return [
                row for path in sorted(folder.glob("metadata/*/*.parquet")) for row in pq.read_table(path).to_pylist()
            ]

    def commits(self) -> list[str]:
        """Return the titles of the commits of data, newest first."""
        commits = self.api().list_repo_commits(self.repo_id, repo_type="dataset")
        return [commit.title for commit in commits if commit.title.startswith("Add ")]


def _empty_home(sandbox: Sandbox) -> Path:
    """Return a DAGSTER_HOME with empty tables; to create them takes Dagster longer than many a test."""
    home = sandbox.folder / "dagster_home"
    if not home.exists():
        home.mkdir()
        shutil.copy(ROOT / "dagster.yaml", home)
        with DagsterInstance.from_config(str(home)):
            pass
    return home


def run_between(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, action: Callable[[], object]) -> None:
    """Call `action` once, right before `where.name` runs for the first time."""
    real = getattr(where, name)

    def first(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(where, name, real)
        action()
        return real(*arguments, **options)

    monkeypatch.setattr(where, name, first)


def materializations(world: World, asset: str, partition: str | None = None) -> list[dict[str, Any]]:
    """Return the metadata of an asset's materializations, newest first, as plain values."""
    from dagster import AssetKey, AssetRecordsFilter

    with DagsterInstance.get() as instance:
        records = instance.fetch_materializations(
            AssetRecordsFilter(AssetKey(asset), asset_partitions=[partition] if partition else None), limit=1000
        ).records
    events = [record.asset_materialization for record in records]
    return [{name: _plain(value) for name, value in event.metadata.items()} for event in events if event is not None]


def _plain(value: MetadataValue) -> Any:
    return [record.data for record in value.records] if isinstance(value, TableMetadataValue) else value.value
