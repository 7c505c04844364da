"""`r2-hf status`: the progress of each language."""

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from r2_hf_assets.cli.output import json_option, language_option, print_status
from r2_hf_assets.errors import SettingsError
from r2_hf_assets.plural import plural

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from r2_hf_assets.runs.progress import LanguageProgress

_COLUMNS = ("language", "planned", "episodes", "built", "committed", "failed", "due", "hours", "next")


@click.command()
@language_option
@json_option
@click.option(
    "--prometheus",
    metavar="[FILE]",
    is_flag=False,
    flag_value="-",
    help="Metrics in Prometheus' text format, on stdout or atomically to FILE.prom.",
)
def status(language: tuple[str, ...], as_json: bool, prometheus: str | None) -> None:
    """Show the progress of each language.

    In chunks: planned, built, committed, failed (of the due ones), due; then the hours of audio committed, and the next
    partition. Hours are - where no run recorded them. Chunks of languages that LANGUAGES leaves out are counted
    separately. The last line is the pace of the latest commits, and the time left. All of it is from the plan and the
    history; reconcile compares them with the Hub.

    \b
      r2-hf status
      r2-hf status --language en,de
      r2-hf status --json | jq '.total.due'
      r2-hf status --prometheus /var/lib/prometheus/node-exporter/r2_hf.prom
    """
    from r2_hf_assets.settings import load_for_scan

    settings = load_for_scan()
    with _without_collections():
        from tabulate import tabulate  # type: ignore[import-untyped]

        from r2_hf_assets.cli.in_process import open_instance
        from r2_hf_assets.plan.store import open_plan
        from r2_hf_assets.runs.history import unplanned_chunks
        from r2_hf_assets.runs.progress import read_progress

        if prometheus:
            from r2_hf_assets.runs.metrics import metrics

        with open_instance() as instance:
            plan = open_plan(settings.plan, settings.r2)
            planned = plan.planned()
            lost = unplanned_chunks(instance, plan) if not planned else []
            chunks = [chunk for chunk in planned if not language or chunk.language in language]
            progress = read_progress(instance, chunks, settings.plan.languages, settings.dataset)
            if prometheus:
                _write_metrics(metrics(instance, progress), prometheus)
                return
    if as_json:
        click.echo(json.dumps(asdict(progress), indent=1))
        return
    if progress.left_out:
        counts = ", ".join(f"{language} {count}" for language, count in progress.left_out.items())
        left_out = plural(sum(progress.left_out.values()), "planned chunk")
        print_status(f"LANGUAGES leaves out {left_out}: {counts}")
    if lost:
        print_status(
            f"nothing is planned in {settings.plan.state_url} (STATE_URL), and this history has "
            f"{plural(len(lost), 'chunk')} of a plan: correct STATE_URL, or bring the plan back by r2-hf restore"
        )
    elif not progress.languages:
        where = f" of {', '.join(language)}" if language else ""
        print_status("nothing else is planned" if progress.left_out else f"nothing{where} is planned; run r2-hf scan")
    if not progress.languages:
        return
    rows = [[_cell(row, name) for name in _COLUMNS] for row in (*progress.languages, progress.total)]
    click.echo(tabulate(rows, _COLUMNS, tablefmt="plain", floatfmt=".2f", missingval="-"))
    if progress.total.hours_unknown:
        counted = plural(progress.total.hours_unknown, "committed chunk")
        print_status(f"the hours of {counted} are unknown: no run of this history built them")
    if (pace := progress.pace) and progress.total.due:
        print_status(
            f"{plural(pace.chunks, 'chunk')} in the last {_time(pace.hours_measured)}, {pace.episodes_per_hour:,.0f} "
            f"episodes an hour; at this pace the rest takes {_time(pace.hours_left)}"
        )


def _write_metrics(registry: "CollectorRegistry", target: str) -> None:
    """Write the metrics to the file `target` by a rename, or to stdout for "-"."""
    from prometheus_client import generate_latest, write_to_textfile

    if target == "-":
        click.echo(generate_latest(registry), nl=False)
        return
    if not target.endswith(".prom"):
        raise SettingsError(f"--prometheus {target}: the textfile collector reads files that end in .prom")
    try:
        write_to_textfile(target, registry)
    except OSError as error:
        raise SettingsError(f"--prometheus {target} can't be written: {error.strerror}") from None


def _cell(row: "LanguageProgress", name: str) -> Any:
    """Return a value of the table, None for one that is unknown."""
    value = getattr(row, name)
    return None if name == "hours" and not value and row.hours_unknown else value


@contextmanager
def _without_collections() -> Iterator[None]:
    """Disable the garbage collector, which takes a quarter of the CPU time and finds little: Dagster's objects stay."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # else the next collection traverses them
        gc.enable()


def _time(hours: float) -> str:
    """Format as 40 s, 3 min, 1.5 h or 4.2 days."""
    if hours < 1:
        return f"{hours * 60:.0f} min" if hours >= 1 / 60 else f"{hours * 3600:.0f} s"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"
