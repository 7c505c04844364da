"""Copy the log of amendments to the dataset repo: metadata/amendments/0000.json and so on, without the reasons.

The copy is the backup of the log (reconcile/restore.py), and a fence. A commit of a chunk reads the head, then the
plan, and is accepted only if the head has not moved (commit.py). So a run that read the plan before an amendment is
refused once the amendment is on the Hub, and no commit after that has what was removed.

A plan that lacks an entry of the copy is an old backup: it would build what was removed. So no build and no amendment
begins with it.
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import partial

from r2_hf_assets.errors import PlanError
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.ownership import refuse_other_plan
from r2_hf_assets.plan.amendments import Amendment, as_json, decode
from r2_hf_assets.shards.names import METADATA

_FOLDER = f"{METADATA}/amendments"
_ENTRY = re.compile(rf"{_FOLDER}/(\d{{4,}})\.json", re.ASCII)


def publish_amendments(repo: HubClient, plan_id: str, log: Sequence[Amendment]) -> None:
    """Commit the entries that the repo lacks, at most one commit; none when there is no repo. Idempotent.

    Raises ForeignDataset, AccessError, RetriesExhausted.
    """

    def attempt() -> None:
        head = repo.head()
        if head is None:
            return
        refuse_other_plan(repo, head, plan_id)
        existing = repo.list_files(_FOLDER, head)
        missing = {path: entry for entry in log if (path := _path(entry.number)) not in existing}
        if missing:
            kinds = ", ".join(f"{entry.number} ({entry.kind})" for entry in missing.values())
            contents = {path: _encode(entry) for path, entry in missing.items()}
            repo.commit([], [], head, f"Record amendments {kinds}", contents)

    repo.call_on_head("commit to", attempt)


def read_amendments(repo: HubClient, revision: str) -> list[Amendment]:
    """Return the log in the repo. Raises PlanError when an entry is damaged."""
    paths = map(_path, range(len(_numbers(repo, revision))))
    contents = [repo.call_with_retry("read", partial(repo.read, path, revision)) for path in paths]
    return [decode(_parse(content), number) for number, content in enumerate(contents)]


def refuse_old_plan(repo: HubClient, read_log: Callable[[], Sequence[Amendment]]) -> None:
    """Raise PlanError if the repo has an amendment that the plan's log, read after the head, lacks.

    Their numbers are compared, and the last one that both have: of two logs that differ, that one differs.
    """

    def attempt() -> None:
        head = repo.head()
        numbers = _numbers(repo, head) if head else []
        if head is None or not numbers:
            return
        log = read_log()
        last = max((number for number in numbers if number < len(log)), default=None)
        if numbers[-1] >= len(log):
            problem = f"{_path(numbers[-1])} on the Hub is not in STATE_URL"
        elif last is not None and repo.read(_path(last), head) != _encode(log[last]):
            problem = f"{_path(last)} on the Hub is not the amendment in STATE_URL"
        else:
            return
        raise PlanError(
            f"plan: {problem}, which holds an old copy of the plan; `r2-hf restore` into an empty one (or the file "
            "was changed by hand: undo that)"
        )

    repo.call_on_head("read", attempt)


def _numbers(repo: HubClient, revision: str) -> list[int]:
    """Return the numbers of the entries. A user may have other files there."""
    found = map(_ENTRY.fullmatch, repo.list_files(_FOLDER, revision))
    return sorted(int(match[1]) for match in found if match)


def _path(number: int) -> str:
    return f"{_FOLDER}/{number:04d}.json"


def _encode(entry: Amendment) -> bytes:
    return (json.dumps(as_json(entry) | {"reason": ""}, indent=0) + "\n").encode()


def _parse(content: bytes | None) -> object:
    try:
        return json.loads(content or b"")
    except (ValueError, RecursionError):
        return None
