"""The project's definitions, with sensors that are evaluated every second and waits of seconds, not minutes."""

from dagster import SensorDefinition

from r2_hf_assets.definitions import defs
from r2_hf_assets.plan import dispatch
from r2_hf_assets.sensors import new_episodes

new_episodes.SWEEP_EVERY_S = 1.0
setattr(dispatch, "RUN_FIRST_WAIT_S", 1.0)  # noqa: B010

for sensor in defs.sensors or ():
    assert isinstance(sensor, SensorDefinition)
    if sensor.name in ("alerts", "new_episodes", "planned_chunks"):
        sensor._min_interval = 1
