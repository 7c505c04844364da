"""Adopts the dataset that the replaced script began: its chunks, and its files on the Hub after a check.

    work_plan.json   {"de": ["processed/de/072235c28fcd7f40/", ...], ...}: episode prefixes in order
    progress.log     a line "de-0" for each finished chunk
    on the Hub       data/de/chunk-00000.parquet, or -part-00, -part-01 and so on; rows in any order

Chunk i of a language is the i-th slice of its list. Chunks keep members, order and numbers, so their files keep their
names. Where the script's name of a language is not ours (`fra`), its chunks come behind those of our name (`fr`), and
hub/commit.py renames their files.

The script dropped a whole episode for one missing file, and called the chunk done. So the rows of each chunk are
compared with the bucket's metadata. Only segments whose audio exists count as lost: a rebuild brings no others back.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from r2_hf_assets.errors import R2HfError
from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.reads import HubReader, Inventory
from r2_hf_assets.languages import normalize
from r2_hf_assets.plan.chunks import ChunkManifest, Name
from r2_hf_assets.plan.folders import decided_languages
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.reconcile.report import Due
from r2_hf_assets.reconcile.verify import Content, map_concurrently, open_source, shard_file, verify_chunk
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.names import path_in_repo, stem

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

    chunk: ChunkManifest
    folder: str
    finished: bool
    planned: bool
    files: Mapping[str, RemoteFile]

    @property
    def renames(self) -> list[tuple[str, str]]:
        """(path, our path) of the files that lie elsewhere."""
        return [(file.path, path) for path, file in self.files.items() if file.path != path]

    def as_due(self, why: str) -> Due:
        """The next build may replace the script's files."""
        there = tuple(shard_file(path, file, 0) for path, file in sorted(self.files.items()))
        return Due(self.chunk.name, f"the script's files: {why}", there)


def read_work_plan(data: bytes, prefix: str) -> WorkPlan:
    """Read work_plan.json; an error when it has another form, or names an episode twice or outside `prefix`."""
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
    """(the script's language, chunk number) of the chunks that progress.log names; all must be in the work plan."""
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
    """The script's chunks as ours, with their files under the script's name or, once renamed, ours.

    Raises:
        R2HfError: the plan has a chunk with other members or a folder in another language, `languages` lacks one, or
            a chunk has files under both names.
    """
    there: dict[tuple[str, str], dict[str, RemoteFile]] = defaultdict(dict)
    for path, file in hub.files.items():
        if match := _FILE.fullmatch(path):
            there[match[1], match[2]][match[3]] = file
    planned = {chunk.name: chunk.digest for chunk in plan.planned()}
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
            chunk = ChunkManifest(language, numbers[language], plan.prefix, members)
            numbers[language] += 1
            digest = planned.get(chunk.name)
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


def append_chunks(plan: PlanStore, chunks: Sequence[ChunkManifest]) -> None:
    """Write new chunks to the plan. Stopped in between, the next import goes on."""
    for chunk in chunks:
        if not plan.create(chunk):
            raise R2HfError(f"{chunk.language} chunk {chunk.number} was planned by a scan meanwhile; see r2-hf status")
    plan.write_index(chunks)


def check_chunks(
    settings: Settings, revision: str, chunks: Iterable[Adopted], log: Callable[[str], None]
) -> Iterator[tuple[Adopted, Content]]:
    """Read the files of chunks at one revision of the Hub, in the chunks' order."""
    source, reader = open_source(settings), HubReader(HubClient(settings.hub, log), revision)
    return map_concurrently(lambda item: (item, verify_chunk(item.chunk, item.files, reader, source)), chunks)


def refuse_other_size(settings: Settings, revision: str, chunks: Iterable[Adopted], log: Callable[[str], None]) -> None:
    """Refuse chunks that were of another length when the script ran: the last one of a language shows it best."""
    last = {chunk.folder: chunk for chunk in chunks if chunk.files}
    for item, found in check_chunks(settings, revision, last.values(), log):
        if found.foreign:
            raise R2HfError(
                f"{min(item.files)}: {found.problem}; {_SIZE_ADVICE}; with --episodes-per-chunk as it is now, "
                "such chunks are built anew"
            )
