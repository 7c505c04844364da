"""One computation of the due chunks, with its SQL queries counted."""

import time

from dagster import DagsterInstance
from sqlalchemy import event
from sqlalchemy.engine import Engine

from bench.jobs import report
from r2_hf_assets.cli.in_process import due_chunks


def main() -> None:
    queries: list[str] = []
    with DagsterInstance.get() as instance:
        instance.get_dynamic_partitions("plan_chunk")  # opens the databases, which queries their version
        event.listen(Engine, "before_cursor_execute", lambda _c, _k, statement, *_: queries.append(statement))
        started = time.monotonic()
        due = due_chunks(instance)
        report(seconds=time.monotonic() - started, queries=len(queries), due=len(due))


if __name__ == "__main__":
    main()
