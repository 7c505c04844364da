"""`r2-hf reconcile`: compares plan, history and Hub; records lost chunks as due, on request existing ones as done."""

import atexit
import gc
import json

import click

from r2_hf_assets.cli.output import json_option, load_settings, print_status

_MAX_KEYS = 20


@click.command()
@click.option("--record", "do_record", is_flag=True, help="Record as done what is verified to be on the Hub.")
@click.option("--write-index", is_flag=True, help="Write the index of chunks that were committed without one.")
@click.option("--dry-run", is_flag=True, help="Record nothing, not even lost chunks as due.")
@click.option("--rows", "all_rows", is_flag=True, help="Look at all rows too: repeated audio, rows without a plan.")
@json_option
def reconcile(do_record: bool, write_index: bool, dry_run: bool, all_rows: bool, as_json: bool) -> None:
    """Compare plan, history and Hub.

    Every difference between the plan, the history and the Hub's head is a line on stdout. Recorded chunks whose files
    on the Hub are not the committed ones are recorded as due, so that process and the sensor build them again. After a
    lost DAGSTER_HOME, --record restores the history without building anything again. When there is no such repo on the
    Hub, lost chunks are recorded as due only with --record. Nothing on the Hub is changed, except by --write-index:
    chunks that a release before 0.2 committed get their indexes, made from their files, many in one commit.

    --rows reads the index of every chunk on the Hub, which takes minutes for thousands of chunks.

    \b
      r2-hf reconcile
      r2-hf reconcile --record
      r2-hf reconcile --rows

    The exit code is 0 with and without differences.
    """
    if dry_run and (do_record or write_index):
        raise click.UsageError("--dry-run excludes --record and --write-index")
    settings = load_settings()
    from r2_hf_assets.cli.in_process import open_instance
    from r2_hf_assets.partitions import partition_key
    from r2_hf_assets.reconcile.report import ADVICE, Kind
    from r2_hf_assets.reconcile.whole import look_at_rows
    from r2_hf_assets.runs.reconcile import as_plain, examine, line, summary

    with open_instance() as instance:
        report = examine(
            instance,
            settings,
            mark_lost=not dry_run,
            record_found=do_record,
            write_index=write_index,
            log=print_status,
        )
    rows = None
    if all_rows:
        atexit.unregister(gc.freeze)  # duckdb would report all its objects as leaked
        rows = look_at_rows(settings, report.hub, print_status)
        report.add(rows.differences)
    recorded = len(report.recordable) if do_record else 0
    if as_json:
        plain = as_plain(report, recorded)
        click.echo(json.dumps(plain | {"rows": rows.numbers} if rows else plain, indent=1))
    else:
        for text in [*map(line, report.differences), *(rows.lines if rows else ())]:
            click.echo(text)
    if rows:
        print_status(rows.summary)
    print_status(summary(report) + (f"; {recorded} recorded now" if do_record else ""))
    marked_due = not dry_run and (report.revision is not None or do_record)
    for kind in report.counts:
        if (kind == Kind.UNRECORDED and do_record) or (kind == Kind.ABSENT and not marked_due):
            continue  # recorded now, or reported below
        print_status(f"{kind}: {ADVICE[Kind(kind)]}")
    if not report.lost:
        return
    if marked_due:
        outcome = "due again; r2-hf process builds them"
    elif report.revision is not None:
        outcome = "lost, and with --dry-run not recorded as due"
    else:
        outcome = f"there is no {settings.dataset} on the Hub, or no access to it; if it is gone, --record marks as due"
    keys = [partition_key(*due.name) for due in report.lost]
    more = f" and {len(keys) - _MAX_KEYS} more" if len(keys) > _MAX_KEYS else ""
    print_status(f"{outcome}: {', '.join(keys[:_MAX_KEYS])}{more}")
