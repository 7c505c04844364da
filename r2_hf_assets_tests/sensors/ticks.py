"""Evaluates sensors as the daemon does, and creates the runs that planned_chunks reads."""

import time
from datetime import UTC, datetime
from typing import Any

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    RunRequest,
    SensorDefinition,
    SensorResult,
    SkipReason,
    build_sensor_context,
)
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster._core.storage.tags import SENSOR_NAME_TAG
from dagster._core.test_utils import create_run_for_test

from r2_hf_assets.definitions import defs
from r2_hf_assets.resources import SettingsResource
from r2_hf_assets.runs.outcome import ATTEMPT_TAG, DIGEST_TAG
from r2_hf_assets.sensors.planned_chunks import planned_chunks

HERE = GrpcServerCodeLocationOrigin(host="127.0.0.1", port=1, location_name="r2_hf_assets")
# Planned by the fixture `ticks`.
KEYS = ["de|chunk_0000", "en|chunk_0000", "en|chunk_0001", "en|chunk_0002"]
LONG_AGO = time.time() - 30 * 86400


class Ticks:
    """Evaluates a sensor, tick after tick."""

    def __init__(self, sensor: SensorDefinition, instance: DagsterInstance) -> None:
        self.sensor, self.instance = sensor, instance
        self.cursor: str | None = None

    def __call__(self) -> SensorResult:
        resources, name = {"settings": SettingsResource()}, self.sensor.name
        context = build_sensor_context(
            self.instance, self.cursor, definitions=defs, sensor_name=name, resources=resources
        )
        context._code_location_origin = HERE  # set by the code server
        result = self.sensor(context)
        assert isinstance(result, SensorResult)
        self.cursor = result.cursor
        return result

    def requests(self) -> list[RunRequest]:
        return list(self().run_requests or ())

    def skip_message(self, times: int = 1) -> str:
        """Return the last skip reason of so many ticks."""
        message = None
        for _ in range(times):
            result = self()
            assert not result.run_requests and isinstance(result.skip_reason, SkipReason)
            message = result.skip_reason.skip_message
        return message or ""


class PlannedTicks(Ticks):
    """Evaluates planned_chunks and creates runs."""

    def __init__(self, instance: DagsterInstance) -> None:
        super().__init__(planned_chunks, instance)
        self.digests: dict[str, str] = {}

    def requested(self) -> list[str]:
        return [str(request.partition_key) for request in self.requests()]

    def run(self, key: str, status: DagsterRunStatus, ended: float = LONG_AGO, **tags: str) -> str:
        """Create a run of this partition; a finished one ended at `ended`."""
        run = create_run_for_test(self.instance, "build_job", status=status, tags={"dagster/partition": key, **tags})
        if run.is_finished:
            self._end(run.run_id, ended)
        return run.run_id

    def attempt(self, key: str, number: int, status: DagsterRunStatus, ended: float = LONG_AGO, **tags: str) -> str:
        """Create a run as the sensor requests it."""
        sensor_tags = {SENSOR_NAME_TAG: "planned_chunks", ATTEMPT_TAG: str(number), DIGEST_TAG: self.digests[key]}
        return self.run(key, status, ended, **{**sensor_tags, **tags})

    def _end(self, run_id: str, ended: float) -> None:
        from dagster._core.storage.runs.schema import RunsTable

        storage: Any = self.instance.run_storage
        with storage.connect() as connection:
            connection.execute(
                RunsTable.update()
                .where(RunsTable.c.run_id == run_id)
                .values(end_time=ended, update_timestamp=datetime.fromtimestamp(ended, UTC).replace(tzinfo=None))
            )
