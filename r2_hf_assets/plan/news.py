"""What is new in the bucket, found a piece at a time, and whether a scan of it is worth while.

A sweep goes through the episode folders once, in the bucket's order, and counts by language those that are not planned.
It may take many pieces: each ends with a page when its time is up, and the next one goes on behind it. What arrives
behind a sweep's back is found by the next one. Only counts are kept between pieces, so a sweep's state is small
whatever the bucket holds.

`outlook` is the rule by which an automatic scan plans, too: a full chunk at once, a remainder when the language has had
one for PLAN_MAX_WAIT_HOURS without a break, as the plan's waiting note says. Full chunks that are sealed meanwhile do
not renew the note, so no episode waits longer than that and an interval between two sweeps or scans. The price is at
most one part-filled chunk a language in that time. The same note serves both, so nothing waits twice.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from r2_hf_assets.bucket.listing import LanguageFolder
from r2_hf_assets.plan.known import Known

# Ids of a folder's episodes behind a place in it, with the place where each page ends; None where the folder does.
Pages = Callable[[str, str], Iterator[tuple[list[str], str | None]]]


@dataclass(frozen=True)
class Sweep:
    """How far a sweep is.

    Attributes:
        chunks: planned chunks by language when it began.
        folder: the language folder it is in, "" before the first; `after`: the place in it that it goes on behind, None
            when it is done with this folder.
        seen: episodes by language that it met; `new`: those that are not planned.
    """

    chunks: Mapping[str, int]
    folder: str = ""
    after: str | None = ""
    seen: Mapping[str, int] = field(default_factory=dict)
    new: Mapping[str, int] = field(default_factory=dict)
    done: bool = False


def look(
    sweep: Sweep, folders: Iterable[LanguageFolder], pages: Pages, known: Known, in_time: Callable[[], bool]
) -> Sweep:
    """Go on with a sweep until its end or the time's. At least one page is read, so every call gets on.

    Raises:
        GaveUp, AccessError: the bucket can't be listed.
    """
    seen, new = Counter(sweep.seen), Counter(sweep.new)
    for folder in sorted(folders, key=lambda folder: folder.name):
        after = sweep.after if folder.name == sweep.folder else ""
        if folder.name < sweep.folder or after is None:
            continue
        for ids, end in pages(folder.name, after):
            seen[folder.language] += len(ids)
            new[folder.language] += sum(not known.has(folder.language, f"{folder.name}/{one}") for one in ids)
            if not in_time():
                return replace(sweep, folder=folder.name, after=end, seen=dict(seen), new=dict(+new))
    return replace(sweep, folder="", after="", seen=dict(seen), new=dict(+new), done=True)


@dataclass(frozen=True)
class Outlook:
    """What a finished sweep means, by language.

    Attributes:
        ready: to be scanned now, with their new episodes.
        waiting: remainders that still wait: since when.
        begins: those of them whose waiting begins now, to be noted.
        over: nothing waits here any more, though it did: the note is to be cleared.
    """

    ready: Mapping[str, int]
    waiting: Mapping[str, datetime]
    begins: tuple[str, ...]
    over: tuple[str, ...]


def outlook(
    new: Mapping[str, int],
    waiting: Mapping[str, datetime | None],
    waited: Iterable[str],
    size: int,
    hold_back: timedelta,
    now: datetime,
) -> Outlook:
    """Judge the counts of new episodes.

    Args:
        waiting: since when there has been a remainder, as the plan notes it.
        waited: languages in which one waited after the sweep before.
        size: episodes of a full chunk.
    """
    ready: dict[str, int] = {}
    waits: dict[str, datetime] = {}
    begins = []
    for language, count in sorted(new.items()):
        since = waiting.get(language)
        if since is not None and since > now:
            since = None  # as in a scan: the clock was wrong when the note was made
        if count >= size or hold_back <= timedelta(0) or (since is not None and now - since >= hold_back):
            ready[language] = count
        elif since is None:
            begins.append(language)
            waits[language] = now
        else:
            waits[language] = since
    over = tuple(language for language in sorted(waited) if not new.get(language))
    return Outlook(ready, waits, tuple(begins), over)
