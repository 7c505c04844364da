"""Restore a plan of many chunks from simulated indexes: `python -m bench.scale.restore --chunks 3000 --episodes 1000`.

A local Hub holds an index of each chunk, with the names and ETags of its episodes and no row, and one small data file
for all, in LFS: over Xet the local Hub itself downloads what it serves. The time is of the command `r2-hf restore` as
it is typed, on an empty DAGSTER_HOME with SQLite.
"""

import argparse
import hashlib
import os
import random
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.baselines import BIN
from bench.measure import measure
from bench.scale.plan import shares
from r2_hf_assets.hub.build import open_upload
from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.ownership import OWNER_PATH, Claim
from r2_hf_assets.settings import load
from r2_hf_assets.shards.index import IndexHeader, IndexWriter
from r2_hf_assets.shards.names import index_path, path_in_repo, stem
from r2_hf_assets.shards.record import ShardFile, Tally
from r2_hf_assets.shards.stats import Stats
from r2_hf_sandbox.sandbox import Sandbox, start_sandbox

ROOT = Path(__file__).parents[2]
_PLAN_ID = "5" * 32
_PER_COMMIT = 500


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scale.restore", description=__doc__)
    parser.add_argument("--chunks", type=int, default=3000)
    parser.add_argument("--episodes", type=int, default=1000, help="in each chunk")
    parser.add_argument("--languages", type=int, default=30)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="r2-hf-restore-"))
    try:
        with start_sandbox(folder / "sandbox") as sandbox:
            home = folder / "dagster_home"
            home.mkdir()
            shutil.copy(ROOT / "dagster.yaml", home)
            env = {**os.environ, **sandbox.env(), "DAGSTER_HOME": str(home), "HF_HOME": str(folder / "hf_home")}
            env |= {"HF_HUB_DISABLE_TELEMETRY": "1", "DAGSTER_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
            os.environ.update(env)
            size = _fill(sandbox, options.chunks, options.episodes, options.languages)
            sample = measure([str(BIN / "r2-hf"), "restore"], env, folder)
        print(
            f"{options.chunks:,} chunks of {options.episodes:,} episodes, {size / options.chunks:,.0f} bytes an index"
        )
        print(f"{sample.wall:.1f} s, {sample.cpu:.1f} CPU s, {sample.peak_mb:.0f} MB at the most")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fill(sandbox: Sandbox, chunks: int, episodes: int, languages: int) -> int:
    """Commit the indexes; return their bytes."""
    settings = load()
    repo, rng, total = HubClient(settings.hub), random.Random(1), 0
    repo.create_repo()
    claim = Claim(_PLAN_ID, lambda _: {}, lambda *_: True)
    contents = {OWNER_PATH: claim.owner_file}
    names = [(language, number) for language, count in shares(chunks, languages).items() for number in range(count)]
    for first in range(0, len(names), _PER_COMMIT):
        files = []
        with open_upload(repo, settings.shards, "bench", first) as upload:
            part = upload.begin()
            part.write(b"PAR1")
            data = part.finish()
            for name in names[first : first + _PER_COMMIT]:
                shard = ShardFile(path_in_repo(name[0], f"{stem(name[1])}.parquet"), 200_000, data.size, data.sha256)
                content = _index(name, shard, episodes, rng)
                total += len(content)
                part = upload.begin()
                part.write(content)
                part.finish()
                sha256 = hashlib.sha256(content).hexdigest()
                files += [RemoteFile(shard.path, data.size, data.sha256)]
                files += [RemoteFile(index_path(*name), len(content), sha256)]
        repo.commit(files, [], repo.head() or "", "Add indexes", contents)
        contents = {}
    return total


def _index(name: tuple[str, int], shard: ShardFile, episodes: int, rng: random.Random) -> bytes:
    members = tuple((f"{name[0]}/{rng.getrandbits(64):016x}", f"{rng.getrandbits(128):032x}") for _ in range(episodes))
    header = IndexHeader(
        _PLAN_ID, *name, "processed/", "", members, (shard,), tally=Tally(episodes, rows=200_000), stats=Stats()
    )
    return IndexWriter(*name).finish(replace(header, digest=header.manifest.digest))


if __name__ == "__main__":
    main()
