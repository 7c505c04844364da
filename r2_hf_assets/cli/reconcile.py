"""`r2-hf reconcile`: plan, history and Hub compared; what is verifiably there recorded on request."""

import json
import shlex

import click

from r2_hf_assets.cli.talk import json_option, say

# Keys in the command line that is printed; more go through --redo.
_KEYS_IN_A_COMMAND = 20


@click.command()
@click.option(
    "--record",
    "do_record",
    is_flag=True,
    help="Record as done what is verifiably on the Hub. What has no build record is read there, by ranges.",
)
@click.option("--redo", is_flag=True, help="Print only the partitions to process again, one a line.")
@json_option
def reconcile(do_record: bool, redo: bool, as_json: bool) -> None:
    """Compare plan, history and Hub.

    Every difference between the plan, the history and the Hub's head is a line on stdout. After a lost
    DAGSTER_HOME, --record makes the history good without building anything again. Nothing on the Hub is changed.
    Chunks that are recorded and are not on the Hub as they were built are only named, with the command that makes
    them again: the history says what was done, and that stays true.

    \b
      r2-hf reconcile
      r2-hf reconcile --record
      r2-hf reconcile --redo | r2-hf process --partition -

    The exit code is 0 whatever is found.
    """
    if sum((do_record, redo, as_json)) > 1 and redo:
        raise click.UsageError("--redo goes alone")
    from r2_hf_assets.settings import load

    settings = load()
    from r2_hf_assets.assets.launch import open_instance
    from r2_hf_assets.assets.partitions import partition_key
    from r2_hf_assets.assets.reconcile import as_plain, examine, line, summary
    from r2_hf_assets.reconcile.report import ADVICE, Kind

    with open_instance() as instance:
        emit = instance.report_runless_asset_event if do_record else None
        report = examine(instance, settings, emit=emit, log=say)
    recorded = len(report.recordable) if do_record else 0
    keys = [str(partition_key(*name)) for name in report.redo]
    if redo:
        for key in keys:
            click.echo(key)
        return
    if as_json:
        click.echo(json.dumps(as_plain(report, recorded), indent=1))
    else:
        for difference in report.differences:
            click.echo(line(difference))
    say(summary(report) + (f"; {recorded} recorded now" if do_record else ""))
    for kind in report.counts:
        if do_record and kind == Kind.UNRECORDED:
            continue  # they are by now
        say(f"{kind}: {ADVICE[Kind(kind)]}")
    if keys:
        named = " ".join(f"--partition {shlex.quote(key)}" for key in keys[:_KEYS_IN_A_COMMAND])
        more = len(keys) > _KEYS_IN_A_COMMAND
        say(
            "to make them again: "
            + ("r2-hf reconcile --redo | r2-hf process --partition -" if more else f"r2-hf process {named}")
        )
