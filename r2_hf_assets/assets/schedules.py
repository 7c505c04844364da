"""Schedules, off until someone turns them on: a scan every six hours, a look at the whole dataset every night.

`scan_schedule` is for who would rather have a fixed time than the sensor new_episodes: it holds back remainders as that
does (`automatic: true`), and the two get along. The times are UTC.
"""

from dagster import RunConfig, ScheduleDefinition

from r2_hf_assets.assets.jobs import check_job, scan_job
from r2_hf_assets.assets.work_plan import ScanConfig

scan_schedule = ScheduleDefinition(
    "scan_schedule",
    job=scan_job,
    cron_schedule="17 */6 * * *",
    run_config=RunConfig({"work_plan": ScanConfig(automatic=True)}),
    description="Plans what is new, every six hours. A remainder waits to fill a chunk, PLAN_MAX_WAIT_HOURS at most.",
)

check_schedule = ScheduleDefinition(
    "check_schedule",
    job=check_job,
    cron_schedule="43 3 * * *",
    description="Compares plan, history and Hub every night: the check whole_dataset.",
)
