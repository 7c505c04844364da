"""Make a release: check the dataset, commit its changelog entry on the checked head, then tag that commit.

The entry and the card are one commit, whose parent is the head that was checked. When another commit came in between,
the Hub refuses it and the check is repeated. So the tag names exactly what was checked, and contains its own entry. A
release that was interrupted before its tag is completed by the same call: an equal entry needs no further commit.
"""

from dataclasses import replace
from datetime import datetime
from functools import partial

import dagster as dg

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.errors import R2HfError
from r2_hf_assets.hub.card.commit import draft_card
from r2_hf_assets.hub.card.facts import Figures, by_language
from r2_hf_assets.hub.client import HubClient, TagTaken
from r2_hf_assets.hub.figures import compare_revisions, read_figures
from r2_hf_assets.hub.reads import HubReader, Inventory, require_repo
from r2_hf_assets.hub.releases import RELEASES_PATH, Changes, Release, Tagged, check_tag, clean_note, encode, read_log
from r2_hf_assets.plan.due import find_due, in_grid
from r2_hf_assets.plan.store import PlanStore, open_plan
from r2_hf_assets.plural import plural
from r2_hf_assets.reconcile.compare import Log
from r2_hf_assets.reconcile.report import Report
from r2_hf_assets.retry import CARD_RETRY
from r2_hf_assets.runs.card_facts import Facts, read_facts
from r2_hf_assets.runs.history import recorded_digests
from r2_hf_assets.runs.reconcile import examine
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.names import METADATA, parse_path


def release(
    instance: dg.DagsterInstance,
    settings: Settings,
    tag: str,
    note: str,
    now: datetime,
    *,
    anyway: bool = False,
    log: Log | None = None,
) -> Tagged:
    """Release the head of the dataset as `tag`.

    Args:
        anyway: also while chunks are due, or plan, history and Hub differ; the entry then says so.

    Raises:
        R2HfError: the tag is not valid, the dataset is not complete, or nothing is committed. Nothing was changed.
        TagTaken: the tag exists.
        AccessError, CardError, ForeignDataset, PlanError, RetriesExhausted, ShardError.
    """
    check_tag(tag)
    note = clean_note(note)
    repo, plan = HubClient(settings.hub, log), open_plan(settings.plan, settings.r2)
    head = require_repo(repo, repo.call_with_retry("read", repo.head))
    before = repo.call_with_retry("read", partial(read_log, repo, head))
    if tag in before.tags:
        what = "was released" if any(one.release.tag == tag for one in before.releases) else "is a tag"
        raise TagTaken(f"{tag} {what} of {repo.repo_id} already, at commit {before.tags[tag]}; choose another name")

    def attempt() -> Tagged:
        report = examine(instance, settings, log=log)
        checked = require_repo(repo, report.revision)
        lacking = _find_lacking(instance, plan, settings, report)
        if lacking and not anyway:
            raise R2HfError(
                f"{lacking}: see r2-hf status and r2-hf reconcile, or release it --anyway; nothing was changed"
            )
        if unindexed := _chunks_without_index(report.hub):
            raise R2HfError(
                f"{plural(unindexed, 'chunk has', 'chunks have')} no index to count: r2-hf reconcile --write-index; "
                "nothing was changed"
            )
        facts = read_facts(instance, plan, settings, repo, checked)
        if not facts.card.all.rows:
            raise R2HfError("no committed row is recorded, so there is nothing to release; nothing was changed")
        existing = read_log(repo, checked)
        last = existing.releases[0] if existing.releases else None
        entry = _describe(repo, checked, facts, last, tag, now.isoformat(timespec="seconds"), note, lacking)
        interrupted = existing.recorded.get(tag)
        if interrupted and replace(entry, at=interrupted.at) == interrupted:
            entry = interrupted
        entries = (entry, *(one.release for one in existing.releases))
        card = replace(facts.card, releases=entries)
        at = now.strftime("%Y-%m-%d %H:%M UTC")
        contents = draft_card(repo, checked, card, at, plan.ensure_id(), may_shrink=anyway)
        if existing.recorded != {one.tag: one for one in entries}:
            contents = {**contents, RELEASES_PATH: encode(entries)}
        if not contents:
            return Tagged(entry, checked)
        oid, _ = repo.commit([], [], checked, f"Release {tag}: {plural(entry.rows, 'segment')}", contents)
        return Tagged(entry, oid)

    # Repeating an attempt is safe: it begins by reading the head, where it also finds a commit whose response was lost.
    done = repo.call_with_retry("release", attempt, CARD_RETRY)
    repo.call_with_retry("tag", partial(repo.create_tag, tag, done.revision, note or f"Release {tag}"))
    return done


def _find_lacking(instance: dg.DagsterInstance, plan: PlanStore, settings: Settings, report: Report) -> str:
    """Return what is not complete in one line, "" for nothing."""
    planned = in_grid(plan.planned(), settings.plan.languages)
    due = len(find_due(planned, recorded_digests(instance, COMMIT, settings.dataset)))
    problems = [f"{due} of {len(planned)} planned chunks are due"] if due else []
    if report.differences:
        problems.append(f"{plural(len(report.differences), 'difference')} between plan, history and Hub")
    return "; ".join(problems)


def _chunks_without_index(hub: Inventory) -> int:
    return len({name for path in hub.files if (name := parse_path(path))} - hub.indexes().keys())


def _describe(
    repo: HubClient, revision: str, facts: Facts, last: Tagged | None, tag: str, at: str, note: str, lacking: str
) -> Release:
    """Return the figures of every index at the revision, and the changes since the last release."""
    reader = HubReader(repo, revision)
    figures = read_figures(reader, facts.indexes, facts.known)
    changes: Changes | None = None
    if last is not None:
        before = Inventory(last.revision, repo.list_files(METADATA, last.revision)).indexes()
        changes = compare_revisions(HubReader(repo, last.revision), before, reader, facts.indexes, figures)
    total = sum(figures.values(), Figures())
    return Release(
        tag=tag,
        at=at,
        note=note,
        rows=total.rows,
        hours=round(total.stats.hours, 4),
        episodes=tuple((language, one.stats.episodes) for language, one in by_language(figures).items()),
        removed_segments=total.stats.removed_segments,
        removed_episodes=total.stats.removed_episodes,
        since=last.release.tag if last else None,
        changes=changes,
        lacking=lacking,
    )
