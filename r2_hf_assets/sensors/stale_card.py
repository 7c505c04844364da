"""`stale_card`: requests an update of the dataset card after commits, at most every EVERY_MINUTES. Off by default.

A card is one commit, and the Hub limits commits, so it is not updated after each chunk. The card's materialization
records the newest event that it includes; later commits are new. `r2-hf process` applies the same rule.
"""

import time
from dataclasses import dataclass

import dagster as dg

from r2_hf_assets.asset_keys import CARD
from r2_hf_assets.dagster_internals import NOT_FINISHED_STATUSES
from r2_hf_assets.runs.history import latest_ids

CARD_JOB = "card_job"
EVERY_MINUTES = 30.0
# Metadata key: the id of the newest hub_commit event that the card includes.
READ_UP_TO = "newest_commit_event"


@dataclass(frozen=True)
class CardState:
    """`commits` were recorded since the last card, made or requested `minutes` ago (None for never)."""

    commits: int
    minutes: float | None
    running: bool = False


def refresh_reason(state: CardState, every_minutes: float) -> str | None:
    """Return why no card is due now, None if one is."""
    if not state.commits:
        return "no commit was recorded since the last card"
    if state.running:
        return f"{state.commits} commits since the last card; an update is queued or running"
    if state.minutes is not None and -1 <= state.minutes < every_minutes:  # below: the clock was set back
        wait = every_minutes - state.minutes
        return f"{state.commits} commits since the last card; the next update is in {wait:.0f} minutes"
    return None


def card_state(instance: dg.DagsterInstance, requested: float | None = None, now: float | None = None) -> CardState:
    """Read the state by three queries. `requested`: when a card was last requested, in Unix seconds."""
    event = instance.get_latest_materialization_event(CARD)
    card = event.asset_materialization if event else None
    read = card.metadata.get(READ_UP_TO) if card else None
    read_up_to = int(str(read.value)) if read else 0
    commits = sum(event > read_up_to for event in latest_ids(instance).values())
    times = [time for time in (requested, event.timestamp if event else None) if time is not None]
    now = time.time() if now is None else now
    minutes = (now - max(times)) / 60 if times else None
    running = instance.get_runs_count(dg.RunsFilter(job_name=CARD_JOB, statuses=NOT_FINISHED_STATUSES)) > 0
    return CardState(commits, minutes, running)


@dg.sensor(
    job_name=CARD_JOB,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Requests an update of the dataset card after commits, at most every half hour.",
)
def stale_card(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    now = time.time()
    requested = float(context.cursor) if context.cursor else None
    reason = refresh_reason(card_state(context.instance, requested, now), EVERY_MINUTES)
    if reason is not None:
        return dg.SkipReason(reason)
    return dg.SensorResult([dg.RunRequest()], cursor=f"{now:.0f}")
