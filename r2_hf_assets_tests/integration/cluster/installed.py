"""Install what a cluster needs beside the product, when it is missing.

PostgreSQL and Redis are Debian's; only their programs are used. A policy-rc.d keeps apt from starting their services.
The Python packages of the extra `cluster` are installed into .venv-cluster, an environment on top of the current one.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from r2_hf_assets_tests.support.world import ROOT

LOCK = ROOT / "deploy" / "celery" / "requirements.lock"
_ENVIRONMENT = ROOT / ".venv-cluster"
_DENY = Path("/usr/sbin/policy-rc.d")
_APT_S = 600


class NotInstalled(Exception):
    """A part is missing and can't be installed here; one line."""


def programs() -> tuple[Path, Path]:
    """Return the folder of PostgreSQL's programs and the path of redis-server, installed when missing.

    Raises:
        NotInstalled: they can't be installed.
    """
    with _locked():
        missing = [name for name, path in (("postgresql", _postgres()), ("redis-server", _redis())) if not path]
        _apt(missing)
        postgres, redis = _postgres(), _redis()
    if postgres is None or redis is None:
        raise NotInstalled(f"apt-get installed {' and '.join(missing)}, and the programs are still missing")
    return postgres, redis


def install(packages: list[str]) -> None:
    """Install packages of Debian without their services. Raises NotInstalled."""
    with _locked():
        _apt(packages)


def python() -> Path:
    """Return the folder of programs of an environment with the current packages and the extra `cluster`."""
    wanted = hashlib.sha256(LOCK.read_bytes() + sys.prefix.encode()).hexdigest()
    stamp = _ENVIRONMENT / ".installed"
    with _locked():
        if not stamp.exists() or stamp.read_text() != wanted:
            venv.create(_ENVIRONMENT, clear=True, symlinks=True)
            folder = next(_ENVIRONMENT.glob("lib/python*/site-packages"))
            below = sysconfig.get_paths()["purelib"]
            (folder / "_below.pth").write_text(f"import site; site.addsitedir({below!r})\n")
            pip = [sys.executable, "-m", "pip", "--python", str(_ENVIRONMENT / "bin" / "python"), "install", "--quiet"]
            check = ["--disable-pip-version-check", "--no-deps", "--require-hashes", "-r", str(LOCK)]
            subprocess.run([*pip, *check], check=True, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
            stamp.write_text(wanted)
    return _ENVIRONMENT / "bin"


def _postgres() -> Path | None:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if versions:
        return versions[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path and shutil.which("initdb") else None


def _redis() -> Path | None:
    path = shutil.which("redis-server")
    return Path(path) if path else None


def _apt(packages: list[str]) -> None:
    if not packages:
        return
    wanted = " and ".join(packages)
    if shutil.which("apt-get") is None:
        raise NotInstalled(f"{wanted} is not installed, and this is not Debian: install it")
    if os.geteuid() != 0:
        raise NotInstalled(f"{wanted} is not installed: apt-get install {' '.join(packages)}")
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", *packages]
    with _no_services():
        for command in (["apt-get", "update", "-q"], install):
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=_APT_S,
                check=False,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            )
            if done.returncode:
                lines = (done.stderr or done.stdout).strip().splitlines()
                raise NotInstalled(f"{wanted} can't be installed: {lines[-1] if lines else command}")


@contextmanager
def _no_services() -> Iterator[None]:
    """Keep apt from starting services."""
    if _DENY.exists():  # a container's own, with the same effect
        yield
        return
    _DENY.write_text("#!/bin/sh\nexit 101\n")
    _DENY.chmod(0o755)
    try:
        yield
    finally:
        _DENY.unlink()


@contextmanager
def _locked() -> Iterator[None]:
    with (ROOT / ".venv-cluster.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
