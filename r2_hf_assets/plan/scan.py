"""A scan: list the episode folders, compare them with the plan, append new episodes in new chunks.

Sealed chunks never change, so a re-scan moves no episode. The planning of a language is a loop over `PlanStore.create`:
a scan that loses a number to another scan reads that chunk, drops its members from its own list and continues with the
next number. A folder keeps the language that the plan decided (folders.py).
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from r2_hf_assets.bucket.listing import LanguageFolder, list_episodes, list_language_folders
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.languages import LANGUAGES, UNKNOWN
from r2_hf_assets.plan.amendments import REMOVE, Amendment, Target, removals_of
from r2_hf_assets.plan.chunks import ChunkManifest, ChunkRef
from r2_hf_assets.plan.folders import decide_languages
from r2_hf_assets.plan.store import PlanStore


@dataclass(frozen=True)
class ScanRules:
    """Which languages to plan, in chunks of how many episodes.

    `hold_back` is how long a remainder smaller than a chunk waits to fill; None plans it at once (a manual scan).
    """

    languages: frozenset[str]
    episodes_per_chunk: int
    hold_back: timedelta | None = None


@dataclass
class ScanReport:
    """The result of a scan. Counts are episodes by language, except where the name says folders.

    Attributes:
        unreadable_folders: key prefixes that can't be requested; nothing below them is planned.
        removed: not planned, because an amendment removed them beforehand.
        changed_rules: by folder, its decided language, and the other that `normalize` returns now.
    """

    seen: Counter[str] = field(default_factory=Counter)
    already_planned: Counter[str] = field(default_factory=Counter)
    newly_planned: Counter[str] = field(default_factory=Counter)
    waiting: Counter[str] = field(default_factory=Counter)
    removed: Counter[str] = field(default_factory=Counter)
    folders: dict[str, int] = field(default_factory=dict)
    unknown_folders: list[str] = field(default_factory=list)
    unreadable_folders: list[str] = field(default_factory=list)
    changed_rules: dict[str, tuple[str, str]] = field(default_factory=dict)
    folders_left_out: Counter[str] = field(default_factory=Counter)
    new_chunks: list[ChunkManifest] = field(default_factory=list)
    planned: list[ChunkRef] = field(default_factory=list)

    @property
    def languages_line(self) -> str:
        """The LANGUAGES setting that names exactly the languages of the bucket and the plan."""
        used = {language for language, count in (self.seen + self.folders_left_out).items() if count}
        used |= {chunk.language for chunk in self.planned}
        return "LANGUAGES=" + ",".join(language for language in LANGUAGES if language in used)


def scan(
    bucket: Bucket, plan: PlanStore, rules: ScanRules, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> ScanReport:
    """List the bucket and append new chunks to the plan, both with the plan's retry policy."""
    plan.check_identity()
    report = ScanReport()
    unreadable = report.unreadable_folders.append
    log = plan.amendments()
    removed = removals_of(log).episodes
    folders = list_language_folders(bucket, plan.prefix, plan.retry, unreadable)
    numbers = plan.numbers()
    decided = decide_languages(plan, folders, rules.languages, numbers)
    by_language = _group_by_language(folders, decided, rules, report)
    wanted = [folder for group in by_language.values() for folder in group]
    with closing(list_episodes(bucket, plan.prefix, wanted, plan.retry, unreadable)) as listed:
        for language, group in by_language.items():
            episodes = _count_listed(group, listed, report)
            _plan_language(language, episodes, numbers.get(language, ()), removed, plan, rules, report, now())
    amend_planned(plan, log, report.new_chunks, now())
    report.planned = plan.write_index(chunk.ref for chunk in report.new_chunks)
    return report


def amend_planned(
    plan: PlanStore, known: Sequence[Amendment], chunks: Iterable[ChunkManifest], at: datetime
) -> list[Target]:
    """Amend those of `chunks` with an episode that was removed, as unplanned, after the log was read as `known`.

    So such a chunk is due, even if it was built in between. Return the targets.
    """
    unplanned = {
        target.episode: target
        for amendment in plan.amendments()[len(known) :]
        if amendment.kind == REMOVE
        for target in amendment.targets
        if target.chunk is None
    }
    targets = [
        replace(unplanned[episode], chunk=chunk.name)
        for chunk in chunks
        for episode in (chunk.episodes if unplanned else ())
        if episode in unplanned
    ]
    if targets:
        plan.amend(REMOVE, targets, "planned while it was removed", at)
    return targets


def _group_by_language(
    folders: Sequence[LanguageFolder], decided: Mapping[str, str], rules: ScanRules, report: ScanReport
) -> dict[str, list[LanguageFolder]]:
    """Group the folders to plan by their decided language, sorted; report the others."""
    by_language: dict[str, list[LanguageFolder]] = {}
    for folder in folders:
        language = decided.get(folder.name, folder.language)
        if language != folder.language:
            report.changed_rules[folder.name] = language, folder.language
        if language == UNKNOWN and folder.name != UNKNOWN:
            report.unknown_folders.append(folder.name)
        if language in rules.languages:
            by_language.setdefault(language, []).append(replace(folder, language=language))
        else:
            report.folders_left_out[language] += 1
    return dict(sorted(by_language.items()))


def _count_listed(
    folders: Sequence[LanguageFolder], listed: Iterator[Iterator[list[str]]], report: ScanReport
) -> Iterator[list[str]]:
    """Yield the episodes of one language in batches, in listing order; count them in the report."""
    for folder, batches in zip(folders, listed, strict=False):
        report.folders[folder.name] = 0
        for names in batches:
            report.folders[folder.name] += len(names)
            yield [f"{folder.name}/{name}" for name in names]


def _plan_language(
    language: str,
    listed: Iterable[list[str]],
    numbers: Sequence[int],
    removed: Collection[str],
    plan: PlanStore,
    rules: ScanRules,
    report: ScanReport,
    now: datetime,
) -> None:
    """Append the new episodes of one language in chunks while it is listed."""
    planned = {episode for chunk in plan.read_many((language, n) for n in numbers) for episode in chunk.episodes}
    number, new = max(numbers, default=-1) + 1, list[str]()

    def seal(size: int) -> None:
        """Create the next chunk from the first `size` of `new`, unless another scan has created it meanwhile."""
        nonlocal number, new
        chunk = ChunkManifest(language, number, plan.prefix, tuple(new[:size]))
        number += 1
        if plan.create(chunk):
            report.new_chunks.append(chunk)
            report.newly_planned[language] += size
            new = new[size:]
        else:
            (existing,) = plan.read_many([(language, chunk.number)])
            planned.update(existing.episodes)
            new = [episode for episode in new if episode not in planned]

    for episodes in listed:
        report.seen[language] += len(episodes)
        unplanned = [episode for episode in episodes if episode not in planned]
        new += [episode for episode in unplanned if episode not in removed]
        report.removed[language] += sum(episode in removed for episode in unplanned)
        while len(new) >= rules.episodes_per_chunk:
            seal(rules.episodes_per_chunk)
    while new:
        if is_held_back(language, plan, rules.hold_back, now):
            report.waiting[language] = len(new)
            break
        seal(len(new))
    if not report.waiting[language]:
        plan.set_waiting(language, None)
    others = report.newly_planned[language] + report.waiting[language] + report.removed[language]
    report.already_planned[language] = report.seen[language] - others


def is_held_back(language: str, plan: PlanStore, hold_back: timedelta | None, now: datetime) -> bool:
    """Return whether a remainder still waits to fill a chunk; record the start of the wait in the plan.

    Sealing a chunk does not restart the wait: chunks fill by name, so the remainder may contain the oldest episode. No
    episode waits longer than `hold_back` plus one interval between scans.
    """
    if hold_back is None:
        return False
    since = plan.waiting_since(language)
    if since is None or since > now:  # the clock was wrong when this was recorded
        plan.set_waiting(language, now)
        return hold_back > timedelta(0)
    return now - since < hold_back
