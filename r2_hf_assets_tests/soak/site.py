"""A site: one deployment of real processes on a bucket of its own, in a folder.

hub/            the Hub's state; its process is killed and started again on the same port
dagster_home/   the shipped dagster.yaml with shorter intervals; the plan and the build records are here too
points/         armed and fired kills, see kill_points.py
tmp/            TMPDIR of the processes
*.log
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from dagster import DagsterInstance
from obstore.store import S3Store

from r2_hf_assets.plan.store import PlanStore, open_plan
from r2_hf_assets.settings import Settings, load
from r2_hf_assets_tests.soak.services import STOP_GRACE_S, Service
from r2_hf_assets_tests.soak.targets import MARK, kill, processes
from r2_hf_sandbox.hub.server import start_hub
from r2_hf_sandbox.processes import LOOPBACK, Process, free_port, start_process
from r2_hf_sandbox.s3.server import S3Server
from r2_hf_sandbox.samples.bucket import SampleSummary, upload_samples

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
LOCATION = "r2_hf_assets"
RUNS_AT_ONCE = 3
# Up to minutes in the shipped file.
SHORTENED = {
    "poll_interval_seconds": 2,
    "start_timeout_seconds": 25,
    "free_slots_after_run_end_seconds": 2,
}
_LANGUAGES = "en,de,fr,id,yue,unknown"


@dataclass(frozen=True)
class Site:
    """`env` has the product's settings; `port` is the code server's."""

    folder: Path
    s3: S3Server = field(repr=False)
    seed: int
    port: int
    bucket: str
    repo_id: str
    env: dict[str, str] = field(repr=False)
    services: tuple[Service, ...] = field(repr=False)

    @property
    def home(self) -> Path:
        return self.folder / "dagster_home"

    @property
    def points(self) -> Path:
        return self.folder / "points"

    @property
    def hub_folder(self) -> Path:
        return self.folder / "hub"

    def settings(self) -> Settings:
        return load(self.env)

    def plan(self) -> PlanStore:
        settings = self.settings()
        return open_plan(settings.plan, settings.r2)

    def upload(self, episodes: Mapping[str, int]) -> SampleSummary:
        """Upload sample episodes, damaged ones too; the same ones for the same seed."""
        return upload_samples(
            self.s3, self.bucket, seed=self.seed, episodes=episodes, awkward=True, segments=(3, 5), seconds=(3.0, 6.0)
        )

    def store(self) -> S3Store:
        return S3Store(
            self.bucket,
            endpoint=self.s3.endpoint_url,
            access_key_id=self.s3.access_key,
            secret_access_key=self.s3.secret_key,
            region="auto",
            client_options={"allow_http": True},
        )

    def check_services(self) -> None:
        """Raise RuntimeError when a service is given up."""
        for service in self.services:
            if why := service.failure():
                raise RuntimeError(f"{service.name} does not start any more: {why}")

    def process_env(self) -> dict[str, str]:
        return {**_bare_environment(), **self.env, MARK: str(self.folder)}


@contextmanager
def open_site(
    folder: Path, s3: S3Server, *, seed: int, state_on_s3: bool = False, lfs: bool = False, episodes_a_chunk: int = 2
) -> Iterator[Site]:
    """Start a site; its processes are stopped at the end, the folder stays."""
    for name in ("tmp", "dagster_home", "points"):
        (folder / name).mkdir(parents=True)
    hub = start_hub(folder / "hub")
    first: list[Process] = [hub.process]
    hub_port = int(hub.endpoint.rpartition(":")[2])
    bucket = re.sub(r"[^a-z0-9]+", "-", f"kills-{folder.parent.name}-{folder.name}".lower()).strip("-")
    s3.create_bucket(bucket)
    env = _settings(folder, s3, bucket, f"{hub.user}/speech", hub.endpoint, hub.token)
    env["EPISODES_PER_CHUNK"] = str(episodes_a_chunk)
    env |= {"STATE_URL": f"s3://{bucket}/state"} if state_on_s3 else {}
    env |= {"HF_HUB_DISABLE_XET": "1"} if lfs else {}
    _make_home(folder / "dagster_home")
    port = free_port()
    workspace = {"load_from": [{"grpc_server": {"host": LOOPBACK, "port": port, "location_name": LOCATION}}]}
    (folder / "workspace.yaml").write_text(yaml.safe_dump(workspace))
    module = ["-m", "r2_hf_assets_tests.soak.definitions", "--location-name", LOCATION]
    commands = {
        "code server": ["dagster", "api", "grpc", "-h", LOOPBACK, "-p", str(port), *module],
        "daemon": ["dagster-daemon", "run", "-w", str(folder / "workspace.yaml")],
    }

    def start(name: str) -> Process:
        program, *arguments = commands[name]
        return start_process(
            [sys.executable, str(BIN / program), *arguments],
            log=folder / f"{name.replace(' ', '_')}.log",
            detach=False,
            grace_s=STOP_GRACE_S,
            env={**_bare_environment(), **env, MARK: str(folder)},
        )

    def start_hub_again() -> Process:
        return first.pop() if first else start_hub(folder / "hub", port=hub_port).process

    services = (
        Service("Hub", start_hub_again),
        Service("code server", lambda: start("code server")),
        Service("daemon", lambda: start("daemon")),
    )
    site = Site(folder, s3, seed, port, bucket, f"{hub.user}/speech", env, services)
    with ExitStack() as stack:
        stack.callback(lambda: kill(list(processes(folder))))  # orphans
        for service in services:
            stack.enter_context(service)
        yield site


def _settings(folder: Path, s3: S3Server, bucket: str, repo_id: str, endpoint: str, token: str) -> dict[str, str]:
    return {
        "R2_ENDPOINT_URL": s3.endpoint_url,
        "R2_ACCESS_KEY_ID": s3.access_key,
        "R2_SECRET_ACCESS_KEY": s3.secret_key,
        "R2_BUCKET": bucket,
        "HF_REPO_ID": repo_id,
        "HF_TOKEN": token,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(folder / "hf_home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DAGSTER_HOME": str(folder / "dagster_home"),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "DAGSTER_EVENT_LOG_CONSUMER_DAEMON_INTERVAL_SECONDS": "1",
        "LANGUAGES": _LANGUAGES,
        "SETTLE_MINUTES": "0",
        # Small enough for several parts a chunk, and several row groups a part.
        "PARQUET_MAX_BYTES": "250000",
        "PARQUET_ROWGROUP_BYTES": "70000",
        "DOWNLOAD_WORKERS": "8",
        "TMPDIR": str(folder / "tmp"),
    }


def _bare_environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not re.match(r"(R2|HF|DAGSTER|PARQUET)_|PYTEST", k)}
    return {**kept, "PYTHONPATH": str(ROOT)}


def _make_home(home: Path) -> None:
    shipped = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    monitoring = shipped["run_monitoring"]
    monitoring.update({name: SHORTENED[name] for name in SHORTENED if name in monitoring})
    shipped["concurrency"]["runs"]["max_concurrent_runs"] = RUNS_AT_ONCE
    (home / "dagster.yaml").write_text(yaml.safe_dump(shipped))
    # Several processes that make the database at once can leave it with two schema versions, which is unusable.
    DagsterInstance.from_config(str(home)).dispose()
