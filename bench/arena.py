"""The sandbox of one benchmark: an S3 server for all of it, and for every run a clean place.

A place has its own DAGSTER_HOME, HF_HOME, working folder and, for a run that uploads, its own Hub: so no run meets
the plan, the Xet cache or the stored chunks of another. It is removed when the run is over.
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
HUB = "hub"  # the folder of a place in which its Hub keeps everything
S3, HUB_SERVER = "S3 server", "Hub"  # names of a place's servers
_SEED = 3


@dataclass(frozen=True)
class Place:
    """Where one run happens.

    Attributes:
        servers: the processes that serve it, by name: their CPU is told beside the run's own.
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
        return replace(sample, servers={name: cpu_seconds(self.servers[name]) - took for name, took in before.items()})


@dataclass
class Arena:
    """The running S3 server, a folder for everything, the sizes, and what rows made that others need too."""

    s3: S3Server
    folder: Path
    sizes: Sizes
    rounds: int
    rows: tuple[str, ...]
    say: Callable[[str], None]
    _made: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` returned when it was first asked for under this name."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    # buckets

    def bucket(self, name: str, **samples: Any) -> str:
        """A bucket with sample episodes, filled when first asked for."""

        def fill() -> str:
            self.say(f"filling bucket {name}")
            options = {"seed": _SEED, "segments": (self.sizes.segments,) * 2, "seconds": self.sizes.seconds}
            self.s3.create_bucket(name)
            fill_bucket(self.store(name), **{**options, **samples})
            return name

        return self.once(f"bucket {name}", fill)

    def speech(self) -> str:
        """The main bucket."""
        return self.bucket("speech", episodes=self.sizes.folders_of(self.sizes.episodes))

    def chunked(self) -> str:
        """A bucket of one language, for chunks of one size."""
        return self.bucket("chunked", episodes={"en": self.sizes.same_chunks * self.sizes.same_chunk_episodes})

    def keys(self, bucket: str, episodes: int | None = None) -> Path:
        """A file with the keys of the objects that a build reads, one a line, in listing order.

        Args:
            episodes: only those of the first so many.
        """

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
        """A folder with the main bucket's audio as finished Parquet, in as many files as it makes chunks."""
        return self.finished(self.speech(), self.keys(self.speech()), self.sizes.main_chunks)

    def finished(self, bucket: str, keys: Path, files: int) -> Path:
        """A folder with finished Parquet files of these objects."""

        def build() -> Path:
            self.say(f"writing the Parquet of {keys.stem} that the baselines are given")
            target = self.folder / "built" / keys.stem
            with self.place(bucket) as place:
                place.job("finished", str(keys), str(target), str(files))
            return target

        return self.once(f"built {keys.stem}", build)

    # places

    @contextmanager
    def place(
        self, bucket: str, *, hub: bool = False, line: Line | None = None, xet: bool = True, **more: str
    ) -> Iterator[Place]:
        """A clean place for a run on `bucket`; with a Hub of its own if asked for, behind `line` if one is given.

        Args:
            xet: False: the Hub takes and serves plain files.
            more: variables besides those that every run gets.
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
                    line.lead_to(server.endpoint)
            yield Place(folder, env | more, servers)

    def _env(self, bucket: str, folder: Path) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not re.match(r"(R2|HF|DAGSTER|PARQUET|AWS)_|(LANGUAGES|STATE_URL|KEEP_SHARDS|[A-Z]*_PROXY)$", name)
        }
        return {
            **kept,
            "PATH": f"{BIN}{os.pathsep}{kept.get('PATH', '')}",
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
