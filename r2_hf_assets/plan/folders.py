"""The language of each folder: decided once, stored with the plan, never changed.

The result of `normalize` can change with a release of langcodes or a longer list of languages. Episodes of a folder
that moved to another language would be planned a second time. So a scan applies the rule to new folders only, and
stores its decisions before it creates chunks of these folders:

    plan/folders_0000.json    {"en-US": "en", "junk": "unknown"}

The entries form a log like the chunks of a language: number n is created exclusively, by a scan that has read all
entries below n. A scan that loses the race reads the entry that won. A folder without a decision whose episodes are
planned (imported, or by release 0.1.0) keeps the language of its chunks.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from r2_hf_assets.bucket.listing import LanguageFolder
from r2_hf_assets.plan.store import PlanStore


def decided_languages(plan: PlanStore) -> dict[str, str]:
    """Return the language of every folder that has a decision."""
    return _merge(plan.folders())


def decide_languages(
    plan: PlanStore, folders: Sequence[LanguageFolder], languages: Collection[str], numbers: Mapping[str, Sequence[int]]
) -> dict[str, str]:
    """Store decisions for those of `folders` that have none and are to be planned; return all decisions.

    `numbers` are the plan's chunk numbers by language.
    """
    log = plan.folders()
    wanted = {folder.name: folder.language for folder in folders if folder.language in languages}
    if not log or wanted.keys() - _merge(log).keys():
        wanted |= _planned_languages(plan, numbers)
    while True:
        decided = _merge(log)
        added = {name: language for name, language in wanted.items() if name not in decided}
        if not added or plan.add_folders(len(log), added):
            return decided | added
        log = plan.folders()


def _merge(log: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the decisions; of several for a folder, the oldest is valid."""
    return {folder: language for entry in reversed(log) for folder, language in entry.items()}


def _planned_languages(plan: PlanStore, numbers: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """Return the language in which the episodes of each folder are planned.

    Release 0.1.0 could plan a folder in two languages. The one with more episodes was planned last and has all of them,
    so it causes no further duplicates.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for chunk in plan.read_many((language, number) for language in sorted(numbers) for number in numbers[language]):
        counts.update((episode.partition("/")[0], chunk.language) for episode in chunk.episodes)
    ascending = sorted(counts, key=lambda key: (counts[key], key))
    return dict(ascending)
