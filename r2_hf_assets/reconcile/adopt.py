"""Takes over the dataset that the script began: its chunks into the plan, its files under our names.

`decide` compares what the script left with the plan, `locate` finds its files on the Hub; both change nothing. `append`
then writes the plan. Chunks keep their members, order and numbers, so that the files on the Hub keep their names,
data/<language>/chunk-00007.parquet. A language must be unplanned, or planned as the script did so far; anything else is
refused, as no plan is ever changed.

The script has languages that we call otherwise: `fra` is our `fr`, `123` our `unknown`. The chunks of the one that
bears our name keep their numbers and the others' come behind. Their files, in data/fra/, would stand outside the
dataset's language `fr`, and beside what we build for the same chunk; so they are renamed on the Hub (hub/move.py),
where a rename moves no bytes and shows every row once at every moment.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.inventory import Inventory
from r2_hf_assets.languages import normalize
from r2_hf_assets.plan.chunks import Chunk, Planned
from r2_hf_assets.plan.folders import decided_languages
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.reconcile.script import ScriptError, ScriptPlan
from r2_hf_assets.shards.names import path_in_repo, stem

# As the script names files; its languages are whatever its folders were.
_SCRIPT_FILE = re.compile(r"data/([^/]+)/(chunk-\d{5,})((?:-part-\d{2,})?\.parquet)", re.ASCII)


@dataclass(frozen=True)
class Taken:
    """A chunk of the script as ours.

    Attributes:
        folder, number: its language and number as the script has them; its files are data/<folder>/chunk-<number>*.
        finished: whether progress.log has it.
    """

    chunk: Chunk
    folder: str
    number: int
    finished: bool


@dataclass(frozen=True)
class Located:
    """A chunk with its files on the Hub.

    Attributes:
        files: by the path that is ours for them; each `RemoteFile.path` says where it lies now.
    """

    taken: Taken
    files: Mapping[str, RemoteFile]

    @property
    def name(self) -> tuple[str, int]:
        """Our (language, chunk number)."""
        return self.taken.chunk.language, self.taken.chunk.number

    @property
    def renames(self) -> list[tuple[str, str]]:
        """(path now, our path) of the files that lie elsewhere."""
        return [(file.path, path) for path, file in self.files.items() if file.path != path]


@dataclass(frozen=True)
class Adoption:
    """What an import does.

    Attributes:
        chunks: all of the script's chunks, as ours.
        new: those that the plan has not yet.
        left_out: chunks by the script's language that LANGUAGES leaves out.
    """

    chunks: tuple[Taken, ...]
    new: tuple[Chunk, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)


def decide(
    script: ScriptPlan, finished: Iterable[tuple[str, int]], plan: PlanStore, languages: Iterable[str]
) -> Adoption:
    """What an import would do. Reads the plan.

    Raises:
        ScriptError: the script's plan contradicts ours, or itself.
    """
    grid, done, decided = frozenset(languages), frozenset(finished), decided_languages(plan)
    taken: list[Taken] = []
    left_out: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    for name in sorted(script, key=lambda name: (normalize(name), name != normalize(name), name)):
        language = normalize(name)
        if language not in grid:
            left_out[name] = len(script[name])
            continue
        for number, prefixes in enumerate(script[name]):
            episodes = tuple(_episode(prefix, language, plan.prefix, decided) for prefix in prefixes)
            chunk = Chunk(language, numbers[language], plan.prefix, episodes)
            taken.append(Taken(chunk, name, number, (name, number) in done))
            numbers[language] += 1
    chunks = [item.chunk for item in taken]
    _refuse_doubles(chunks)
    return Adoption(tuple(taken), _new(chunks, plan), left_out)


def locate(chunks: Sequence[Taken], hub: Inventory) -> list[Located]:
    """Every chunk with its files on the Hub: under the script's name for it or, renamed before, under ours.

    Raises:
        ScriptError: files of one chunk lie under both names.
    """
    found: dict[tuple[str, str], dict[str, RemoteFile]] = defaultdict(dict)
    for path, file in hub.files.items():
        if match := _SCRIPT_FILE.fullmatch(path):
            found[match[1], match[2]][match[3]] = file

    def located(taken: Taken) -> Located:
        ours = (taken.chunk.language, stem(taken.chunk.number))
        theirs = (taken.folder, stem(taken.number))
        files, others = found.get(theirs, {}), found.get(ours, {}) if ours != theirs else {}
        if files and others:
            paths = [min(file.path for file in side.values()) for side in (files, others)]
            raise ScriptError(
                f"{paths[0]} and {paths[1]} are both {ours[0]} chunk {taken.chunk.number}, so its rows are double, or "
                "the second is of another plan; delete one of them on the Hub"
            )
        named = {path_in_repo(ours[0], ours[1] + suffix): file for suffix, file in (files or others).items()}
        return Located(taken, named)

    return [located(taken) for taken in chunks]


def to_check(located: Iterable[Located], recorded: Mapping[tuple[str, int], str | None]) -> list[Located]:
    """Chunks that the script built, or says it did, and that are not recorded as done.

    Args:
        recorded: digest of the latest materialization by (language, chunk number).
    """
    touched = [item for item in located if item.files or item.taken.finished]
    return [item for item in touched if recorded.get(item.name) != item.taken.chunk.digest]


def append(plan: PlanStore, new: Sequence[Chunk]) -> list[Planned]:
    """Write the new chunks; returns the whole plan. Stopped in between, the next import goes on.

    Raises:
        PlanError: the plan is of another bucket.
        ScriptError: somebody else planned meanwhile.
    """
    plan.check_identity()
    for chunk in new:
        if not plan.create(chunk):
            raise ScriptError(
                f"{chunk.language} chunk {chunk.number} was planned by somebody else meanwhile; see status"
            )
    return plan.write_index()


def _episode(written: str, language: str, prefix: str, decided: Mapping[str, str]) -> str:
    """ "<folder>/<id>" of an episode's prefix."""
    folder, _, episode = written.removeprefix(prefix).removesuffix("/").partition("/")
    if not written.startswith(prefix) or not written.endswith("/") or not folder or not episode or "/" in episode:
        raise ScriptError(f"{written!r} is no episode's prefix below {prefix!r}; check PROCESSED_PREFIX")
    if decided.get(folder, language) != language:
        raise ScriptError(f"{written!r} is of {language} to the script, but its folder is planned as {decided[folder]}")
    return f"{folder}/{episode}"


def _refuse_doubles(chunks: Iterable[Chunk]) -> None:
    place: dict[str, Chunk] = {}
    for chunk in chunks:
        for episode in chunk.episodes:
            if before := place.get(episode):
                where = f"{before.language} chunk {before.number} and {chunk.language} chunk {chunk.number}"
                raise ScriptError(f"the work plan has episode {episode} twice: {where}")
            place[episode] = chunk


def _new(chunks: Sequence[Chunk], plan: PlanStore) -> tuple[Chunk, ...]:
    """The chunks that the plan lacks; the others must be as it has them."""
    planned = {language: len(numbers) for language, numbers in plan.numbers().items()}
    there = [chunk for chunk in chunks if chunk.number < planned.get(chunk.language, 0)]
    for ours, theirs in zip(plan.read_many((c.language, c.number) for c in there), there, strict=True):
        if ours.digest != theirs.digest:
            raise ScriptError(
                f"{ours.language} chunk {ours.number} is planned with other episodes than the script's; an import "
                "needs a plan without this language, or one that has what the script has: set STATE_URL to a new place"
            )
    return tuple(chunk for chunk in chunks if chunk.number >= planned.get(chunk.language, 0))
