"""A scan: list the episode folders, compare with the plan, put what is new into new chunks.

Sealed chunks are never touched, so a re-scan can't shift anything. The planning of a language is a loop over
`PlanStore.create`: whoever loses a number to another scan reads that chunk, drops its members from its own list and
goes on behind it. Folders have the language that the plan decided (folders.py), whatever the rule says now.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from r2_hf_assets.bucket.client import Store
from r2_hf_assets.bucket.listing import LanguageFolder, episodes_of, language_folders
from r2_hf_assets.languages import LANGUAGES, UNKNOWN
from r2_hf_assets.plan.chunks import Chunk, Planned
from r2_hf_assets.plan.folders import OtherRule, decide_languages
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.retry import Retry, default_retry


@dataclass(frozen=True)
class ScanRules:
    """What a scan plans.

    Attributes:
        languages: only these (the grid's, or the user's choice of it).
        episodes_per_chunk: members of a full chunk.
        hold_back: None plans every new episode (a manual scan); else a remainder smaller than a chunk waits this long.
    """

    languages: frozenset[str]
    episodes_per_chunk: int
    hold_back: timedelta | None = None


@dataclass
class ScanReport:
    """What a scan saw and did. Counts are episodes by language, folders where the name says so.

    `unreadable_folders` are key prefixes whose names can't be asked for; nothing below them is planned. `other_rules`
    are folders that stay with the language the plan decided, although the rule now gives another.
    """

    seen: Counter[str] = field(default_factory=Counter)
    already_planned: Counter[str] = field(default_factory=Counter)
    newly_planned: Counter[str] = field(default_factory=Counter)
    waiting: Counter[str] = field(default_factory=Counter)
    folders: dict[str, int] = field(default_factory=dict)
    unknown_folders: list[str] = field(default_factory=list)
    unreadable_folders: list[str] = field(default_factory=list)
    other_rules: list[OtherRule] = field(default_factory=list)
    folders_left_out: Counter[str] = field(default_factory=Counter)
    new_chunks: list[Chunk] = field(default_factory=list)
    planned: list[Planned] = field(default_factory=list)

    @property
    def languages_line(self) -> str:
        """The LANGUAGES line that would fit the bucket as it was seen."""
        found = {language for language, count in (self.seen + self.folders_left_out).items() if count}
        found |= {chunk.language for chunk in self.planned}
        return "LANGUAGES=" + ",".join(language for language in LANGUAGES if language in found)


def scan(
    bucket: Store,
    plan: PlanStore,
    rules: ScanRules,
    *,
    retry: Retry | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ScanReport:
    """List the bucket and append new chunks to the plan.

    Raises:
        PlanError: the plan is damaged or of another bucket.
        GaveUp: listing or writing kept failing.
    """
    retry = retry or default_retry()
    plan.check_identity()
    report = ScanReport()
    unreadable = report.unreadable_folders.append
    by_language: dict[str, list[LanguageFolder]] = {}
    found, numbers = language_folders(bucket, plan.prefix, retry, unreadable), plan.numbers()
    decided = decide_languages(plan, found, rules.languages, numbers)
    for folder in found:
        language = decided.get(folder.name, folder.language)
        if language != folder.language:
            report.other_rules.append(OtherRule(folder.name, language, folder.language))
        if language == UNKNOWN and folder.name != UNKNOWN:
            report.unknown_folders.append(folder.name)
        by_language.setdefault(language, []).append(replace(folder, language=language))
    for language in by_language.keys() - rules.languages:
        report.folders_left_out[language] = len(by_language.pop(language))
    wanted = [folder for language in sorted(by_language) for folder in by_language[language]]
    with closing(episodes_of(bucket, plan.prefix, wanted, retry, unreadable)) as listed:
        for language in sorted(by_language):
            episodes = _seen(by_language[language], listed, report)
            _plan_language(language, episodes, numbers.get(language, ()), plan, rules, report, now())
    report.planned = plan.write_index(report.new_chunks)
    return report


def _seen(
    folders: Sequence[LanguageFolder], listed: Iterator[Iterator[list[str]]], report: ScanReport
) -> Iterator[list[str]]:
    """The episodes of one language, in listing order and in batches, counted as they come."""
    for folder, batches in zip(folders, listed, strict=False):
        report.folders[folder.name] = 0
        for names in batches:
            report.folders[folder.name] += len(names)
            yield [f"{folder.name}/{name}" for name in names]


def _plan_language(
    language: str,
    listed: Iterable[list[str]],
    numbers: Sequence[int],
    plan: PlanStore,
    rules: ScanRules,
    report: ScanReport,
    now: datetime,
) -> None:
    """Plan what is new while the listing still goes on."""
    taken: set[str] = set()
    for known in plan.read_many((language, number) for number in numbers):
        taken.update(known.episodes)
    number, new = len(numbers), list[str]()

    def seal(size: int) -> None:
        """Put the first `size` of `new` into the next chunk; if another scan was faster, they are its."""
        nonlocal number, new
        chunk = Chunk(language, number, plan.prefix, tuple(new[:size]))
        number += 1
        if plan.create(chunk):
            report.new_chunks.append(chunk)
            report.newly_planned[language] += size
            new = new[size:]
        else:
            theirs = {e for winner in plan.read_many([(language, chunk.number)]) for e in winner.episodes}
            taken.update(theirs)
            new = [episode for episode in new if episode not in theirs]

    for episodes in listed:
        report.seen[language] += len(episodes)
        new += [episode for episode in episodes if episode not in taken]
        while len(new) >= rules.episodes_per_chunk:
            seal(rules.episodes_per_chunk)
    while new:
        if _hold_back(language, plan, rules, now):
            report.waiting[language] = len(new)
            break
        seal(len(new))
    if not report.waiting[language]:
        plan.set_waiting(language, None)
    report.already_planned[language] = report.seen[language] - report.newly_planned[language] - report.waiting[language]


def _hold_back(language: str, plan: PlanStore, rules: ScanRules, now: datetime) -> bool:
    """Whether a remainder still waits.

    The note says since when the language has had a remainder, without a break. Sealing a chunk does not renew it:
    chunks fill by name, so what has waited longest may be what is left.
    """
    if rules.hold_back is None:
        return False
    since = plan.waiting_since(language)
    if since is None or since > now:  # a clock that was wrong, when the note was made, must not hold it for ever
        plan.set_waiting(language, now)
        return rules.hold_back > timedelta(0)
    return now - since < rules.hold_back
