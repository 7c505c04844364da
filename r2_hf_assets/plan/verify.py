"""The plan check: every manifest read once, a language at a time.

Each planned episode is in exactly one chunk, manifests are whole (digest, number, members), numbers have no gap, and
the index agrees with the manifests. A folder is planned in one language, the one that was decided for it (folders.py).

Memory: episodes are kept as 64-bit hashes (8 bytes each, of one language at a time), and manifests are read a few at a
time. Only when two hashes are equal is that language read again, to name the episodes.
"""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from r2_hf_assets.errors import PlanError
from r2_hf_assets.languages import LANGUAGES, UNKNOWN
from r2_hf_assets.plan.chunks import Chunk, Planned
from r2_hf_assets.plan.folders import decided_languages
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.verdict import Findings, Severity, Verdict

_FOLDERS_NAMED = 100


def check_plan(plan: PlanStore) -> Verdict:
    """Read the whole plan. Failed with ERROR when it is damaged, with WARN when folders name no known language.

    Raises:
        GaveUp, AccessError: the state store can't be read.
    """
    findings = Findings()
    episodes: Counter[str] = Counter()
    chunks: Counter[str] = Counter()
    folders: dict[str, tuple[str, int]] = {}
    planned: list[Planned] = []
    decided: dict[str, str] = {}
    try:
        planned = plan.planned()
        decided = decided_languages(plan)
    except PlanError as error:
        findings.add("plan_damaged", str(error))
    for language, entries in groupby(planned, lambda entry: entry.language):
        numbered = list(entries)
        chunks[language] = len(numbered)
        for folder, count in _check_language(plan, numbered, findings).items():
            episodes[language] += count
            if folder in folders:
                findings.add("folder_in_two_languages", f"{folder}: {folders[folder][0]} and {language}")
            if decided.get(folder, language) != language:
                findings.add("folder_not_as_decided", f"{folder}: planned as {language}, decided {decided[folder]}")
            folders[folder] = (language, count)
    line = "LANGUAGES=" + ",".join(name for name in LANGUAGES if chunks[name])
    unknown = Counter({name: n for name, (own, n) in folders.items() if own == UNKNOWN and name != UNKNOWN})
    numbers = {
        "episodes": episodes.total(),
        "chunks": chunks.total(),
        "languages": len(chunks),
        "episodes_by_language": dict(episodes),
        "chunks_by_language": dict(chunks),
        "languages_that_fit": line,
        "unknown_folders": len(unknown),
        "episodes_in_unknown_folders": unknown.total(),
        "episodes_by_unknown_folder": dict(unknown.most_common(_FOLDERS_NAMED)),
    }
    good = f"{episodes.total()} episodes in {chunks.total()} chunks of {len(chunks)} languages, each planned once"
    verdict = findings.verdict(good, numbers)
    if verdict.passed and unknown:
        named = ", ".join(f"{folder} ({count} episodes)" for folder, count in unknown.most_common(5))
        return Verdict(False, Severity.WARN, f"{good}; {len(unknown)} folders name no known language: {named}", numbers)
    return verdict


def _check_language(plan: PlanStore, planned: Sequence[Planned], findings: Findings) -> Counter[str]:
    """Check a language's chunks; returns its episodes by folder."""
    folders: Counter[str] = Counter()
    hashes = array("q")
    try:
        for entry, chunk in zip(planned, _read(plan, planned), strict=True):
            if (entry.digest, entry.episodes) != (chunk.digest, len(chunk.episodes)):
                findings.add("index_differs", f"{chunk.language} chunk {chunk.number}: remove plan/index.json")
            if chunk.prefix != plan.prefix:
                findings.add("other_prefix", f"{chunk.language} chunk {chunk.number}: {chunk.prefix}")
            for episode in chunk.episodes:
                folder, _, name = episode.partition("/")
                if not folder or not name or "/" in name:
                    findings.add("episode_misnamed", episode)
                folders[folder] += 1
            hashes.extend(map(hash, chunk.episodes))
    except PlanError as error:
        findings.add("plan_damaged", str(error))
        return folders
    # A sorted array needs a tenth of a set's memory.
    unsorted = pa.Array.from_buffers(pa.int64(), len(hashes), [None, pa.py_buffer(hashes)])
    ordered = unsorted.take(pc.sort_indices(unsorted))
    repeated = ordered[1:].filter(pc.equal(ordered[1:], ordered[:-1]))
    if len(repeated):
        _name_repeated(plan, planned, frozenset(repeated.to_pylist()), findings)
    return folders


def _name_repeated(plan: PlanStore, planned: Sequence[Planned], hashes: frozenset[int], findings: Findings) -> None:
    chunk_of: dict[str, int] = {}
    for chunk in _read(plan, planned):
        for episode in chunk.episodes:
            if hash(episode) not in hashes:
                continue
            if episode in chunk_of:
                where = f"chunks {chunk_of[episode]} and {chunk.number}"
                findings.add("episode_planned_twice", f"{episode}: {chunk.language} {where}")
            chunk_of[episode] = chunk.number


def _read(plan: PlanStore, planned: Sequence[Planned]) -> Iterator[Chunk]:
    return plan.read_many((entry.language, entry.number) for entry in planned)
