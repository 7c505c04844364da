"""Commit a chunk of three parts, then of one; run by test_hub_clients in another environment, without Dagster.

Prints JSON: what was committed, and the SHA-256 of every file as it reads back from the Hub. A second argument is the
timeout in seconds of a stalled request, with two tries.
"""

import hashlib
import json
import os
import random
import sys
from pathlib import Path

from r2_hf_assets.hub import timeouts, upload_files, upload_xet
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import commit_chunk, prepare_repo
from r2_hf_assets.hub.ownership import Claim
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import load_partial
from r2_hf_assets.shards.names import path_in_repo
from r2_hf_assets_tests.hub.uploads import upload_chunk


def main(folder: Path, stall_s: float | None = None) -> None:
    settings = load_partial()
    assert settings.hub is not None
    repo = HubClient(settings.hub, retry=_short_timeouts(stall_s) if stall_s else None)
    rng = random.Random(7)
    bodies = [b"PAR1" + rng.randbytes(size) for size in (2_500_000, 900_000, 50_000)]
    runs = []
    known: dict[tuple[str, int], frozenset[str]] = {("en", 7): frozenset()}
    claim = Claim("0" * 32, lambda _: known, lambda *_: True)
    for parts in (3, 3, 1, 1):
        prepare_repo(repo, claim)
        record = upload_chunk(repo, folder, *bodies[:parts])
        runs.append(commit_chunk(repo, record, claim))
        known["en", 7] |= record.sha256s
    import huggingface_hub

    built = {file.path: file.sha256 for file in record.all_files}
    result = {
        "version": huggingface_hub.__version__,
        "committed": [run.committed for run in runs],
        "heads": len({run.oid for run in runs}),
        "removed": [path for run in runs for path in run.removed if "-part-00" not in path],
        "written": {path_in_repo("en", "chunk-00007.parquet"): hashlib.sha256(bodies[0]).hexdigest()},
        "built": built,
        "read_back": {path: _sha256_on_hub(settings.hub, path) for path in built},
        "fast": _fast(huggingface_hub),
    }
    print(json.dumps(result))


def _short_timeouts(stall_s: float) -> Retry:
    for kind in timeouts.TIMEOUTS:
        timeouts.TIMEOUTS[kind] = stall_s
    upload_xet.STALL_S = 2 * stall_s
    upload_files._LEAST_S, upload_files._SLOWEST_BYTES_PER_S = stall_s, 10**8
    return Retry(attempts=2, base=0.01)


def _sha256_on_hub(hub, path: str) -> str:
    from huggingface_hub import hf_hub_download

    local = hf_hub_download(hub.repo_id, path, repo_type="dataset", token=hub.token, endpoint=hub.endpoint)
    return hashlib.sha256(Path(local).read_bytes()).hexdigest()


def _fast(huggingface_hub) -> bool:
    """Return whether the client's fast mode is on."""
    if huggingface_hub.__version__.startswith("0."):
        return huggingface_hub.constants.HF_HUB_ENABLE_HF_TRANSFER
    return os.environ.get("HF_XET_HIGH_PERFORMANCE") == "1" and huggingface_hub.constants.HF_XET_HIGH_PERFORMANCE


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(float, sys.argv[2:]))
