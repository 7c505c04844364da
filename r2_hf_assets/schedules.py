"""Schedules, off by default, in UTC: a scan every six hours, a check of the whole dataset every night, and a refresh
every week.

`scan_schedule` plans like the sensor new_episodes: it holds back remainders (`automatic: true`).
"""

import dagster as dg

from r2_hf_assets.assets.work_plan import ScanConfig
from r2_hf_assets.jobs import check_job, refresh_job, scan_job

scan_schedule = dg.ScheduleDefinition(
    "scan_schedule",
    job=scan_job,
    cron_schedule="17 */6 * * *",
    run_config=dg.RunConfig({"work_plan": ScanConfig(automatic=True)}),
    description="Plans new episodes every six hours. A remainder waits to fill a chunk, PLAN_MAX_WAIT_HOURS at most.",
)

check_schedule = dg.ScheduleDefinition(
    "check_schedule",
    job=check_job,
    cron_schedule="43 3 * * *",
    description="Compares plan, history and Hub every night: the check whole_dataset.",
)

refresh_schedule = dg.ScheduleDefinition(
    "refresh_schedule",
    job=refresh_job,
    cron_schedule="7 1 * * 6",
    description="Finds every Saturday what changed in the bucket since it was built; its chunks are due again.",
)
