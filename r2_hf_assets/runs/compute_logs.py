"""stdout and stderr of the steps of `r2-hf`: stored for the UI, and not copied to the terminal.

Dagster's own manager copies them by a `tail` and a Python process that watches it, for each step two of both. Ctrl-C in
a terminal reaches these processes too, which print tracebacks. The commands write their lines to the terminal
themselves, so here nothing is copied. A manager that dagster.yaml names stays.
"""

import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dagster import DagsterInstance

from r2_hf_assets.dagster_internals import (
    CapturedLogContext,
    ConfigurableClassData,
    InstanceRef,
    LocalComputeLogManager,
    redirect_to_file,
)


class FileComputeLogManager(LocalComputeLogManager):
    """Writes the files of its base class, from which the UI reads."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "FileComputeLogManager":
        return cls(inst_data=inst_data, **config_value)  # the base class makes one of its own

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext, None, None]:
        with ExitStack() as stack:
            for stream, extension in ((sys.stdout, "out"), (sys.stderr, "err")):
                path = Path(self.get_captured_local_path(log_key, extension))
                path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(redirect_to_file(stream, str(path)))
            yield CapturedLogContext(log_key)
        Path(self.complete_artifact_path(log_key)).touch()  # type: ignore[no-untyped-call]


def open_without_copies(home: Path) -> DagsterInstance:
    """Open the instance in DAGSTER_HOME with this manager in place of Dagster's default."""
    ref = InstanceRef.from_dir(str(home))
    logs = ref.compute_logs_data
    if logs.class_name == LocalComputeLogManager.__name__:
        here = logs._replace(module_name=__name__, class_name=FileComputeLogManager.__name__)
        ref = ref._replace(compute_logs_data=here)
    return DagsterInstance.from_ref(ref)
