"""The latest ticks of the sensors and schedules that are on.

A state without a name that is asked for is left out: the database keeps that of a sensor that an earlier release had.
"""

from collections.abc import Collection, Iterator, Sequence

import dagster as dg

from r2_hf_assets.dagster_internals import InstigatorState, InstigatorTick, InstigatorType, TickStatus

# For processes that do not load the definitions.
SENSORS = ("alerts", "lost_runs", "new_episodes", "planned_chunks", "stale_card")
_FINISHED = [TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE]


def latest_ticks(
    instance: dg.DagsterInstance, names: Collection[str], limit: int
) -> Iterator[tuple[InstigatorState, Sequence[InstigatorTick]]]:
    """Yield each running sensor or schedule of these names with its last finished ticks, newest first."""
    for state in instance.all_instigator_state():
        if (
            state.is_running
            and state.instigator_name in names
            and state.instigator_type is not InstigatorType.AUTO_MATERIALIZE
        ):
            yield (
                state,
                instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=limit, statuses=_FINISHED),
            )
