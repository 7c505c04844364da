"""What is tried in the image: one machine, then the services of compose.yaml.

Every command runs as the image's user, on mounted folders. In a network namespace of their own the services have the
ports of compose.yaml, and 0.0.0.0 is loopback.
"""

import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from r2_hf_assets_tests.integration.cluster import installed
from r2_hf_assets_tests.integration.cluster.databases import DATABASE, USER, listens, postgres
from r2_hf_assets_tests.integration.image.buildah import DOCKERFILE, Buildah
from r2_hf_assets_tests.integration.image.compose import COMPOSE, Service, read_services, write_cluster_env
from r2_hf_assets_tests.integration.webserver import Run, Webserver
from r2_hf_assets_tests.support.world import ROOT, World
from r2_hf_sandbox.processes import Process, SandboxError, log_tail, start_process, wait_until
from r2_hf_sandbox.samples.bucket import upload_samples
from r2_hf_sandbox.sandbox import Sandbox, start_sandbox

HOME = "/var/lib/r2-hf"
CODE, WEB, REDIS = 4000, 3000, 6379  # ports of compose.yaml
_EPISODES = {"en": 4, "de": 2}
_EPISODES_A_CHUNK = "2"
_START_S, _BACKFILL_S, _GRACE_S = 180.0, 600.0, 60.0
_BUSY_S = 15.0  # of the run during which the worker is stopped
Log = Callable[[str], None]


@dataclass(frozen=True)
class Site:
    """Where the checks run; `folder` has what is mounted into the container, and the logs."""

    sandbox: Sandbox
    buildah: Buildah
    container: str
    folder: Path
    log: Log

    def settings(self, repo: str) -> dict[str, str]:
        """Return the product's variables for a dataset of this name."""
        env = self.sandbox.env()
        del env["HF_HOME"]  # the image's own
        more = {"EPISODES_PER_CHUNK": _EPISODES_A_CHUNK, "SETTLE_MINUTES": "0", "LANGUAGES": ",".join(_EPISODES)}
        return {**env, "HF_REPO_ID": f"{self.sandbox.hub.user}/{repo}", **more}

    def world(self, env: dict[str, str]) -> World:
        """Return the means to read what the Hub holds."""
        return World(self.sandbox, self.folder, self.sandbox.bucket, env["HF_REPO_ID"], env)

    def mounted(self, name: str) -> Path:
        """Make a folder that belongs to the image's user, as a volume of docker does."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        os.chown(folder, image_user(), image_user())
        return folder

    def call(self, command: Sequence[str], env: Mapping[str, str], mounts: Mapping[Path, str]) -> str:
        """Run a command to its end, and return what it prints."""
        words = self.buildah.run_command(self.container, command, env, mounts)
        began = time.monotonic()
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_BACKFILL_S)
        shown = " ".join(command)
        if done.returncode:
            raise SandboxError(f"{shown} failed (exit {done.returncode}):\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
        self.log(f"{shown}: {time.monotonic() - began:.1f} s")
        return done.stdout


def image_user() -> int:
    (uid,) = re.findall(r"useradd .*--uid (\d+)", DOCKERFILE.read_text())
    return int(uid)


def check_image(buildah: Buildah, folder: Path, log: Log) -> None:
    """Run everything. Raises SandboxError, with the end of a log, for what does not work."""
    hosts = [*read_services({"REDIS_PASSWORD": ""}), "postgres"]
    container = buildah.container(hosts)
    with start_sandbox_with_samples(folder, log) as (sandbox, rows):
        site = Site(sandbox, buildah, container, folder, log)
        check_one_machine(site)
        check_services(site, rows)


@contextmanager
def start_sandbox_with_samples(folder: Path, log: Log) -> Iterator[tuple[Sandbox, list[str]]]:
    """A sandbox with episodes, and the keys of the rows that the dataset must have."""
    with start_sandbox(folder / "sandbox") as sandbox:
        expected = upload_samples(sandbox.s3, sandbox.bucket, seed=5, episodes=_EPISODES, segments=(4, 6))
        log(f"sandbox: {expected.episodes} episodes with {expected.segments} segments in the bucket")
        yield sandbox, sorted(row.key for row in expected.rows)


def check_one_machine(site: Site) -> None:
    """doctor, a scan and one chunk, with DAGSTER_HOME on a volume."""
    env, home = site.settings("one-machine"), site.mounted("home")
    shutil.copy(ROOT / "dagster.yaml", home)
    volume = {home: HOME}
    user = site.call(["id", "-un"], env, volume).strip()
    leaked = site.call(["find", "/opt/r2_hf_assets", "-name", "cluster.env"], env, volume).strip()
    if user != "r2-hf" or leaked:
        raise SandboxError(f"the image runs as {user}, and has {leaked or 'no secrets'}")
    site.call(["dagster", "instance", "migrate"], env, volume)
    for line in site.call(["r2-hf", "doctor"], env, volume).splitlines():
        site.log(f"  {line}")
    site.call(["r2-hf", "scan"], env, volume)
    site.call(["r2-hf", "process", "--limit", "1"], env, volume)
    for line in site.call(["r2-hf", "status"], env, volume).splitlines():
        site.log(f"  {line}")
    world = site.world(env)
    owners = {path.stat().st_uid for path in home.rglob("*")} - {0}  # dagster.yaml is root's
    if len(world.commits()) != 1 or not world.row_keys() or owners != {image_user()}:
        raise SandboxError(f"one chunk: commits {world.commits()}, files in DAGSTER_HOME of users {owners}")


def check_services(site: Site, rows: Sequence[str]) -> None:
    """The services of compose.yaml with their own arguments, and a backfill of all chunks on the worker."""
    programs, redis_server = installed.programs()
    with ExitStack() as stack:
        database = stack.enter_context(postgres(programs))
        values = {
            **site.settings("services"),
            "STATE_URL": f"s3://{site.sandbox.bucket}/r2_hf/state",
            "DAGSTER_PG_HOST": "postgres",
            "DAGSTER_PG_PORT": str(database.port),
            "DAGSTER_PG_USER": USER,
            "DAGSTER_PG_PASSWORD": database.password,
            "DAGSTER_PG_DB": DATABASE,
            "REDIS_PASSWORD": secrets.token_hex(16),
        }
        values["CLUSTER_REDIS_URL"] = f"redis://:{values['REDIS_PASSWORD']}@redis:{REDIS}/0"
        values["AWS_ACCESS_KEY_ID"] = values["R2_ACCESS_KEY_ID"]
        values["AWS_SECRET_ACCESS_KEY"] = values["R2_SECRET_ACCESS_KEY"]
        env = write_cluster_env(site.folder / "cluster.env", values)
        services = read_services(env)
        running = Running(site, services, env, stack)

        broker = [str(redis_server), *services["redis"].command[1:], "--dir", str(site.mounted("redis"))]
        running.start("redis", broker, lambda: listens(REDIS))
        database_service = services["database"]
        site.call(database_service.command, running.env(database_service), running.mounts(database_service))
        running.start_service("code", lambda: listens(CODE))
        webserver = Webserver(f"http://127.0.0.1:{WEB}")
        running.start_service("daemon", lambda: "daemons" in running.output("daemon"))
        running.start_service("webserver", webserver.ready)
        running.start_service("worker", lambda: " ready." in running.output("worker"))
        worker = services["worker"]
        planned = site.call(["r2-hf", "scan"], running.env(worker), running.mounts(worker)).strip()
        site.log(f"  {planned}")
        check_backfill(site, running, webserver, rows)
        check_stop(site, running, webserver)


def check_backfill(site: Site, running: "Running", webserver: Webserver, rows: Sequence[str]) -> None:
    size = int(_EPISODES_A_CHUNK)
    keys = [f"{name}|chunk_{n:04d}" for name, count in _EPISODES.items() for n in range(-(-count // size))]
    began = time.monotonic()
    backfill = webserver.backfill(keys)
    waiting = ("REQUESTED",)
    wait_until(lambda: webserver.backfill_status(backfill) not in waiting, _BACKFILL_S, 1.0)
    status, world = webserver.backfill_status(backfill), site.world(running.variables)
    if status != "COMPLETED_SUCCESS" or world.row_keys() != rows or len(world.commits()) != len(keys):
        raise SandboxError(f"the backfill is {status}; commits {world.commits()}\n{running.logs()}")
    listed = site.sandbox.s3.client().list_objects_v2(Bucket=site.sandbox.bucket, Prefix="dagster/compute_logs/")
    if not listed.get("Contents"):
        raise SandboxError("there are no compute logs in the bucket")
    site.log(
        f"backfill of {len(keys)} chunks: {status} after {time.monotonic() - began:.0f} s, {len(rows)} rows in "
        f"{len(keys)} commits, {len(listed['Contents'])} compute logs in the bucket"
    )


def check_stop(site: Site, running: "Running", webserver: Webserver) -> None:
    """A worker that gets SIGTERM, as from `docker stop`, completes its run before it ends."""
    site.sandbox.hub.inject({"method": "GET", "path_regex": "/xet-write-token/", "delay_s": _BUSY_S})
    done = {run.id for run in webserver.runs()}
    webserver.backfill(["en|chunk_0000"])

    def active() -> list[Run]:
        return [run for run in webserver.runs() if run.id not in done and run.status == "STARTED"]

    wait_until(lambda: bool(active()), _START_S, 0.2)
    (run,) = active()
    began = time.monotonic()
    running.terminate("worker")
    status = webserver.run(run.id).status
    if status != "SUCCESS":
        raise SandboxError(f"the run of the stopped worker is {status}\n{running.logs()}")
    site.log(f"worker: stopped {time.monotonic() - began:.1f} s after SIGTERM, when its run had ended with {status}")


@dataclass
class Running:
    """The services that run; `variables` are those of cluster.env."""

    site: Site
    services: Mapping[str, Service]
    variables: dict[str, str]
    stack: ExitStack

    def __post_init__(self) -> None:
        self._processes: dict[str, Process] = {}

    def env(self, service: Service) -> dict[str, str]:
        return {**self.variables, **service.environment}

    def mounts(self, service: Service) -> dict[Path, str]:
        """Return a service's volumes: files beside compose.yaml, and named volumes as folders."""
        return {
            COMPOSE.parent / source if source.startswith("./") else self.site.mounted(source): target
            for source, target in service.volumes
        }

    def start_service(self, name: str, ready: Callable[[], bool]) -> None:
        service = self.services[name]
        command = self.site.buildah.run_command(
            self.site.container, service.command, self.env(service), self.mounts(service)
        )
        self.start(name, command, ready)

    def start(self, name: str, command: Sequence[str], ready: Callable[[], bool]) -> None:
        """Start a process, and wait until it is ready."""
        began, log = time.monotonic(), self._log(name)
        process = start_process(command, log=log, detach=False, grace_s=_GRACE_S)
        self.stack.callback(process.stop, _GRACE_S)
        self._processes[name] = process
        wait_until(lambda: not process.alive() or ready(), _START_S, 0.2)
        if not process.alive() or not ready():
            raise SandboxError(f"{name} did not start; its log ends:\n{log_tail(log)}")
        self.site.log(f"{name}: ready after {time.monotonic() - began:.1f} s")

    def terminate(self, name: str) -> None:
        """Send SIGTERM to a service's own process, and wait until the container's command has ended."""
        # buildah itself ends its command by SIGKILL.
        script = f"/usr/local/bin/{self.services[name].command[0]}"
        matching = {
            pid: parent for pid, parent, words in _processes() if "python" in words[0] and words[1:2] == [script]
        }
        (main,) = (pid for pid, parent in matching.items() if parent not in matching)
        os.kill(main, signal.SIGTERM)
        if not wait_until(lambda: not self._processes[name].alive(), _BACKFILL_S, 0.2):
            raise SandboxError(f"{name} does not end after SIGTERM\n{self.logs()}")

    def output(self, name: str) -> str:
        return self._log(name).read_text()

    def logs(self) -> str:
        """Return the end of every log."""
        return "\n".join(f"--- {name}\n{log_tail(self._log(name))}" for name in self._processes)

    def _log(self, name: str) -> Path:
        return self.site.folder / f"{name}.log"


def _processes() -> Iterator[tuple[int, int, list[str]]]:
    """Yield pid, parent's pid and command line of every process of this namespace."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            yield int(folder.name), int(parent), (folder / "cmdline").read_text().split("\0")
