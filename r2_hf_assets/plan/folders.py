"""The language of each folder: decided once, stored with the plan, never changed.

The result of `normalize` can change with a release of langcodes or a longer list of languages. A folder that moved to
another language would be planned a second time, so a scan applies the rule to new folders only, and stores its
decisions before it creates a chunk by them:

    plan/folders_0000.json    {"en-US": "en", "junk": "unknown"}

The entries form a log like the chunks of a language: number n is created exclusively, by a scan that has read all
numbers below n. A scan that loses the race reads the other's entry, which decides the same folders. A folder without a
decision whose episodes are in the plan (imported, or from a release without this log) is decided by the manifests. A
folder that no scan was to plan has no decision.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from r2_hf_assets.bucket.listing import LanguageFolder
from r2_hf_assets.plan.store import PlanStore


def decided_languages(plan: PlanStore) -> dict[str, str]:
    """The language of every folder that has a decision."""
    return _merge(plan.folders())


def decide_languages(
    plan: PlanStore,
    folders: Sequence[LanguageFolder],
    languages: Collection[str],
    numbers: Mapping[str, Sequence[int]],
) -> dict[str, str]:
    """Store decisions on those of `folders` that have none and are to be planned; returns all decisions.

    Args:
        folders: each with the language that the rule gives it.
        languages: those that are to be planned.
        numbers: chunk numbers by language, as PlanStore.numbers gives them.
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
    """The oldest entry that names a folder decides."""
    return {folder: language for entry in reversed(log) for folder, language in entry.items()}


def _planned_languages(plan: PlanStore, numbers: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """The language under which the episodes of each folder are planned.

    A folder that an earlier release planned under two languages has most episodes where it was planned last: all of
    them are there, so nothing is planned a third time.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for chunk in plan.read_many((language, number) for language in sorted(numbers) for number in numbers[language]):
        counts.update((episode.partition("/")[0], chunk.language) for episode in chunk.episodes)
    ascending = sorted(counts, key=lambda key: (counts[key], key))
    return dict(ascending)
