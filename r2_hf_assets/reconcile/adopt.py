"""Takes over the dataset that the script began: its chunks into the plan, its finished chunks into the history.

`decide` compares what the script left with the plan and changes nothing; `append` then writes the plan. Chunks keep
their members, order and numbers, so that the files on the Hub keep their names, data/<language>/chunk-00007.parquet. A
language must be unplanned, or planned as the script did so far; anything else is refused, as no plan is ever changed.

Where several of the script's languages are one of ours (`fr` and `fra`), the chunks of the one that bears our name keep
their numbers and the others' come behind. Those of the others that are finished lie in a folder that we never write, so
they are planned, not recorded, and named in `elsewhere`: they will be built under our name.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from r2_hf_assets.bucket.client import Store
from r2_hf_assets.bucket.listing import episode_ids, language_folders
from r2_hf_assets.languages import normalize
from r2_hf_assets.plan.chunks import Chunk, Planned
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.reconcile.script import ScriptError, ScriptPlan
from r2_hf_assets.retry import Retry

# The folders of an episode id that stands alone, by our language.
FindFolders = Callable[[str], Mapping[str, Sequence[str]]]


@dataclass(frozen=True)
class Adoption:
    """What an import does.

    Attributes:
        chunks: all of the script's chunks, as ours.
        new: those that the plan has not yet.
        finished: those that the script finished and whose files are under our name.
        elsewhere: finished chunks by the script's language whose files lie under another folder than ours.
        left_out: chunks by the script's language that LANGUAGES leaves out.
    """

    chunks: tuple[Chunk, ...]
    new: tuple[Chunk, ...]
    finished: tuple[Chunk, ...]
    elsewhere: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)


def decide(
    script: ScriptPlan,
    finished: Sequence[tuple[str, int]],
    plan: PlanStore,
    languages: Iterable[str],
    find_folders: FindFolders,
) -> Adoption:
    """What an import would do. Reads the plan, and the bucket's folders when an episode is named by its id alone.

    Raises:
        ScriptError: the script's plan contradicts ours, itself, or the bucket.
    """
    grid = frozenset(languages)
    ours: dict[str, list[str]] = defaultdict(list)
    for name in sorted(script, key=lambda name: (normalize(name), name != normalize(name))):  # stable beyond that
        ours[normalize(name)].append(name)
    chunks: list[Chunk] = []
    done: list[Chunk] = []
    elsewhere: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    wanted = frozenset(finished)
    for language, names in ours.items():
        if language not in grid:
            left_out.update({name: len(script[name]) for name in names})
            continue
        folders = _Folders(language, plan.prefix, find_folders)
        number = 0
        for name in names:
            for theirs, members in enumerate(script[name]):
                chunk = Chunk(language, number, plan.prefix, tuple(map(folders.episode, members)))
                chunks.append(chunk)
                if (name, theirs) in wanted:
                    if name == language:
                        done.append(chunk)
                    else:
                        elsewhere[name] += 1
                number += 1
    _refuse_doubles(chunks)
    return Adoption(tuple(chunks), _new(chunks, plan), tuple(done), elsewhere, left_out)


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


def bucket_folders(bucket: Store, prefix: str, retry: Retry) -> FindFolders:
    """Looks ids up in the bucket: lists every folder of a language."""

    def find(language: str) -> Mapping[str, Sequence[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for folder in language_folders(bucket, prefix, retry):
            if folder.language == language:
                for episode in episode_ids(bucket, prefix, folder, retry):
                    found[episode].append(folder.name)
        return found

    return find


@dataclass
class _Folders:
    """Makes "<folder>/<id>" of an episode as the script wrote it."""

    language: str
    prefix: str
    find: FindFolders
    _known: Mapping[str, Sequence[str]] | None = None

    def episode(self, written: str) -> str:
        name = written.removeprefix("/").removesuffix("/").removeprefix(self.prefix)
        folder, slash, episode = name.partition("/")
        if not slash:
            folder, episode = self._folder_of(name), name
        if not folder or not episode or "/" in episode:
            raise ScriptError(f"episode {written!r} does not lie below {self.prefix!r}; check PROCESSED_PREFIX")
        if normalize(folder) != self.language:
            raise ScriptError(
                f"episode {written!r} is of {self.language} to the script, but its folder is {normalize(folder)}"
            )
        return f"{folder}/{episode}"

    def _folder_of(self, episode: str) -> str:
        if self._known is None:
            self._known = self.find(self.language)
        folders = self._known.get(episode, ())
        if len(folders) != 1:
            where = f"in {len(folders)} folders ({', '.join(folders)})" if folders else "in no folder"
            raise ScriptError(
                f"episode {episode!r} of {self.language} is {where} of the bucket; write folder/id for it"
            )
        return folders[0]


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
