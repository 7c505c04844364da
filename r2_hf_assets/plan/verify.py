"""The plan check: every manifest read once, a language at a time.

Each planned episode is in exactly one chunk, manifests are whole (digest, number, members), numbers have no gap, and
the index agrees with the manifests. A folder is planned in one language, the one that was decided for it (folders.py).
The episodes of one language at a time are in memory, as in a scan.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from r2_hf_assets.errors import PlanError
from r2_hf_assets.languages import LANGUAGES, UNKNOWN
from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.plan.folders import decided_languages
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.verdict import Findings, Severity, Verdict

_FOLDERS_NAMED = 100


def check_plan(plan: PlanStore) -> Verdict:
    """Read the whole plan. Failed with ERROR when it is damaged, with WARN when folders name no known language."""
    findings = Findings()
    episodes: Counter[str] = Counter()
    folders: dict[str, tuple[str, int]] = {}
    planned: list[ChunkRef] = []
    decided: dict[str, str] = {}
    try:
        planned = plan.planned()
        decided = decided_languages(plan)
    except PlanError as error:
        findings.add("plan_damaged", str(error))
    for language, entries in groupby(planned, lambda entry: entry.language):
        for folder, count in _check_language(plan, list(entries), findings).items():
            episodes[language] += count
            if folder in folders:
                findings.add("folder_in_two_languages", f"{folder}: {folders[folder][0]} and {language}")
            if decided.get(folder, language) != language:
                findings.add("folder_not_as_decided", f"{folder}: planned as {language}, decided {decided[folder]}")
            folders[folder] = (language, count)
    chunks = Counter(entry.language for entry in planned)
    unknown = Counter({name: n for name, (own, n) in folders.items() if own == UNKNOWN and name != UNKNOWN})
    numbers = {
        "episodes": episodes.total(),
        "chunks": chunks.total(),
        "languages": len(chunks),
        "episodes_by_language": dict(episodes),
        "chunks_by_language": dict(chunks),
        "languages_that_fit": "LANGUAGES=" + ",".join(name for name in LANGUAGES if chunks[name]),
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


def _check_language(plan: PlanStore, planned: Sequence[ChunkRef], findings: Findings) -> Counter[str]:
    """Check a language's chunks; returns its episodes by folder."""
    folders: Counter[str] = Counter()
    number_of: dict[str, int] = {}
    try:
        for entry, chunk in zip(planned, plan.read_many(entry.name for entry in planned), strict=True):
            where = f"{chunk.language} chunk {chunk.number}"
            if entry != chunk.ref:
                findings.add("index_differs", f"{where}: remove plan/index.json")
            if chunk.prefix != plan.prefix:
                findings.add("other_prefix", f"{where}: {chunk.prefix}")
            for episode in chunk.episodes:
                folder, _, name = episode.partition("/")
                if not folder or not name or "/" in name:
                    findings.add("episode_misnamed", episode)
                if episode in number_of:
                    findings.add("episode_planned_twice", f"{episode}: {where} and chunk {number_of[episode]}")
                number_of[episode] = chunk.number
                folders[folder] += 1
    except PlanError as error:
        findings.add("plan_damaged", str(error))
    return folders
