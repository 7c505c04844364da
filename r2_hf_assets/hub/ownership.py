"""Check which plan a dataset repo belongs to, and which of its files that plan may replace or remove.

`.r2_hf_assets.json` at the repo's root names the plan by its id. It is part of the plan's first commit, whose parent is
the head that was checked: of two plans that start in one repo at once the second is refused. A repo without the file,
made by 0.1.0 or by the script, is taken over when the history or a build record of the plan names every chunk file in
it by SHA-256. The same rule applies to each file that a later commit replaces or removes.
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
from r2_hf_assets.plural import plural
from r2_hf_assets.shards.names import CHUNK_FILE, DATA, METADATA, parse_path

OWNER_PATH = ".r2_hf_assets.json"
# What a plan has below metadata/ besides indexes: amendments.py, releases.py.
_PLAN_FILE = re.compile(rf"{METADATA}/(amendments/\d{{4,}}|releases)\.json", re.ASCII)

_ADVICE = (
    "restore that plan (STATE_URL with its plan/id.json, or `r2-hf restore` into an empty one), set HF_REPO_ID to "
    "another dataset, or remove the existing files and start over with `r2-hf scan --start-anew`"
)
# For a repo that names no plan, as the script's does not.
_OR_IMPORT = f"take the script's plan over with `r2-hf import`, {_ADVICE}"


@dataclass(frozen=True)
class Claim:
    """A plan's right to a dataset.

    Attributes:
        known: returns the SHA-256 of every file that is recorded for the given chunks.
        is_planned: returns whether the plan has this digest for a chunk now.
    """

    plan_id: str
    known: Callable[[Collection[Name]], Mapping[Name, frozenset[str]]]
    is_planned: Callable[[Name, str], bool]

    @property
    def owner_file(self) -> bytes:
        """The content of OWNER_PATH, the same bytes for the same plan."""
        about = "The r2_hf_assets plan that this dataset belongs to. Commits of another plan are refused."
        return (json.dumps({"plan": self.plan_id, "about": about}, indent=1) + "\n").encode()


def check_ownership(repo: HubClient, revision: str, claim: Claim) -> bool:
    """Return whether the repo names this plan; False when it names none and this plan may take it over.

    Raises ForeignDataset if it names another plan, or has chunk files unknown to this one.
    """
    if refuse_other_plan(repo, revision, claim.plan_id):
        return True
    files = _chunk_files(repo, revision)
    names = {path: parse_path(path) for path in sorted(files)}
    known = claim.known({name for name in names.values() if name}) if files else {}
    unknown = [
        path
        for path, name in names.items()
        if not name or _sha256(repo, revision, files[path]) not in known.get(name, ())
    ]
    if unknown:
        raise ForeignDataset(
            f"{repo.repo_id} names no plan and holds {plural(len(unknown), 'chunk file')} that neither this history "
            f"nor a build record names ({_shorten(unknown)}): record them with `r2-hf reconcile --record`; if that "
            f"does not name them, {_OR_IMPORT}"
        )
    return False


def refuse_other_plan(repo: HubClient, revision: str, plan_id: str | None) -> bool:
    """Return whether the repo names this plan, False when it names none. Raises ForeignDataset if another."""
    owner = read_owner(repo, revision)
    if owner is not None and owner != plan_id:
        here = f"not {plan_id}" if plan_id else "and there is none here"
        raise ForeignDataset(f"{repo.repo_id} belongs to another plan ({owner}, {here}): {_ADVICE}")
    return owner is not None


def read_owner(repo: HubClient, revision: str) -> str | None:
    """Return the id of the plan that the repo names, None when it names none."""
    content = repo.read(OWNER_PATH, revision)
    if content is None:
        return None
    try:
        owner = json.loads(content)["plan"]
    except (ValueError, TypeError, KeyError):
        owner = None
    if not isinstance(owner, str):
        raise ForeignDataset(f"{OWNER_PATH} in {repo.repo_id} can't be read: restore it from the repo's history")
    return owner


def refuse_dataset_without_plan(repo: HubClient, plan_id: str | None, *, empty: bool) -> None:
    """Raise ForeignDataset if a plan is to write to a repo of another plan, or an empty one to a repo with chunks."""
    revision = repo.head()
    if revision is None:
        return
    advice = _ADVICE if refuse_other_plan(repo, revision, plan_id) else _OR_IMPORT
    if empty and (existing := sorted(_chunk_files(repo, revision))):
        raise ForeignDataset(
            f"{repo.repo_id} holds {plural(len(existing), 'chunk file')} ({_shorten(existing)}), and this plan is "
            f"empty: {advice}"
        )


def start_over(repo: HubClient, claim: Claim, committed: Mapping[Name, Collection[str]]) -> tuple[int, str | None]:
    """Name this plan in the repo and remove the chunk files and metadata of any other, in one commit. Idempotent.

    `committed` has the SHA-256 of the recorded files of each chunk of this plan. In a repo that names this plan, all
    files of these chunks stay. In any other, files of the same names may be another plan's, so only recorded ones stay.
    Return the number of removed files, and the revision that still has them; None when the repo does not exist.
    """
    head = repo.head()
    if head is None:
        return 0, None
    owned = repo.read(OWNER_PATH, head) == claim.owner_file
    removed = []
    for path, file in sorted({**_chunk_files(repo, head), **repo.list_files(METADATA, head)}.items()):
        name = parse_path(path)
        if path.startswith(METADATA) and name is None and (owned or not _PLAN_FILE.fullmatch(path)):
            continue  # of this plan, or a person's
        if name is None or name not in committed or not (owned or _sha256(repo, head, file) in committed[name]):
            removed.append(path)
    if removed or not owned:
        contents = {} if owned else {OWNER_PATH: claim.owner_file}
        if removed and (card := repo.read(CARD_PATH, head)) is not None:
            contents[CARD_PATH] = without_figures(card)
        repo.commit(
            [], removed, head, f"Start over: remove {plural(len(removed), 'file')} of an earlier plan", contents
        )
    return len(removed), head


def refuse_unknown(repo: HubClient, revision: str, files: Iterable[RemoteFile], known: Collection[str]) -> None:
    """Raise UnknownFile if a file to be replaced or removed has content that is not `known`."""
    for file in files:
        if _sha256(repo, revision, file) not in known:
            raise UnknownFile(
                f"{file.path} on the Hub is a file that neither the history nor a build record names, so it is not "
                "replaced: record it with `r2-hf reconcile --record`, or delete it on the Hub, and run again"
            )


def _chunk_files(repo: HubClient, revision: str) -> dict[str, RemoteFile]:
    return {path: file for path, file in repo.list_files(DATA, revision).items() if CHUNK_FILE.fullmatch(path)}


def _sha256(repo: HubClient, revision: str, file: RemoteFile) -> str:
    """Return a file's SHA-256. The Hub reports none for a file outside LFS, which is small, so it is computed."""
    return file.sha256 or hashlib.sha256(repo.read(file.path, revision) or b"").hexdigest()


def _shorten(paths: Sequence[str]) -> str:
    return ", ".join(paths[:3]) + (", ..." if len(paths) > 3 else "")
