"""The product's definitions as a site's processes load them: with points to be killed at, and quick signs of life."""

import os
from pathlib import Path

from dagster import SensorDefinition

from r2_hf_assets.definitions import defs
from r2_hf_assets.runs import heartbeat as run_heartbeat
from r2_hf_assets.sensors import lost_runs
from r2_hf_assets_tests.soak import points
from r2_hf_assets_tests.soak.victims import MARK

# A beat a second and two looks, which the daemon makes every five seconds at the most.
run_heartbeat.HEARTBEAT_SECONDS = 1.0
lost_runs.MAX_UNCHANGED = 2
for sensor in defs.sensors or ():
    if isinstance(sensor, SensorDefinition) and sensor.name == "lost_runs":
        sensor._min_interval = 1

if MARK in os.environ:
    points.install(Path(os.environ[MARK]))
