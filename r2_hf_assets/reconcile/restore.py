"""Restore the plan from the dataset alone, after the loss of STATE_URL.

The header of each index on the Hub has the manifest of its chunk, and metadata/amendments/ has the amendments. Chunks
that were planned and never committed are not on the Hub: their numbers are left out, and the next scan plans their
episodes again. Whatever else runs with the lost plan must be stopped first.

Idempotent: a restore that was interrupted continues.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from r2_hf_assets.errors import ForeignDataset, PlanError
from r2_hf_assets.hub.amendments import read_amendments
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.ownership import read_owner
from r2_hf_assets.hub.reads import HubReader, require_repo, take_inventory
from r2_hf_assets.plan.amendments import Amendment, amended_digest
from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.plan.store import PlanStore, open_plan
from r2_hf_assets.plural import plural
from r2_hf_assets.reconcile.report import Recovered
from r2_hf_assets.reconcile.verify import recover
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.names import is_index, parse_path


@dataclass(frozen=True)
class Restored:
    """The result of a restore.

    Attributes:
        chunks: restored manifests.
        recovered: those of them whose files on the Hub are the index's; the others are due.
    """

    revision: str
    plan_id: str
    chunks: tuple[ChunkRef, ...]
    recovered: tuple[Recovered, ...]
    amendments: int


def restore(settings: Settings, log: Callable[[str], None] | None = None) -> Restored:
    """Write the plan of the dataset into STATE_URL.

    Raises:
        AccessError: the repo does not exist, or can't be read.
        ForeignDataset: it names no plan.
        PlanError: STATE_URL holds another plan, or a chunk has no index, or one of another plan.
        ShardError: an index is damaged.
    """
    repo, plan = HubClient(settings.hub, log), open_plan(settings.plan, settings.r2)
    hub = take_inventory(repo)
    head = require_repo(repo, hub.revision)
    owner = repo.call_with_retry("read", lambda: read_owner(repo, head))
    if owner is None:
        raise ForeignDataset(f"{repo.repo_id} names no plan, so there is none to restore; see `r2-hf import`")
    indexes, files = hub.indexes(), hub.by_chunk()
    if without := sorted(path for path in hub.files if not is_index(path) and parse_path(path) not in indexes):
        raise PlanError(
            f"{without[0]} has no index, so its plan can't be restored ({plural(len(without), 'such file')}): bring "
            "the plan back from a backup, or start over by r2-hf scan --start-anew"
        )
    plan.begin_restore(owner)
    amendments = _restore_amendments(plan, read_amendments(repo, head))
    chunks, recovered = list[ChunkRef](), list[Recovered]()
    for name, header in HubReader(repo, head).headers(indexes):
        manifest = header.manifest
        if (manifest.name, header.plan_id, header.prefix) != (name, owner, plan.prefix):
            raise PlanError(
                f"{indexes[name].path} is of plan {header.plan_id}, prefix {header.prefix}, and the dataset of "
                f"{owner}, {plan.prefix}: check PROCESSED_PREFIX, else "
                "delete the chunk's files on the Hub and run it again"
            )
        if not plan.create(manifest):
            where = f"plan: {name[0]} chunk {name[1]}"
            raise PlanError(f"{where} has other members in STATE_URL than in the dataset; set it to an empty place")
        ref = ChunkRef(*name, amended_digest(manifest.digest, name, amendments), len(manifest.episodes))
        chunks.append(manifest.ref)
        if isinstance(found := recover(ref, header, files[name]), Recovered):
            recovered.append(found)
        if log and len(chunks) % 500 == 0:
            log(f"read {len(chunks):,} of {len(indexes):,} indexes")
    plan.leave_out(_unused(chunks))
    plan.write_index(chunks)
    plan.set_id(owner)
    return Restored(head, owner, tuple(chunks), tuple(recovered), len(amendments))


def _restore_amendments(plan: PlanStore, log: list[Amendment]) -> list[Amendment]:
    for entry in log:
        plan.add_amendment(entry)
    restored = plan.amendments()
    if [(one.kind, one.targets, one.at) for one in restored[: len(log)]] != [
        (one.kind, one.targets, one.at) for one in log
    ]:
        raise PlanError("plan: the amendments in STATE_URL are not those of the dataset; empty STATE_URL first")
    return restored


def _unused(chunks: list[ChunkRef]) -> dict[str, list[int]]:
    """Return the numbers below each language's last one that have no chunk."""
    numbers = defaultdict(set)
    for chunk in chunks:
        numbers[chunk.language].add(chunk.number)
    return {language: sorted({*range(max(used))} - used) for language, used in sorted(numbers.items())}
