"""The changelog on the card: the releases, newest first, and what was removed since the last one.

Removals are counted. No removed episode, speaker or key is named.
"""

import html

from r2_hf_assets.hub.card.facts import CardFacts
from r2_hf_assets.hub.releases import Changes, Release


def changelog(facts: CardFacts) -> str:
    """Return the part "Releases", "" without any release and removal."""
    parts = [_removed_since(facts), *(_entry(release, facts.repo_id) for release in facts.releases)]
    text = "\n\n".join(filter(None, parts))
    return f"## Releases\n\n{text}" if text else ""


def _removed_since(facts: CardFacts) -> str:
    last = facts.releases[0] if facts.releases else None
    segments = facts.removed_segments - (last.removed_segments if last else 0)
    episodes = facts.removed_episodes - (last.removed_episodes if last else 0)
    if segments <= 0 and episodes <= 0:
        return ""
    what = [_count(segments, "segment")] if segments > 0 else []
    what += [_count(episodes, "whole episode")] if episodes > 0 else []
    return f"Removed {f'since {last.tag}' if last else 'so far'}: {' and '.join(what)}."


def _entry(release: Release, repo_id: str) -> str:
    lines = [f"### {release.tag}, {release.date}"]
    if release.note:
        lines.append(html.escape(release.note, quote=False))  # no note can end the generated section
    figures = f"{_count(release.rows, 'segment')}, {release.hours:,.{1 if release.hours >= 10 else 2}f} hours"
    by_language = ", ".join(f"`{language}` {count:,}" for language, count in release.episodes)
    lines.append(f"{figures}; episodes: {by_language or 'none'}.")
    if release.changes is not None:
        lines.append(f"Since {release.since}: {_changes(release.changes)}.")
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
