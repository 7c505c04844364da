"""The sandbox of one benchmark: an S3 server for all of it, and for every run a clean place.

A place has its own DAGSTER_HOME, HF_HOME, working folder and, for a run that uploads, its own Hub: so no run meets
the plan, the Xet cache or the stored chunks of another. It is removed when the run is over.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import obstore

from bench.data import fill_bucket
from bench.errors import NotInstalled
from bench.measure import Sample, measure
from bench.sizes import Sizes
from r2_hf_assets.bucket.client import object_store
from r2_hf_assets.sandbox.hub import start_hub
from r2_hf_assets.sandbox.s3 import S3Server
from r2_hf_assets.settings import BucketSettings

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
REPO_ID = "sandbox/podcasts"
_SEED = 3


@dataclass(frozen=True)
class Place:
    """Where one run happens."""

    folder: Path
    env: dict[str, str] = field(repr=False)

    def job(self, name: str, *arguments: str) -> Sample:
        """Measure one of bench.jobs."""
        return self.run([sys.executable, "-m", f"bench.jobs.{name}", *arguments])

    def run(self, command: Sequence[str]) -> Sample:
        """Measure any command."""
        return measure(command, self.env, self.folder)


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

    def keys(self, bucket: str) -> Path:
        """A file with the keys of the objects that a build reads, one a line, in listing order."""

        def write() -> Path:
            path = self.folder / f"{bucket}.keys"
            listed = [item["path"] for batch in obstore.list(self.store(bucket)) for item in batch]
            path.write_text("\n".join(key for key in listed if not key.endswith("/filtered_segments.json")))
            return path

        return self.once(f"keys {bucket}", write)

    def store(self, bucket: str) -> Any:
        settings = BucketSettings(self.s3.endpoint_url, self.s3.access_key, self.s3.secret_key, bucket)
        return object_store(settings)

    def built(self) -> Path:
        """A folder with the main bucket's finished shards."""

        def build() -> Path:
            self.say("building the shards that the baselines are given")
            target = self.folder / "built"
            with self.place(self.speech(), SHARD_URL=str(target)) as place:
                place.job("build")
            for record in target.rglob("*.json"):
                record.unlink()
            return target

        return self.once("built", build)

    # places

    @contextmanager
    def place(self, bucket: str, *, hub: bool = False, **more: str) -> Iterator[Place]:
        """A clean place for a run on `bucket`; with a Hub of its own if asked for."""
        with contextlib.ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(dir=self.folder, prefix="run-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            home = folder / "home"
            home.mkdir()
            shutil.copy(ROOT / "dagster.yaml", home)
            env = self._env(bucket, folder)
            if hub:
                server = stack.enter_context(start_hub(folder / "hub"))
                env |= {"HF_ENDPOINT": server.endpoint, "HF_TOKEN": server.token}
            yield Place(folder, env | more)

    def _env(self, bucket: str, folder: Path) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not re.match(
                r"(R2|HF|DAGSTER|PARQUET|AWS)_|(LANGUAGES|STATE_URL|SHARD_URL|KEEP_SHARDS|[A-Z]*_PROXY)$", name
            )
        }
        return {
            **kept,
            "PATH": f"{BIN}{os.pathsep}{kept.get('PATH', '')}",
            "PYTHONPATH": str(ROOT),
            "R2_ENDPOINT_URL": self.s3.endpoint_url,
            "R2_ACCESS_KEY_ID": self.s3.access_key,
            "R2_SECRET_ACCESS_KEY": self.s3.secret_key,
            "R2_BUCKET": bucket,
            "HF_REPO_ID": REPO_ID,
            "HF_HOME": str(folder / "hf_home"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "DAGSTER_HOME": str(folder / "home"),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "SETTLE_MINUTES": "0",
        }


def command(name: str) -> str:
    """Path of a baseline's command, beside this Python or on PATH. Raises NotInstalled."""
    found = shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        raise NotInstalled(name)
    return found


@contextmanager
def slow_line(s3: S3Server, delay_s: float) -> Iterator[str]:
    """The S3 server behind a proxy that holds every answer back for `delay_s`; its URL."""
    server = subprocess.Popen(
        [sys.executable, "-m", "bench.proxy", s3.endpoint_url, str(delay_s)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None and server.stdout is not None
    try:
        yield server.stdout.readline().strip()
    finally:
        server.stdin.close()
        server.wait(10)
        server.stdout.close()
