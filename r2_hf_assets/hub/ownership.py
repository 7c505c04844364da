"""Check which plan a dataset repo belongs to, and which of its files that plan may replace or remove.

`.r2_hf_assets.json` at the repo's root names the plan by its id. It is part of the plan's first commit, whose parent is
the head that was checked: of two plans that start in one repo at once the second is refused. A repo without the file,
made by 0.1.0 or by the script, is taken over when the history or a build record of the plan names every chunk file in
it by SHA-256. Later the same rule protects each file from being replaced or removed.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from r2_hf_assets.errors import ForeignDataset, UnknownFile
from r2_hf_assets.hub.card.merge import CARD_PATH
from r2_hf_assets.hub.card.text import without_figures
from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.plan.chunks import Name
from r2_hf_assets.shards.names import DATA, read_path

OWNER_PATH = ".r2_hf_assets.json"

# In any language folder: the script used the bucket's.
_CHUNK_FILE = re.compile(DATA + r"/[^/]+/chunk-\d{5,}(?:-part-\d{2,})?\.parquet", re.ASCII)
_ADVICE = (
    "restore that plan (STATE_URL, with its plan/id.json), set HF_REPO_ID to another dataset, or remove what is there "
    "and begin anew with `r2-hf scan --start-anew`"
)
# Of a repo that names no plan: the script's names none.
_OR_IMPORT = f"take the script's plan over with `r2-hf import`, {_ADVICE}"


@dataclass(frozen=True)
class Claim:
    """A plan's right to a dataset. `known` returns, for chunks, the SHA-256 of every file that is recorded of them."""

    plan_id: str
    known: Callable[[Collection[Name]], Mapping[Name, frozenset[str]]]

    @property
    def owner_file(self) -> bytes:
        """The content of OWNER_PATH: the same plan gives the same bytes."""
        about = "The r2_hf_assets plan that this dataset belongs to. Commits of another plan are refused."
        return (json.dumps({"plan": self.plan_id, "about": about}, indent=1) + "\n").encode()


def check_ownership(repo: HubClient, revision: str, claim: Claim) -> bool:
    """Return whether the repo names this plan; False when it names none and this plan may take it over.

    Raises:
        ForeignDataset: it names another plan, or holds chunk files that this plan does not know.
    """
    if refuse_other_plan(repo, revision, claim.plan_id):
        return True
    files = _chunk_files(repo, revision)
    known = claim.known({name for path in files if (name := read_path(path))}) if files else {}
    unknown = []
    for path, file in sorted(files.items()):
        name = read_path(path)
        if name is None or _sha256(repo, revision, file) not in known.get(name, ()):
            unknown.append(path)
    if unknown:
        raise ForeignDataset(
            f"{repo.repo_id} names no plan and holds {len(unknown)} chunk files that neither this history nor a build "
            f"record names ({_shorten(unknown)}): record them with `r2-hf reconcile --record`; if that does not name "
            f"them, {_OR_IMPORT}"
        )
    return False


def refuse_other_plan(repo: HubClient, revision: str, plan_id: str | None) -> bool:
    """Return whether the repo names this plan, False when it names none. Raises ForeignDataset if another."""
    content = repo.read(OWNER_PATH, revision)
    if content is None:
        return False
    try:
        owner = json.loads(content)["plan"]
    except (ValueError, TypeError, KeyError):
        owner = None
    if not isinstance(owner, str):
        raise ForeignDataset(f"{OWNER_PATH} in {repo.repo_id} can't be read: restore it from the repo's history")
    if owner != plan_id:
        here = f"not {plan_id}" if plan_id else "and there is none here"
        raise ForeignDataset(f"{repo.repo_id} belongs to another plan ({owner}, {here}): {_ADVICE}")
    return True


def refuse_dataset_without_plan(repo: HubClient, plan_id: str | None) -> None:
    """Raise ForeignDataset, before an empty plan seals its first chunk, if the repo holds one or names another plan."""
    revision = repo.head()
    if revision is None:
        return
    advice = _ADVICE if refuse_other_plan(repo, revision, plan_id) else _OR_IMPORT
    if there := sorted(_chunk_files(repo, revision)):
        raise ForeignDataset(
            f"{repo.repo_id} holds {len(there)} chunk files ({_shorten(there)}), and this plan is empty: {advice}"
        )


def start_over(repo: HubClient, claim: Claim, committed: Mapping[Name, Collection[str]]) -> tuple[int, str | None]:
    """Make the repo this plan's by one commit that names the plan and removes the chunk files of any other. Idempotent.

    Args:
        committed: the chunks of this plan, each with the SHA-256 of the files that the history names for it. In a repo
            that names this plan, the files of these chunks stay; in any other, where files of the same names may be
            another plan's, only those that the history names stay.

    Returns:
        How many files were removed, and the revision that still has them; None when there is no repo.
    """
    head = repo.head()
    if head is None:
        return 0, None
    ours = repo.read(OWNER_PATH, head) == claim.owner_file
    gone = []
    for path, file in sorted(_chunk_files(repo, head).items()):
        name = read_path(path)
        if name is None or name not in committed or not (ours or _sha256(repo, head, file) in committed[name]):
            gone.append(path)
    if gone or not ours:
        contents = {} if ours else {OWNER_PATH: claim.owner_file}
        if gone and (card := repo.read(CARD_PATH, head)) is not None:
            contents[CARD_PATH] = without_figures(card)
        repo.commit([], gone, head, f"Begin anew: remove {len(gone)} files of an earlier plan", contents)
    return len(gone), head


def refuse_unknown(repo: HubClient, revision: str, files: Iterable[RemoteFile], known: Collection[str]) -> None:
    """Raise UnknownFile if a file that is about to be replaced or removed has content that is not `known`."""
    for file in files:
        if _sha256(repo, revision, file) not in known:
            raise UnknownFile(
                f"{file.path} on the Hub is a file that neither the history nor a build record names, so it is not "
                "replaced: record it with `r2-hf reconcile --record`, or delete it on the Hub, and run again"
            )


def _chunk_files(repo: HubClient, revision: str) -> dict[str, RemoteFile]:
    return {path: file for path, file in repo.list_files(DATA, revision).items() if _CHUNK_FILE.fullmatch(path)}


def _sha256(repo: HubClient, revision: str, file: RemoteFile) -> str:
    """Return a file's SHA-256, computed for one outside LFS, of which the Hub reports none; such a file is small."""
    return file.sha256 or hashlib.sha256(repo.read(file.path, revision) or b"").hexdigest()


def _shorten(paths: Sequence[str]) -> str:
    return ", ".join(paths[:3]) + (", ..." if len(paths) > 3 else "")
