"""Import the dataset of the replaced script: its chunks, and its files on the Hub after a check.

    work_plan.json   {"de": ["processed/de/072235c28fcd7f40/", ...], ...}: episode prefixes in order
    progress.log     a line "de-0" for each finished chunk
    on the Hub       data/de/chunk-00000.parquet, or -part-00, -part-01 and so on; rows in any order

Chunk i of a language is the i-th slice of its list. Chunks keep members, order and numbers, so their files keep their
names. Where the script's code of a language differs from ours (`fra`), its chunks are numbered behind those of our code
(`fr`), and hub/commit.py renames their files.

The script dropped a whole episode for one missing file, and marked the chunk as done. So the rows of each chunk are
compared with the bucket's metadata. Only segments with usable audio count as lost: a rebuild restores no others.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from r2_hf_assets.background import map_in_order
from r2_hf_assets.errors import R2HfError
from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.reads import HubReader, Inventory
from r2_hf_assets.languages import normalize
from r2_hf_assets.plan.chunks import ChunkManifest, Name
from r2_hf_assets.plan.folders import decided_languages
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.reconcile.report import Due
from r2_hf_assets.reconcile.verify import PARALLEL_CHUNKS, Content, open_source, shard_file, verify_chunk
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.names import CHUNK_FILE, path_in_repo, stem

# Episodes ("<folder>/<id>") in order, by the script's language code.
WorkPlan = Mapping[str, Sequence[str]]

_SIZE_ADVICE = "if EPISODES_PER_CHUNK was another when the script ran, give --episodes-per-chunk N"
_FINISHED = re.compile(r"(.+)-(\d{1,9})", re.ASCII)


@dataclass(frozen=True)
class Adopted:
    """A chunk of the script under our name.

    Attributes:
        code: the script's language code.
        finished: whether progress.log names it.
        planned: whether the plan has it.
        files: its files on the Hub, by our path; `RemoteFile.path` is the current one.
    """

    chunk: ChunkManifest
    code: str
    finished: bool
    planned: bool
    files: Mapping[str, RemoteFile]

    @property
    def renames(self) -> list[tuple[str, str]]:
        """(path, our path) of the files whose paths differ."""
        return [(file.path, path) for path, file in self.files.items() if file.path != path]

    def as_due(self, why: str) -> Due:
        """Return the chunk as due; its next commit may replace the script's files."""
        files = tuple(shard_file(path, file, 0) for path, file in sorted(self.files.items()))
        return Due(self.chunk.name, f"the script's files: {why}", files)


def read_work_plan(data: bytes, prefix: str) -> WorkPlan:
    """Parse work_plan.json. Raises R2HfError for another form, and for an episode listed twice or outside `prefix`."""
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError):
        raw = None
    if not isinstance(raw, dict) or not all(isinstance(listed, list) for listed in raw.values()):
        raise R2HfError(f'the work plan is no JSON of the form {{"de": ["{prefix}de/072235c28fcd7f40/", ...], ...}}')
    pattern, known = re.compile(re.escape(prefix) + "[^/]+/[^/]+/"), set[str]()
    for key in (key for listed in raw.values() for key in listed):
        if not isinstance(key, str) or not pattern.fullmatch(key):
            problem = f"{str(key)[:200]!r} is no episode's prefix below {prefix!r}"
            raise R2HfError(f"the work plan: {problem}; check PROCESSED_PREFIX")
        if key in known:
            raise R2HfError(f"the work plan has {key!r} twice")
        known.add(key)
    return {language: [key[len(prefix) : -1] for key in listed] for language, listed in raw.items()}


def read_progress(text: str, script: WorkPlan, episodes_per_chunk: int) -> set[Name]:
    """Return the chunks of progress.log by the script's names; all must be in the work plan."""
    finished: set[Name] = set()
    for row, line in enumerate(text.splitlines(), 1):
        match = _FINISHED.fullmatch(line)
        if match is None:
            raise R2HfError(f"progress log, line {row}: {line[:80]!r} is not <language>-<number>, as de-0; remove it")
        language, number = match[1], int(match[2])
        if number * episodes_per_chunk >= len(script.get(language, ())):
            raise R2HfError(f"progress log, line {row}: {line[:80]!r} is not in the work plan; {_SIZE_ADVICE}")
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
    """Return the script's chunks under our names, with their files under the script's name or, once renamed, ours.

    Raises:
        R2HfError: the plan has other members or another language for them, or a chunk has files under both names.
    """
    on_hub: dict[tuple[str, str], dict[str, RemoteFile]] = defaultdict(dict)
    for path, file in hub.files.items():
        if match := CHUNK_FILE.fullmatch(path):
            on_hub[match[1], match[2]][match[3]] = file
    planned = {chunk.name: chunk.digest for chunk in plan.planned()}
    decided, adopted, numbers = decided_languages(plan), list[Adopted](), Counter[str]()
    for code in sorted(script, key=lambda code: (normalize(code), code != normalize(code), code)):
        language = normalize(code)
        if language not in languages:
            raise R2HfError(f"LANGUAGES leaves out {language}, the work plan has {code}: import with LANGUAGES empty")
        for folder in {episode.partition("/")[0] for episode in script[code]}:
            if (other := decided.get(folder, language)) != language:
                raise R2HfError(
                    f"{folder} is of {code} in the work plan, but planned as {other} here: import into a new plan"
                )
        for number, start in enumerate(range(0, len(script[code]), episodes_per_chunk)):
            members = tuple(script[code][start : start + episodes_per_chunk])
            chunk = ChunkManifest(language, numbers[language], plan.prefix, members)
            numbers[language] += 1
            digest = planned.get(chunk.name)
            if digest not in (None, chunk.digest):
                raise R2HfError(
                    f"{language} chunk {chunk.number} is planned with other episodes than the script's: an import "
                    "needs a plan without this language, or with what the script has; set STATE_URL to a new place"
                )
            files = _locate(on_hub, (code, stem(number)), (language, stem(chunk.number)))
            adopted.append(Adopted(chunk, code, (code, number) in finished, digest is not None, files))
    return adopted


def _locate(
    on_hub: Mapping[tuple[str, str], Mapping[str, RemoteFile]], script_name: tuple[str, str], name: tuple[str, str]
) -> dict[str, RemoteFile]:
    """Return a chunk's files by our path; they are under the script's name or ours."""
    existing = [on_hub[key] for key in {script_name, name} if key in on_hub]
    if len(existing) > 1:
        both = " and ".join(sorted(min(file.path for file in files.values()) for files in existing))
        raise R2HfError(f"{both} are both {name[0]} {name[1]}; delete one of them on the Hub")
    return {path_in_repo(name[0], name[1] + end): file for files in existing for end, file in files.items()}


def append_chunks(plan: PlanStore, chunks: Sequence[ChunkManifest]) -> None:
    """Append new chunks to the plan. Idempotent: the next import completes an interrupted one."""
    for chunk in chunks:
        if not plan.create(chunk):
            raise R2HfError(f"{chunk.language} chunk {chunk.number} was planned by a scan meanwhile; see r2-hf status")
    plan.write_index(chunk.ref for chunk in chunks)


def check_chunks(
    settings: Settings, revision: str, chunks: Iterable[Adopted], log: Callable[[str], None]
) -> Iterator[tuple[Adopted, Content]]:
    """Verify the files of chunks at one revision of the Hub, in the chunks' order."""
    source, reader = open_source(settings), HubReader(HubClient(settings.hub, log), revision)

    def verify(item: Adopted) -> tuple[Adopted, Content]:
        return item, verify_chunk(item.chunk, item.files, reader, source)

    return map_in_order(verify, chunks, PARALLEL_CHUNKS, "verify")


def check_chunk_size(settings: Settings, revision: str, chunks: Iterable[Adopted], log: Callable[[str], None]) -> None:
    """Raise R2HfError if the script used another chunk size; the last chunk of a language shows it best."""
    last = {chunk.code: chunk for chunk in chunks if chunk.files}
    for item, content in check_chunks(settings, revision, last.values(), log):
        if content.foreign:
            raise R2HfError(
                f"{min(item.files)}: {content.problem}; {_SIZE_ADVICE}; with --episodes-per-chunk as it is now, "
                "such chunks are built again"
            )
