"""Adopts the dataset that the replaced script began: its chunks, and its files on the Hub after a check.

    work_plan.json   {"de": ["processed/de/072235c28fcd7f40/", ...], ...}: episode prefixes in order
    progress.log     a line "de-0" for each finished chunk
    on the Hub       data/de/chunk-00000.parquet, or -part-00, -part-01 and so on; rows in any order

Chunk i of a language is the i-th slice of its list. Chunks keep members, order and numbers, so their files keep their
names. Where the script's name of a language is not ours (`fra`), its chunks come behind those of our name (`fr`), and
hub/commit.py renames their files. Anything written otherwise is an error of one line.

The script dropped a whole episode for one missing file, and called the chunk done. So the rows of each chunk are
compared with the bucket's metadata. Only segments whose audio exists count as lost: a rebuild brings no others back.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from r2_hf_assets.bucket.segments import Segment
from r2_hf_assets.errors import R2HfError
from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.reads import HubReader, Inventory, UnreadableShard
from r2_hf_assets.languages import normalize
from r2_hf_assets.plan.chunks import Chunk, Planned
from r2_hf_assets.plan.folders import decided_languages
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.reconcile.report import Due, Name, Recovered
from r2_hf_assets.reconcile.verify import Source, map_concurrently, open_source, read_rows, shard_file
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.names import parts_in_order, path_in_repo, stem
from r2_hf_assets.shards.record import ShardFile

# Episodes ("<folder>/<id>") in order, by the script's language.
WorkPlan = Mapping[str, Sequence[str]]

_SIZE_ADVICE = "if EPISODES_PER_CHUNK was another when the script ran, say --episodes-per-chunk N"
_FINISHED = re.compile(r"(.+)-(\d{1,9})", re.ASCII)
_FILE = re.compile(r"data/([^/]+)/(chunk-\d{5,})((?:-part-\d{2,})?\.parquet)", re.ASCII)


@dataclass(frozen=True)
class Adopted:
    """A chunk of the script as ours.

    Attributes:
        folder: its language to the script.
        finished: progress.log names it.
        planned: the plan has it.
        files: on the Hub, by our path; `RemoteFile.path` is where each lies.
    """

    chunk: Chunk
    folder: str
    finished: bool
    planned: bool
    files: Mapping[str, RemoteFile]

    @property
    def name(self) -> Name:
        return self.chunk.language, self.chunk.number

    @property
    def renames(self) -> list[tuple[str, str]]:
        """(path, our path) of the files that lie elsewhere."""
        return [(file.path, path) for path, file in self.files.items() if file.path != path]


@dataclass(frozen=True)
class Checked:
    """What a chunk's files hold.

    Attributes:
        shards: the files as a record names them.
        problem: why they can't be recorded as this chunk; None when they can.
        foreign: the problem is a row of an episode that is not of this chunk.
        lost: how many of its `segments` have no row although their audio exists.
    """

    adopted: Adopted
    shards: tuple[ShardFile, ...] = ()
    problem: str | None = None
    foreign: bool = False
    segments: int = 0
    lost: int = 0

    @property
    def summary(self) -> str:
        lacks = f"lacks {self.lost:,} of {self.segments:,} segments" if self.lost else None
        return self.problem or lacks or f"{sum(file.rows for file in self.shards):,} rows"

    def as_done(self) -> Recovered:
        chunk = self.adopted.chunk
        planned = Planned(chunk.language, chunk.number, chunk.digest, len(chunk.episodes))
        return Recovered(planned, self.shards, f"footers and keys of the script's files: {self.summary}")

    def as_due(self) -> Due:
        """The next build may replace the script's files."""
        there = (shard_file(path, file, 0) for path, file in sorted(self.adopted.files.items()))
        return Due(self.adopted.name, f"the script's files: {self.summary}", tuple(there))


def read_work_plan(data: bytes, prefix: str) -> WorkPlan:
    """Read work_plan.json.

    Raises:
        R2HfError: it has another form, or names an episode twice or outside `prefix`.
    """
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError):
        raw = None
    if not isinstance(raw, dict) or not all(isinstance(listed, list) for listed in raw.values()):
        raise R2HfError(f'the work plan is no JSON of the form {{"de": ["{prefix}de/072235c28fcd7f40/", ...], ...}}')
    episode, seen = re.compile(re.escape(prefix) + "([^/]+/[^/]+)/"), set[str]()
    for written in (written for listed in raw.values() for written in listed):
        if not isinstance(written, str) or not episode.fullmatch(written):
            wrong = f"{str(written)[:200]!r} is no episode's prefix below {prefix!r}"
            raise R2HfError(f"the work plan: {wrong}; check PROCESSED_PREFIX")
        if written in seen:
            raise R2HfError(f"the work plan has {written!r} twice")
        seen.add(written)
    return {language: [written[len(prefix) : -1] for written in listed] for language, listed in raw.items()}


def read_progress(text: str, script: WorkPlan, episodes_per_chunk: int) -> set[Name]:
    """(the script's language, chunk number) of the chunks that progress.log names.

    Raises:
        R2HfError: a line has another form, or names a chunk that the work plan has not.
    """
    finished: set[Name] = set()
    for place, line in enumerate(text.splitlines(), 1):
        match = _FINISHED.fullmatch(line)
        if match is None:
            raise R2HfError(f"progress log, line {place}: {line[:80]!r} is not of the form de-0")
        language, number = match[1], int(match[2])
        if number * episodes_per_chunk >= len(script.get(language, ())):
            raise R2HfError(f"progress log, line {place}: {line[:80]!r} is not in the work plan; {_SIZE_ADVICE}")
        finished.add((language, number))
    return finished


def adopt_chunks(
    script: WorkPlan,
    finished: Collection[Name],
    episodes_per_chunk: int,
    plan: PlanStore,
    languages: Collection[str],
    hub: Inventory,
) -> list[Adopted]:
    """The script's chunks as ours, with their files under the script's name or, once renamed, ours. Reads the plan.

    Raises:
        R2HfError: the plan has a chunk with other members or a folder in another language, `languages` lacks one, or
            a chunk has files under both names.
    """
    there: dict[tuple[str, str], dict[str, RemoteFile]] = defaultdict(dict)
    for path, file in hub.files.items():
        if match := _FILE.fullmatch(path):
            there[match[1], match[2]][match[3]] = file
    planned = {(chunk.language, chunk.number): chunk.digest for chunk in plan.planned()}
    decided, adopted, numbers = decided_languages(plan), list[Adopted](), Counter[str]()
    for name in sorted(script, key=lambda name: (normalize(name), name != normalize(name), name)):
        language = normalize(name)
        if language not in languages:
            raise R2HfError(f"LANGUAGES leaves out {language}, the work plan has {name}: import with LANGUAGES empty")
        for folder in {episode.partition("/")[0] for episode in script[name]}:
            if (other := decided.get(folder, language)) != language:
                raise R2HfError(f"{folder} is of {name} in the work plan, and planned as {other} here")
        for place, start in enumerate(range(0, len(script[name]), episodes_per_chunk)):
            members = tuple(script[name][start : start + episodes_per_chunk])
            chunk = Chunk(language, numbers[language], plan.prefix, members)
            numbers[language] += 1
            digest = planned.get((language, chunk.number))
            if digest not in (None, chunk.digest):
                raise R2HfError(
                    f"{language} chunk {chunk.number} is planned with other episodes than the script's: an import "
                    "needs a plan without this language, or with what the script has; set STATE_URL to a new place"
                )
            files = _locate(there, (name, stem(place)), (language, stem(chunk.number)))
            adopted.append(Adopted(chunk, name, (name, place) in finished, digest is not None, files))
    return adopted


def _locate(
    there: Mapping[tuple[str, str], Mapping[str, RemoteFile]], theirs: tuple[str, str], ours: tuple[str, str]
) -> dict[str, RemoteFile]:
    """Files of a chunk by our path, found under the script's name for it or ours."""
    found = [there[name] for name in {theirs, ours} if name in there]
    if len(found) > 1:
        both = " and ".join(sorted(min(file.path for file in side.values()) for side in found))
        raise R2HfError(f"{both} are both {ours[0]} {ours[1]}; delete one of them on the Hub")
    return {path_in_repo(ours[0], ours[1] + end): file for side in found for end, file in side.items()}


def append_chunks(plan: PlanStore, chunks: Sequence[Chunk]) -> None:
    """Write new chunks to the plan. Stopped in between, the next import goes on.

    Raises:
        R2HfError: a scan has taken a number meanwhile.
    """
    for chunk in chunks:
        if not plan.create(chunk):
            raise R2HfError(f"{chunk.language} chunk {chunk.number} was planned by a scan meanwhile; see r2-hf status")
    plan.write_index(chunks)


def check_chunks(
    settings: Settings, revision: str, chunks: Iterable[Adopted], log: Callable[[str], None]
) -> Iterator[Checked]:
    """Check chunks at one revision of the Hub, in their order.

    Raises:
        AccessError, GaveUp: the Hub or the bucket can't be asked.
    """
    source, reader = open_source(settings), HubReader(HubClient(settings.hub, log), revision)
    return map_concurrently(lambda chunk: check_chunk(chunk, reader, source), chunks)


def refuse_other_size(settings: Settings, revision: str, chunks: Iterable[Adopted], log: Callable[[str], None]) -> None:
    """Check whether chunks were as long when the script ran: the last one of a language shows it best.

    Raises:
        R2HfError: its files have rows of another slice of the work plan.
    """
    last = {chunk.folder: chunk for chunk in chunks if chunk.files}
    for found in check_chunks(settings, revision, last.values(), log):
        if found.foreign:
            raise R2HfError(
                f"{min(found.adopted.files)}: {found.problem}; {_SIZE_ADVICE}; with --episodes-per-chunk as it is now, "
                "such chunks are built anew"
            )


def check_chunk(adopted: Adopted, reader: HubReader, source: Source) -> Checked:
    """Compare the rows of a chunk's files, in any order, with the segments of its episodes."""
    chunk, files = adopted.chunk, adopted.files
    paths = parts_in_order(chunk.language, chunk.number, files)
    if not paths:
        absent = f"its parts are not 00 to the last: {', '.join(sorted(files)[:5])}" if files else "no file on the Hub"
        return Checked(adopted, problem=absent)
    try:
        shards, keys = read_rows(paths, files, reader, features=False)
    except UnreadableShard as damage:
        return Checked(adopted, problem=str(damage))
    rows = Counter(keys)
    prefixes = {chunk.audio_prefix(episode) for episode in chunk.episodes}
    for key in rows:
        if key is None or key[: key.rfind("_") + 1] not in prefixes:
            return Checked(adopted, problem=f"its row {key} is of no episode of this chunk", foreign=True)
    if twice := next((key for key, count in rows.items() if count > 1), None):
        return Checked(adopted, problem=f"its row {twice} is there more than once")
    if not rows:
        return Checked(adopted, problem="no row in it")
    segments, missing = 0, list[Segment]()
    for segment in source.segments(chunk):
        segments += 1
        if segment.key not in rows:
            missing.append(segment)
    return Checked(adopted, tuple(shards), segments=segments, lost=len(source.to_be_had(missing)))
