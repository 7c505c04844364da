"""Build the image, run it, and remove everything. The checks run in a network and a process namespace of their own.

So the ports of compose.yaml are free there, nothing listens on this machine, and no process outlives the checks.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from r2_hf_assets_tests.integration.cluster import installed
from r2_hf_assets_tests.integration.cluster.installed import NotInstalled
from r2_hf_assets_tests.integration.image.buildah import Buildah, install_buildah, make_context
from r2_hf_assets_tests.integration.image.checks import check_image
from r2_hf_sandbox.processes import SandboxError

_MODULE = "r2_hf_assets_tests.integration.image"
_NAMESPACES = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
_LOOPBACK_UP = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is stopped and removed
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS"):
        os.environ.setdefault(name, "1")
    try:
        if options.inside:
            check_image(Buildah(options.images), options.inside, _print)
            return 0
        return _build_and_check(options.images)
    except (NotInstalled, SandboxError) as error:
        sys.exit(f"image: {error}")


def _build_and_check(kept: Path | None) -> int:
    install_buildah()
    installed.programs()
    images = kept or Path(tempfile.mkdtemp(prefix="r2-hf-images-", dir="/var/tmp"))
    images.mkdir(parents=True, exist_ok=True)
    buildah, folder = Buildah(images), Path(tempfile.mkdtemp(prefix="r2-hf-image-"))
    folder.chmod(0o755)  # the image's user reads what is mounted from it
    began = time.monotonic()
    try:
        buildah.make_base()
        _print(f"base image: {time.monotonic() - began:.0f} s")
        context = folder / "context"
        make_context(context)
        (context / "deploy" / "celery" / "cluster.env").write_text("HF_TOKEN=secret\n")  # where compose has it
        buildah.build(context)
        _print(f"deploy/Dockerfile is built: {time.monotonic() - began:.0f} s")
        inside = [sys.executable, "-m", _MODULE, "--images", str(images), "--inside", str(folder)]
        code = subprocess.run([*_NAMESPACES, *_LOOPBACK_UP, *inside], check=False).returncode
    finally:
        if kept is None:
            buildah.remove()
        shutil.rmtree(folder, ignore_errors=True)
    _print(f"{'all works' if code == 0 else 'FAILED'}; everything is removed; {time.monotonic() - began:.0f} s in all")
    return code


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {_MODULE}", description=__doc__)
    parser.add_argument("--images", type=Path, help="a folder that keeps the images for the next time")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _print(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
