"""The changelog on the card: the releases, newest first, and what was removed since the last one.

Removals are counted. No removed episode, speaker or key is named.
"""

import html
from itertools import zip_longest

from r2_hf_assets.hub.card.facts import CardFacts
from r2_hf_assets.hub.releases import Changes, Release


def changelog(facts: CardFacts) -> str:
    """Return the part "Releases", "" without any release and removal."""
    releases = facts.releases
    last = releases[0] if releases else None
    removed = _removed(facts, last)
    parts = [f"Removed {f'since {last.tag}' if last else 'so far'}: {removed}." if removed else ""]
    parts += [_entry(one, before, facts.repo_id) for one, before in zip_longest(releases, releases[1:])]
    text = "\n\n".join(filter(None, parts))
    return f"## Releases\n\n{text}" if text else ""


def _removed(now: CardFacts | Release, before: Release | None) -> str:
    """Return what amendments removed since `before`, "" for nothing."""
    segments = now.removed_segments - (before.removed_segments if before else 0)
    episodes = now.removed_episodes - (before.removed_episodes if before else 0)
    what = [_count(segments, "segment")] if segments > 0 else []
    what += [_count(episodes, "whole episode")] if episodes > 0 else []
    return " and ".join(what)


def _entry(release: Release, before: Release | None, repo_id: str) -> str:
    lines = [f"### {release.tag}, {release.date}"]
    if release.note:
        lines.append(html.escape(release.note, quote=False))  # no note can end the generated section
    figures = f"{_count(release.rows, 'segment')}, {release.hours:,.{1 if release.hours >= 10 else 2}f} hours"
    by_language = ", ".join(f"`{language}` {count:,}" for language, count in release.episodes)
    lines.append(f"{figures}; episodes: {by_language or 'none'}.")
    if release.changes is not None:
        lines.append(f"Since {release.since}: {_changes(release.changes)}.")
    if removed := _removed(release, before):
        lines.append(f"Removed on request: {removed}.")
    if release.lacking:
        lines.append(f"Incomplete: {html.escape(release.lacking, quote=False)}.")
    lines.append(f'```python\nload_dataset("{repo_id}", revision="{release.tag}")\n```')
    return "\n\n".join(lines)


def _changes(changes: Changes) -> str:
    added = f"{_count(changes.added_rows, 'segment')} and {_count(changes.added_episodes, 'episode')} added"
    removed = f"{_count(changes.removed_rows, 'segment')} and {_count(changes.removed_episodes, 'episode')} removed"
    return f"{added}; {removed}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
