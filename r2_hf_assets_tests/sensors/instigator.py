"""A sensor or schedule that is on, with the ticks that a test gives it."""

import time

from dagster import DagsterInstance
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster_shared.error import SerializableErrorInfo

from r2_hf_assets_tests.sensors.ticks import HERE


def tick_error(text: str, message: str = "") -> SerializableErrorInfo:
    """Return the error of a tick whose function raised SettingsError(text), or an error with this message."""
    cause = SerializableErrorInfo(message or f"r2_hf_assets.errors.SettingsError: {text}\n", [], "SettingsError")
    return SerializableErrorInfo("dagster.SensorExecutionError: Error in sensor", [], "SensorExecutionError", cause)


class Instigator:
    """Its state is stored as the UI's switch does it, and its ticks as the daemon does."""

    def __init__(
        self,
        instance: DagsterInstance,
        name: str,
        kind: InstigatorType = InstigatorType.SENSOR,
        location: GrpcServerCodeLocationOrigin = HERE,
    ) -> None:
        self.instance, self.name, self.kind = instance, name, kind
        self.origin = RemoteRepositoryOrigin(location, "__repository__").get_instigator_origin(name)
        schedule = kind is InstigatorType.SCHEDULE
        data = ScheduleInstigatorData("0 0 * * *") if schedule else SensorInstigatorData(min_interval=30)
        self.state = InstigatorState(self.origin, kind, InstigatorStatus.RUNNING, data)
        instance.add_instigator_state(self.state)

    def tick(self, error: str | None = None, at: float | None = None) -> None:
        data = TickData(
            self.origin.get_id(),
            self.name,
            self.kind,
            TickStatus.FAILURE if error else TickStatus.SKIPPED,
            time.time() if at is None else at,
            error=tick_error(error) if error else None,
            selector_id=self.state.selector_id,
        )
        self.instance.create_tick(data)
