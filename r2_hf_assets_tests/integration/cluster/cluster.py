"""A running cluster: real processes with the files of deploy/celery/, by default with shorter waits.

This machine has PostgreSQL, Redis, the code server, the daemon and the webserver, and the sandbox's S3 server and Hub.
Each further machine has one Celery worker with its own DAGSTER_HOME and temporary folder; it connects to all else over
its network link.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from r2_hf_assets_tests.integration.cluster import installed
from r2_hf_assets_tests.integration.cluster.databases import DATABASE, USER, listens, postgres, redis
from r2_hf_assets_tests.integration.cluster.network import Machine, Network, available, network, no_network
from r2_hf_assets_tests.integration.webserver import TASK_ID_TAG, Run, Webserver
from r2_hf_assets_tests.support.world import ROOT
from r2_hf_sandbox.processes import (
    LOOPBACK,
    Process,
    SandboxError,
    free_port,
    log_tail,
    start_process,
    wait_until,
)
from r2_hf_sandbox.sandbox import Sandbox

DEPLOY = ROOT / "deploy" / "celery"
_LOCATION = "r2_hf_assets"
_START_S, _GRACE_S = 120.0, 2.0
# Minutes in the shipped file.
_SHORTENED = {"poll_interval_seconds": 2, "cancel_timeout_seconds": 30, "free_slots_after_run_end_seconds": 2}


@dataclass
class Cluster:
    """`env` has the product's settings on this machine; `workers` has each machine's processes."""

    sandbox: Sandbox
    folder: Path
    net: Network
    programs: Path
    env: dict[str, str] = field(repr=False)
    webserver: Webserver
    quick: bool
    workers: dict[str, list[Process]] = field(default_factory=dict)

    def machine(self, name: str) -> Machine:
        return next(machine for machine in self.net.machines if machine.name == name)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment on this machine."""
        program = str(self.programs / "python")
        env = {**_bare_environment(), **self.env}
        call = [program, "-m", *words]
        return subprocess.run(call, env=env, cwd=self.folder, capture_output=True, text=True, timeout=180, check=False)

    def start_worker(self, name: str) -> None:
        """Start the machine's worker, and wait until it is ready for runs."""
        machine, home = self.machine(name), self.folder / name
        _make_home(home, len(self.net.machines), self.quick)
        env = {**self.env, "DAGSTER_HOME": str(home), "TMPDIR": str(home / "tmp"), "HF_HOME": str(home / "hf_home")}
        started: list[Process] = []
        if machine.namespace:
            for word in ("DAGSTER_PG_HOST", "CLUSTER_REDIS_URL"):
                env[word] = env[word].replace(LOOPBACK, self.net.address)
            started.append(self._relay(f"{name}_relay", LOOPBACK, self.net.address, machine))
        log = self.folder / f"{name}.log"
        ready = log.read_text().count(" ready.") if log.exists() else 0
        words = ["-A", "dagster_celery.app", "worker", "-Q", "dagster", "-c", "1", "-n", f"{name}@%h", "-l", "INFO"]
        worker = self._start(name, [str(self.programs / "celery"), *words], env, machine)
        self.workers[name] = [worker, *started]
        wait_until(lambda: not worker.alive() or log.read_text().count(" ready.") > ready, _START_S)
        if not worker.alive():
            raise SandboxError(f"the worker {name} did not start; its log ends:\n{log_tail(log)}")

    def kill_machine(self, name: str) -> int:
        """Kill every process of the machine; return how many."""
        processes = self.workers.pop(name)
        machine = self.machine(name)
        killed = machine.kill() if machine.namespace else 0
        for process in processes:
            if not machine.namespace and process.keeper is not None:
                with suppress(ProcessLookupError):
                    os.killpg(process.keeper.pid, signal.SIGKILL)  # the pool is in the group of its keeper
                killed += 1
            process.stop(0)
        return killed

    def worker_of(self, run: Run) -> str:
        """Return the name of the run's worker; empty when no worker received it."""
        task = run.tags.get(TASK_ID_TAG)
        logs = {machine.name: self.folder / f"{machine.name}.log" for machine in self.net.machines}
        return next((name for name, log in logs.items() if task and f"[{task}] received" in log.read_text()), "")

    def logs(self) -> str:
        """Return the end of every log."""
        return "\n".join(f"--- {log.name}\n{log_tail(log)}" for log in sorted(self.folder.glob("*.log")))

    def _start(self, name: str, command: Sequence[str], env: dict[str, str], machine: Machine | None = None) -> Process:
        prefix = [*(machine.prefix if machine else []), "env", "-C", str(self.folder)]
        full = {**_bare_environment(), **env}
        log = self.folder / f"{name}.log"
        return start_process([*prefix, *command], log=log, detach=False, grace_s=_GRACE_S, env=full)

    def _relay(self, name: str, here: str, there: str, machine: Machine | None = None) -> Process:
        ports = [url.rpartition(":")[2] for url in (self.env["R2_ENDPOINT_URL"], self.env["HF_ENDPOINT"])]
        relay = str(Path(__file__).with_name("relay.py"))
        return self._start(name, [str(self.programs / "python"), relay, here, there, *ports], {}, machine)


@contextmanager
def cluster(
    sandbox: Sandbox,
    folder: Path,
    names: Sequence[str],
    env: dict[str, str],
    *,
    separate: bool | None = None,
    quick: bool = True,
) -> Iterator[Cluster]:
    """Start a cluster with its tables created and its workers ready; all of it is removed at the end.

    Args:
        sandbox: has the S3 server and the Hub.
        folder: empty; for homes and logs.
        names: the machines with a worker.
        env: the product's settings.
        separate: whether machines get network namespaces; None: if that is possible here.
        quick: whether services check, and runs send heartbeats, every second or two; False: as shipped.

    Raises:
        NotInstalled, SandboxError: a part can't be installed or did not start.
    """
    programs, redis_server = installed.programs()
    python = installed.python()
    separate = available() if separate is None else separate
    with ExitStack() as stack:
        net = stack.enter_context((network if separate else no_network)(names))
        own = [net.address] if separate else []
        database = stack.enter_context(postgres(programs, own, [net.range] if separate else []))
        broker = stack.enter_context(redis(redis_server, own))
        ports = {"code": free_port()}
        ports["web"] = free_port(taken=[ports["code"]])
        home = folder / "coordinator"
        settings = {
            **env,
            "DAGSTER_HOME": str(home),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "DAGSTER_PG_HOST": LOOPBACK,
            "DAGSTER_PG_PORT": str(database.port),
            "DAGSTER_PG_USER": USER,
            "DAGSTER_PG_PASSWORD": database.password,
            "DAGSTER_PG_DB": DATABASE,
            "CLUSTER_REDIS_URL": f"redis://:{broker.password}@{LOOPBACK}:{broker.port}/0",
            "AWS_ACCESS_KEY_ID": env["R2_ACCESS_KEY_ID"],
            "AWS_SECRET_ACCESS_KEY": env["R2_SECRET_ACCESS_KEY"],
            "AWS_DEFAULT_REGION": "auto",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        }
        if quick:
            settings["DAGSTER_EVENT_LOG_CONSUMER_DAEMON_INTERVAL_SECONDS"] = "1"
        _make_home(home, len(names), quick)
        webserver = Webserver(f"http://{LOOPBACK}:{ports['web']}")
        made = Cluster(sandbox, folder, net, python, settings, webserver, quick)
        scanned = made.command("r2_hf_assets.cli", "scan")  # also makes the tables, in one process
        if scanned.returncode:
            raise SandboxError(f"the scan failed: {scanned.stderr.strip()}")
        _start_services(made, stack, ports, separate)
        yield made


def _start_services(made: Cluster, stack: ExitStack, ports: dict[str, int], separate: bool) -> None:
    workspace = made.folder / "workspace.yaml"
    server = {"host": LOOPBACK, "port": ports["code"], "location_name": _LOCATION}
    workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
    python, load = str(made.programs / "python"), ["-w", str(workspace)]
    quick = "r2_hf_assets_tests.integration.quick"
    definitions, daemon = (
        (f"{quick}_definitions", f"{quick}_daemon") if made.quick else ("r2_hf_assets.definitions", "dagster._daemon")
    )
    module = ["-m", definitions, "--location-name", _LOCATION]
    commands = {
        "code_server": ["-m", "dagster", "api", "grpc", "-h", LOOPBACK, "-p", str(ports["code"]), *module],
        "daemon": ["-m", daemon, "run", *load],
        "webserver": ["-m", "dagster_webserver", "-h", LOOPBACK, "-p", str(ports["web"]), *load],
    }

    def stop_workers() -> None:
        for name in list(made.workers):
            made.kill_machine(name)

    services: list[Process] = []

    def stop_services() -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda service: service.stop(_GRACE_S), services))

    stack.callback(stop_services)
    stack.callback(stop_workers)
    if separate:
        services.append(made._relay("relay", made.net.address, LOOPBACK))

    def start(name: str) -> None:
        services.append(made._start(name, [python, *commands[name]], made.env))

    # The others connect to the code server at their start, and retry rarely.
    start("code_server")
    with ThreadPoolExecutor() as pool:
        workers = [pool.submit(made.start_worker, machine.name) for machine in made.net.machines]
        if wait_until(lambda: listens(ports["code"]), _START_S):
            start("daemon")
            start("webserver")
        for worker in workers:
            worker.result()
    if not wait_until(made.webserver.ready, _START_S, 0.2):
        raise SandboxError(f"the webserver does not respond\n{made.logs()}")


def _make_home(home: Path, slots: int, quick: bool) -> None:
    (home / "tmp").mkdir(parents=True, exist_ok=True)
    shipped = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
    if quick:
        shipped["run_monitoring"].update(_SHORTENED)
    shipped["concurrency"]["runs"]["max_concurrent_runs"] = slots
    shipped["compute_logs"]["config"]["local_dir"] = str(home / "tmp")
    (home / "dagster.yaml").write_text(yaml.safe_dump(shipped))


def _bare_environment() -> dict[str, str]:
    product = r"(R2|HF|DAGSTER|PARQUET|AWS|CLUSTER)_|PYTEST|PYTHONPATH"
    kept = {name: value for name, value in os.environ.items() if not re.match(product, name)}
    return {**kept, "PYTHONPATH": os.pathsep.join((str(ROOT), str(DEPLOY)))}
