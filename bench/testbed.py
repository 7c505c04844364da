"""The sandbox of one benchmark: an S3 server for all rows, and a clean workspace for every run.

A workspace has its own DAGSTER_HOME, HF_HOME, working folder and, for a run that uploads, its own Hub, so that no run
finds the plan, the Xet cache or the stored chunks of another. It is removed after the run.
"""

import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import obstore

from bench.baselines import BIN, REPO_ID
from bench.data import fill_bucket
from bench.line import Line
from bench.measure import Sample, cpu_seconds, measure
from bench.sizes import Sizes
from r2_hf_assets.bucket.client import object_store
from r2_hf_assets.settings import BucketSettings
from r2_hf_sandbox.hub.server import start_hub
from r2_hf_sandbox.s3.server import S3Server

ROOT = Path(__file__).parents[1]
HUB = "hub"  # the Hub's folder in a workspace
S3, HUB_SERVER = "S3 server", "Hub"  # names of servers
_SEED = 3


@dataclass(frozen=True)
class Workspace:
    """Folder, environment and servers of one run.

    Attributes:
        servers: pids by name; their CPU is measured beside the run's own.
    """

    folder: Path
    env: dict[str, str] = field(repr=False)
    servers: Mapping[str, int]

    def job(self, name: str, *arguments: str) -> Sample:
        """Measure one of bench.jobs."""
        return self.run([sys.executable, "-m", f"bench.jobs.{name}", *arguments])

    def run(self, command: Sequence[str]) -> Sample:
        """Measure any command."""
        before = {name: cpu_seconds(pid) for name, pid in self.servers.items()}
        sample = measure(command, self.env, self.folder)
        return replace(sample, servers={name: cpu_seconds(self.servers[name]) - used for name, used in before.items()})


@dataclass
class Testbed:
    """The running S3 server, a folder, the sizes, and results that rows share."""

    s3: S3Server
    folder: Path
    sizes: Sizes
    rounds: int
    rows: tuple[str, ...]
    log: Callable[[str], None]
    _cache: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """Return the result of the first `make` of this name."""
        if name not in self._cache:
            self._cache[name] = make()
        return self._cache[name]

    def bucket(self, name: str, **samples: Any) -> str:
        """Return a bucket of sample episodes, filled at the first call."""

        def fill() -> str:
            self.log(f"filling bucket {name}")
            options = {"seed": _SEED, "segments": (self.sizes.segments,) * 2, "seconds": self.sizes.seconds}
            self.s3.create_bucket(name)
            fill_bucket(self.store(name), **{**options, **samples})
            return name

        return self.once(f"bucket {name}", fill)

    def speech(self) -> str:
        return self.bucket("speech", episodes=self.sizes.folders_of(self.sizes.episodes))

    def chunked(self) -> str:
        """Return a bucket of one language, for chunks of one size."""
        return self.bucket("chunked", episodes={"en": self.sizes.same_chunks * self.sizes.same_chunk_episodes})

    def keys(self, bucket: str, episodes: int | None = None) -> Path:
        """Return a file with the keys of the objects that a build of the first `episodes` reads, in listing order."""

        def write() -> Path:
            path = self.folder / f"{bucket}-{episodes or 'all'}.keys"
            listed = [item["path"] for batch in obstore.list(self.store(bucket)) for item in batch]
            first = sorted({key.rpartition("/")[0] for key in listed})[:episodes]
            keys = sorted(key for key in listed if key.rpartition("/")[0] in set(first))
            path.write_text("\n".join(key for key in keys if not key.endswith("/filtered_segments.json")))
            return path

        return self.once(f"keys {bucket} {episodes}", write)

    def store(self, bucket: str) -> Any:
        settings = BucketSettings(self.s3.endpoint_url, self.s3.access_key, self.s3.secret_key, bucket)
        return object_store(settings)

    def built(self) -> Path:
        """Return a folder with the main bucket's audio as Parquet, a file for each chunk."""
        return self.finished(self.speech(), self.keys(self.speech()), self.sizes.main_chunks)

    def finished(self, bucket: str, keys: Path, files: int) -> Path:
        """Return a folder with Parquet files of these objects."""

        def build() -> Path:
            self.log(f"writing the Parquet of {keys.stem} for the baselines")
            target = self.folder / "built" / keys.stem
            with self.workspace(bucket) as workspace:
                workspace.job("finished", str(keys), str(target), str(files))
            return target

        return self.once(f"built {keys.stem}", build)

    @contextmanager
    def workspace(
        self, bucket: str, *, hub: bool = False, line: Line | None = None, xet: bool = True, **more: str
    ) -> Iterator[Workspace]:
        """Make a clean workspace for a run on `bucket`.

        Args:
            hub: with a Hub of its own; so too with a `line`, which leads to it.
            xet: False: the Hub accepts and serves plain files.
            more: additional environment variables.
        """
        with contextlib.ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(dir=self.folder, prefix="run-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            home = folder / "home"
            home.mkdir()
            shutil.copy(ROOT / "dagster.yaml", home)
            env = self._env(bucket, folder)
            servers = {S3: self.s3.process.pid}
            if hub or line:
                server = stack.enter_context(start_hub(folder / HUB, public_url=line.url if line else None, xet=xet))
                servers[HUB_SERVER] = server.process.pid
                env |= {"HF_ENDPOINT": line.url if line else server.endpoint, "HF_TOKEN": server.token}
                env |= {} if xet else {"HF_HUB_DISABLE_XET": "1"}
                if line:
                    line.connect(server.endpoint)
            yield Workspace(folder, env | more, servers)

    def _env(self, bucket: str, folder: Path) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not re.match(r"(R2|HF|DAGSTER|PARQUET|AWS)_|(LANGUAGES|STATE_URL|KEEP_SHARDS|[A-Z]*_PROXY)$", name)
        }
        return {
            **inherited,
            "PATH": f"{BIN}{os.pathsep}{inherited.get('PATH', '')}",
            "PYTHONPATH": str(ROOT),
            "R2_ENDPOINT_URL": self.s3.endpoint_url,
            "R2_ACCESS_KEY_ID": self.s3.access_key,
            "R2_SECRET_ACCESS_KEY": self.s3.secret_key,
            "R2_BUCKET": bucket,
            "AWS_ACCESS_KEY_ID": self.s3.access_key,
            "AWS_SECRET_ACCESS_KEY": self.s3.secret_key,
            "AWS_REGION": "us-east-1",
            "HF_REPO_ID": REPO_ID,
            "HF_HOME": str(folder / "hf_home"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "DAGSTER_HOME": str(folder / "home"),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "SETTLE_MINUTES": "0",
        }
