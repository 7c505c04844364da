"""The project's definitions, with planned_chunks and alerts evaluated every second."""

from dagster import SensorDefinition

from r2_hf_assets.definitions import defs

for sensor in defs.sensors or ():
    assert isinstance(sensor, SensorDefinition)
    if sensor.name in ("alerts", "planned_chunks"):
        sensor._min_interval = 1
