"""Build the image and run commands in it, by Debian's buildah, as root.

In place of `python:3.11-slim` the base is Debian 12 by debootstrap, with its Python 3.11 and a venv in /usr/local, so
that `pip` and `python` are on PATH. Isolation is chroot: it needs no cgroups and shares this machine's network.
pip's configuration on this machine is mounted into the steps, and is in no layer.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from r2_hf_assets_tests.integration.cluster.installed import NotInstalled, install
from r2_hf_assets_tests.support.world import ROOT
from r2_hf_sandbox.processes import SandboxError

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
IMAGE = "localhost/r2_hf_assets"
_BASE = "localhost/python:3.11-slim"
_SUITE, _PACKAGES = "bookworm", "ca-certificates,python3-venv"
_OPTION = re.compile(r"^(?:global|install|:env:)\.([a-z-]+)=('.*'|\".*\")$", re.MULTILINE)

Mounts = Mapping[Path, str]  # where each folder or file is mounted, with ":ro" if it is read-only


@dataclass(frozen=True)
class Buildah:
    """`folder` holds the images and containers."""

    folder: Path

    def command(self, *words: str) -> list[str]:
        places = ["--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run")]
        return ["buildah", *places, *words]

    def call(self, *words: str) -> str:
        """Return what a command prints. Its errors are shown as they come."""
        done = subprocess.run(self.command(*words), stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SandboxError(f"buildah {words[0]} failed (exit {done.returncode})")
        return done.stdout.strip()

    def has(self, image: str) -> bool:
        return subprocess.run(self.command("inspect", "-t", "image", image), capture_output=True).returncode == 0

    def make_base(self) -> None:
        """Make the base image, unless it is there."""
        if self.has(_BASE):
            return
        container = self.call("from", "scratch")
        root = self.call("mount", container)
        log = self.folder / "debootstrap.log"
        with log.open("wb") as output:
            command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, root]
            if subprocess.run(command, stdout=output, stderr=output, check=False).returncode:
                raise SandboxError(f"debootstrap failed; its log ends:\n{log.read_text()[-2000:]}")
        self.call("run", "--isolation", "chroot", container, "--", "python3", "-m", "venv", "/usr/local")
        self.call("umount", container)
        self.call("commit", "--quiet", "--rm", container, _BASE)

    def build(self, context: Path) -> None:
        """Build the Dockerfile with the files in `context`."""
        mounts = _volumes(_pip_configuration(self.folder))
        options = ["--isolation", "chroot", "--layers", "--pull-never", "--from", _BASE, "-t", IMAGE, *mounts]
        log = self.folder / "build.log"
        with log.open("wb") as output:
            command = self.command("build", *options, "-f", str(DOCKERFILE), str(context))
            if subprocess.run(command, stdout=output, stderr=output, check=False).returncode:
                raise SandboxError(f"the build failed; its log ends:\n{log.read_text()[-3000:]}")

    def container(self, hosts: Iterable[str] = ()) -> str:
        """Make a container in which these names are this machine."""
        names = [word for host in hosts for word in ("--add-host", f"{host}:127.0.0.1")]
        return self.call("from", "--pull-never", *names, IMAGE)

    def run_command(self, container: str, command: Sequence[str], env: Mapping[str, str], mounts: Mounts) -> list[str]:
        """Return the command line that runs `command` in the container, as the image's user."""
        variables = [word for name, value in env.items() for word in ("--env", f"{name}={value}")]
        options = ["--isolation", "chroot", *variables, *_volumes(mounts)]
        return self.command("run", *options, container, "--", *command)

    def remove(self) -> None:
        """Remove every container and image."""
        for words in (("rm", "--all"), ("rmi", "--all", "--force")):
            subprocess.run(self.command(*words), capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def install_buildah() -> None:
    """Install buildah and debootstrap when they are missing. Raises NotInstalled."""
    if os.geteuid() != 0:
        raise NotInstalled("it needs root, for debootstrap and chroot: sudo make image")
    install([name for name in ("buildah", "debootstrap") if shutil.which(name) is None])


def copied(dockerfile: str) -> list[str]:
    """Return the files and folders of the context that a Dockerfile copies."""
    lines = re.findall(r"^COPY ((?:\S+ )+)\S+$", dockerfile, re.MULTILINE)
    return [source for line in lines for source in line.split()]


def make_context(folder: Path) -> None:
    """Copy what the Dockerfile copies, with .dockerignore, into an empty folder."""
    for source in [".dockerignore", *copied(DOCKERFILE.read_text())]:
        (folder / source).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, folder / source, dirs_exist_ok=True)
        else:
            shutil.copy(ROOT / source, folder / source)


def _pip_configuration(folder: Path) -> dict[Path, str]:
    """Write pip's configuration on this machine into one file; return it, and the files that it names, as mounts."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    options = {name: " ".join(ast.literal_eval(value).split()) for name, value in _OPTION.findall(listed.stdout)}
    file = folder / "pip.conf"
    file.touch(mode=0o600)
    file.write_text("\n".join(["[global]", *(f"{name} = {value}" for name, value in options.items())]) + "\n")
    words = {word for value in options.values() for word in value.split()}
    # An index of files has its packages beside it.
    paths = [Path(word.removeprefix("file://")).parent if word.startswith("file:///") else Path(word) for word in words]
    named = sorted({path for path in paths if path.is_absolute() and path.exists()})
    return {file: "/etc/pip.conf:ro", **{path: f"{path}:ro" for path in named}}


def _volumes(mounts: Mounts) -> list[str]:
    return [word for source, target in mounts.items() for word in ("--volume", f"{source}:{target}")]
