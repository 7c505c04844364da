"""`alerts`: tells by e-mail and Slack what needs a person (runs/problems.py), and which chunks are given up.

A tick compares the present problems with those that were told, which the cursor has for each way. New ones go into one
message, a line each, with the reason and a link. A problem that is over is dropped, and told again if it returns. A
message that is not delivered is sent again at the next tick, that way alone. Only a tick that dies between a delivery
and its end repeats a message.

A chunk is given up when `planned_chunks` requests it no more: both read the same history.
"""

import json
from collections.abc import Mapping, Sequence

import dagster as dg

from r2_hf_assets.errors import R2HfError
from r2_hf_assets.partitions import partition_key
from r2_hf_assets.resources import SettingsResource
from r2_hf_assets.retry import RUN_ATTEMPTS
from r2_hf_assets.runs.notify import Line, Send, senders
from r2_hf_assets.runs.problems import Observation, Problem, observe_assets, observe_checks, observe_ticks
from r2_hf_assets.sensors.planned_chunks import active_partitions, read_due
from r2_hf_assets.settings import Settings

TICK_EVERY_S = 60
_MAX_LINES = 20
_MAX_SUBJECT = 120
_CHUNK = "chunk "
_NOWHERE = "alerts go nowhere: set ALERT_EMAIL_TO and ALERT_SMTP_URL, or ALERT_SLACK_CHANNEL and ALERT_SLACK_TOKEN"

# The keys of the told problems, by way.
Told = Mapping[str, Sequence[str]]


@dg.sensor(minimum_interval_seconds=TICK_EVERY_S, default_status=dg.DefaultSensorStatus.RUNNING)
def alerts(context: dg.SensorEvaluationContext, settings: SettingsResource) -> dg.SensorResult:
    """Tells by e-mail and Slack what needs a person, each problem once. Starts no run."""
    configured = settings.load_alerts()
    ways = senders(configured)
    if not ways:
        return dg.SensorResult(skip_reason=_NOWHERE, cursor=context.cursor)
    told: Told = json.loads(context.cursor or "{}")
    sender = settings.environ.get("HF_REPO_ID", "r2_hf_assets")
    now, status = tell(ways, observe(context, settings, told), told, sender, configured.ui_url)
    return dg.SensorResult(skip_reason=status, cursor=json.dumps(now))


def observe(context: dg.SensorEvaluationContext, settings: SettingsResource, told: Told) -> Observation:
    """Return the present problems; those of chunks are undecided while plan or settings can't be read."""
    instance, repository, here = context.instance, context.repository_def, context.code_location_origin
    assert repository is not None and here is not None, "set by the code server"
    names = {*(one.name for one in repository.sensor_defs), *(one.name for one in repository.schedule_defs)}
    seen = Observation()
    observe_assets(seen, instance)
    observe_checks(seen, instance, repository.asset_graph.asset_check_keys)
    observe_ticks(seen, instance, here.location_name, names - {context.sensor_name})
    try:
        observe_chunks(seen, instance, settings.load())
    except R2HfError as error:  # planned_chunks meets it too, and its failing ticks are a problem
        context.log.warning(f"which chunks are given up is unknown: {error}")
        seen.undecided |= {key for keys in told.values() for key in keys if key.startswith(_CHUNK)}
    return seen


def observe_chunks(seen: Observation, instance: dg.DagsterInstance, settings: Settings) -> None:
    """Add the chunks that planned_chunks requests no more because all attempts failed."""
    busy = active_partitions(instance)
    seen.undecided |= {f"{_CHUNK}{partition_key(*name)}" for name in busy}
    due, _, histories = read_due(instance, settings)
    for name in (chunk.name for chunk in due if chunk.name not in busy):
        if (history := histories.get(name)) and history.exhausted:
            key = partition_key(*name)
            what = f"{key} failed {RUN_ATTEMPTS} times and is given up"
            seen.add_failed_run(instance, f"{_CHUNK}{key}", what, history.run_id)


def tell(
    ways: Mapping[str, Send], seen: Observation, told: Told, sender: str, ui_url: str
) -> tuple[dict[str, list[str]], str]:
    """Send the new problems by each way; return what is told now, and the tick's status."""
    now: dict[str, list[str]] = {}
    parts = [f"problems: {len(seen.problems)}"]
    for way, send in ways.items():
        known = set(told.get(way, ()))
        new = [problem for key, problem in seen.problems.items() if key not in known]
        result = f"{len(new)} told now"
        if new:
            try:
                send(*message(new, sender, ui_url))
            except Exception as error:  # of any kind: the cursor must keep what the other way delivered
                new, result = [], f"NOT DELIVERED, again at the next tick: {error}"
        parts.append(f"{way}: {result}")
        now[way] = sorted(known & {*seen.problems, *seen.undecided} | {problem.key for problem in new})
    return now, "; ".join(parts)


def message(new: Sequence[Problem], sender: str, ui_url: str) -> tuple[str, list[Line]]:
    """Return the subject and the lines of a message."""
    subject = new[0].text if len(new) == 1 else f"{len(new)} problems"
    lines = [Line(problem.text, f"{ui_url}/{problem.page}") for problem in new[:_MAX_LINES]]
    if len(new) > _MAX_LINES:
        lines.append(Line(f"and {len(new) - _MAX_LINES} more", f"{ui_url}/runs?q[]=status:FAILURE"))
    return f"{sender}: {subject}"[:_MAX_SUBJECT], lines
