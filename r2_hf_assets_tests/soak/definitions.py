"""The product's definitions as a site's processes load them: with kill points and quick heartbeats."""

import os
from pathlib import Path

from dagster import SensorDefinition

from r2_hf_assets.definitions import defs
from r2_hf_assets.runs import heartbeat as run_heartbeat
from r2_hf_assets.sensors import lost_runs
from r2_hf_assets_tests.soak import kill_points
from r2_hf_assets_tests.soak.targets import MARK

# The daemon evaluates sensors every five seconds at the most.
run_heartbeat.HEARTBEAT_SECONDS = 1.0
lost_runs.LOOKS = 2
for sensor in defs.sensors or ():
    if isinstance(sensor, SensorDefinition) and sensor.name == "lost_runs":
        sensor._min_interval = 1

if MARK in os.environ:
    kill_points.install(Path(os.environ[MARK]))
