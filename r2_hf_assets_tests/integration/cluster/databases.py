"""A PostgreSQL and a Redis server with their own folders, ports and passwords, removed at the end.

Debian's own PostgreSQL cluster is not touched. PostgreSQL refuses to run as root, so root runs it as Debian's user
`postgres`, in a folder that belongs to that user.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from r2_hf_sandbox.processes import (
    LOOPBACK,
    SandboxError,
    free_port,
    log_tail,
    start_process,
    wait_until,
)

USER, DATABASE = "dagster", "postgres"
_START_S, _STOP_S = 60.0, 20.0
# Data need not survive a crash of this machine, only of a process.
_NO_SYNC = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")


@dataclass(frozen=True)
class Database:
    """Its port, on loopback and on each address that it was given, and its password."""

    port: int
    password: str = field(repr=False)


@contextmanager
def postgres(programs: Path, addresses: Sequence[str] = (), networks: Sequence[str] = ()) -> Iterator[Database]:
    """A PostgreSQL server with an empty database, on loopback and `addresses`; clients in `networks` may log in."""
    folder = Path(tempfile.mkdtemp(prefix="r2-hf-postgres-"))
    database = Database(free_port(), secrets.token_hex(16))
    as_user: list[str] = []
    try:
        (folder / "password").write_text(database.password)
        if os.geteuid() == 0:
            as_user = _as_postgres(folder)
        initdb = [*as_user, str(programs / "initdb"), "-D", str(folder / "data"), "-U", USER, "--no-sync"]
        made = subprocess.run(
            [*initdb, "--auth=scram-sha-256", f"--pwfile={folder / 'password'}"],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
        if made.returncode:
            raise SandboxError(f"initdb: {made.stderr.strip()}")
        with (folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.writelines(f"host all all {network} scram-sha-256\n" for network in networks)
        options = (
            *_NO_SYNC,
            f"port={database.port}",
            f"listen_addresses={','.join((LOOPBACK, *addresses))}",
            "unix_socket_directories=",
            "max_connections=200",
        )
        command = [*as_user, str(programs / "postgres"), "-D", str(folder / "data")]
        log = folder / "postgres.log"
        process = start_process(
            [*command, *(word for option in options for word in ("-c", option))], log=log, detach=False, grace_s=_STOP_S
        )
        try:
            _wait_for(database.port, process.alive, "PostgreSQL", log)
            yield database
        finally:
            if process.alive():
                os.kill(process.pid, signal.SIGINT)  # "fast" shutdown: connections are closed
                wait_until(lambda: not process.alive(), _STOP_S)
            process.stop(_STOP_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis(program: Path, addresses: Sequence[str] = ()) -> Iterator[Database]:
    """A Redis server on loopback and `addresses`, without persistence."""
    folder = Path(tempfile.mkdtemp(prefix="r2-hf-redis-"))
    database = Database(free_port(), secrets.token_hex(16))
    try:
        config = folder / "redis.conf"
        config.touch(mode=0o600)
        config.write_text(
            f"bind {' '.join((LOOPBACK, *addresses))}\nport {database.port}\nrequirepass {database.password}\n"
            f'save ""\nappendonly no\ndaemonize no\ndir {folder}\n'
        )
        log = folder / "redis.log"
        process = start_process([str(program), str(config)], log=log, detach=False, grace_s=_STOP_S)
        try:
            _wait_for(database.port, process.alive, "Redis", log)
            yield database
        finally:
            process.stop(_STOP_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_postgres(folder: Path) -> list[str]:
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        raise SandboxError("PostgreSQL does not run as root, and there is no user postgres: adduser postgres") from None
    for path in (folder, folder / "password"):
        os.chown(path, user.pw_uid, user.pw_gid)
    ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return ["setpriv", *ids, "--pdeathsig=KILL", "--"]


def listens(port: int) -> bool:
    """Return whether a server listens on this loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def _wait_for(port: int, alive: Callable[[], bool], name: str, log: Path) -> None:
    wait_until(lambda: listens(port) or not alive(), _START_S)
    if not alive():
        raise SandboxError(f"{name} did not start; its log ends:\n{log_tail(log)}")
