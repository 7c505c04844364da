"""Start the servers of the simulation, and run it in a process of its own."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import yaml

from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets_tests.integration.cluster import installed
from r2_hf_assets_tests.integration.cluster.databases import DATABASE, USER, postgres
from r2_hf_sandbox.processes import LOOPBACK, SandboxError
from r2_hf_sandbox.samples.bucket import upload_samples
from r2_hf_sandbox.sandbox import start_sandbox

ROOT = Path(__file__).parents[2]
_SMALL = {"PARQUET_ROWGROUP_BYTES": "30000", "PARQUET_MAX_BYTES": "35000", "SETTLE_MINUTES": "0"}


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="r2-hf-scale-"))
    try:
        with ExitStack() as stack:
            python, storage = Path(sys.executable), None
            if not options.sqlite:
                try:
                    programs, _ = installed.programs()
                    python = installed.python() / "python"
                    server = stack.enter_context(postgres(programs))
                except (installed.NotInstalled, SandboxError) as reason:
                    print(f"no PostgreSQL, so SQLite: {reason}", file=sys.stderr)
                else:
                    login = {"username": USER, "password": server.password, "hostname": LOOPBACK, "port": server.port}
                    database = {"scheme": "postgresql+psycopg2", "db_name": DATABASE}
                    storage = {"postgres": {"postgres_db": {**login, **database}}}
            home = folder / "dagster_home"
            home.mkdir()
            settings = {"telemetry": {"enabled": False}, **({"storage": storage} if storage else {})}
            (home / "dagster.yaml").write_text(yaml.safe_dump(settings))
            sandbox = stack.enter_context(start_sandbox(folder / "sandbox"))
            # One chunk, with as many parts as one of 17 GB.
            upload_samples(
                sandbox.s3,
                sandbox.bucket,
                seed=1,
                episodes={"en": 2},
                segments=(20, 20),
                seconds=(1.0, 2.0),
                expect=False,
            )
            names = {*LANGUAGES[: options.languages], "en"}
            product = {"LANGUAGES": ",".join(name for name in LANGUAGES if name in names), **_SMALL, **sandbox.env()}
            env = {
                **os.environ,
                **product,
                "DAGSTER_HOME": str(home),
                "PYTHONPATH": str(ROOT),
                "HF_HUB_DISABLE_TELEMETRY": "1",
                "DAGSTER_DISABLE_TELEMETRY": "1",
            }
            job = [str(python), "-m", "bench.scale.job", json.dumps(_sizes(options)), str(folder)]
            return subprocess.run(job, env=env, cwd=folder, check=False).returncode
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sizes(options: argparse.Namespace) -> dict[str, int]:
    return {name: getattr(options, name) for name in ("partitions", "languages", "episodes", "chunks", "indexes")}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument(
        "--partitions", type=int, default=5000, help="materialized ones in the history (5000; 0: no history)"
    )
    parser.add_argument("--languages", type=int, default=30, help="of the partitions; the first has most (30)")
    parser.add_argument("--chunks", type=int, default=3000, help="in the plan that is measured (3000; 0: no plan)")
    parser.add_argument("--indexes", type=int, default=200, help="whose rows are compared (200; 0: none)")
    parser.add_argument("--episodes", type=int, default=1000, help="in each chunk (1000)")
    parser.add_argument("--sqlite", action="store_true", help="on SQLite, as on one machine")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
