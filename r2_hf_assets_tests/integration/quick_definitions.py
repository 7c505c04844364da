"""The project's definitions, with heartbeats every half second and two evaluations to find a lost run."""

from dagster import SensorDefinition

from r2_hf_assets.definitions import defs
from r2_hf_assets.runs import heartbeat as run_heartbeat
from r2_hf_assets.sensors import lost_runs

run_heartbeat.HEARTBEAT_SECONDS = 0.5
lost_runs.MAX_UNCHANGED = 2

for sensor in defs.sensors or ():
    if sensor.name == "lost_runs":
        assert isinstance(sensor, SensorDefinition)
        sensor._min_interval = 1
