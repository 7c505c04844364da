"""The plan check, which reads every manifest once.

Each planned episode is in exactly one chunk, manifests are complete (digest, number, members), numbers have no gap, and
the index agrees with the manifests. Amendments can be read. A folder is planned in one language, the decided one
(folders.py). Memory holds the episodes of one language at a time.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from r2_hf_assets.errors import PlanError
from r2_hf_assets.languages import LANGUAGES, UNKNOWN
from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.plan.folders import decided_languages
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.plural import plural
from r2_hf_assets.verdict import Problems, Severity, Verdict

_MAX_FOLDERS = 100


def check_plan(plan: PlanStore) -> Verdict:
    """Check the whole plan. ERROR when it is damaged, WARN when folders name no known language."""
    problems = Problems()
    episodes: Counter[str] = Counter()
    folders: dict[str, tuple[str, int]] = {}
    planned: list[ChunkRef] = []
    decided: dict[str, str] = {}
    try:
        planned = plan.sealed()
        plan.amendments()
        decided = decided_languages(plan)
    except PlanError as error:
        problems.add("plan_damaged", str(error))
    for language, chunks in groupby(planned, lambda chunk: chunk.language):
        for folder, count in _check_language(plan, list(chunks), problems).items():
            episodes[language] += count
            if folder in folders:
                problems.add("folder_in_two_languages", f"{folder}: {folders[folder][0]} and {language}")
            if decided.get(folder, language) != language:
                problems.add("folder_not_as_decided", f"{folder}: planned as {language}, decided {decided[folder]}")
            folders[folder] = (language, count)
    counts = Counter(chunk.language for chunk in planned)
    unknown = Counter({name: n for name, (language, n) in folders.items() if language == UNKNOWN and name != UNKNOWN})
    numbers = {
        "episodes": episodes.total(),
        "chunks": counts.total(),
        "languages": len(counts),
        "episodes_by_language": dict(episodes),
        "chunks_by_language": dict(counts),
        "languages_that_fit": "LANGUAGES=" + ",".join(name for name in LANGUAGES if counts[name]),
        "unknown_folders": len(unknown),
        "episodes_in_unknown_folders": unknown.total(),
        "episodes_by_unknown_folder": dict(unknown.most_common(_MAX_FOLDERS)),
    }
    good = (
        f"{plural(episodes.total(), 'episode')} in {plural(counts.total(), 'chunk')} of "
        f"{plural(len(counts), 'language')}, each planned once"
    )
    verdict = problems.verdict(good, numbers)
    if verdict.passed and unknown:
        named = ", ".join(f"{folder} ({plural(count, 'episode')})" for folder, count in unknown.most_common(5))
        return Verdict(
            False, Severity.WARN, f"{good}; {plural(len(unknown), 'folder')} without a known language: {named}", numbers
        )
    return verdict


def _check_language(plan: PlanStore, planned: Sequence[ChunkRef], problems: Problems) -> Counter[str]:
    """Check a language's chunks; return its number of episodes by folder."""
    folders: Counter[str] = Counter()
    number_of: dict[str, int] = {}
    try:
        for ref, chunk in zip(planned, plan.read_many(ref.name for ref in planned), strict=True):
            where = f"{chunk.language} chunk {chunk.number}"
            if ref != chunk.ref:
                problems.add("index_differs", f"{where}: remove plan/index.json")
            if chunk.prefix != plan.prefix:
                problems.add("other_prefix", f"{where}: {chunk.prefix}")
            for episode in chunk.episodes:
                folder, _, name = episode.partition("/")
                if not folder or not name or "/" in name:
                    problems.add("episode_misnamed", episode)
                if episode in number_of:
                    problems.add("episode_planned_twice", f"{episode}: {where} and chunk {number_of[episode]}")
                number_of[episode] = chunk.number
                folders[folder] += 1
    except PlanError as error:
        problems.add("plan_damaged", str(error))
    return folders
