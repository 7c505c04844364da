"""`r2-hf release`: gives the dataset's head a name that papers can cite; `r2-hf releases`: lists them."""

import json
from dataclasses import asdict
from datetime import UTC, datetime

import click

from r2_hf_assets.cli.output import json_option, load_settings, print_status
from r2_hf_assets.plural import plural


@click.command()
@click.argument("tag")
@click.option("--note", default="", help="One line for the changelog on the card.")
@click.option("--anyway", is_flag=True, help="Also while chunks are due, or plan, history and Hub differ.")
def release(tag: str, note: str, anyway: bool) -> None:
    """Release the dataset: add a changelog entry to the card, and tag that commit.

    It refuses while chunks are due, or reconcile finds differences. The entry has the figures, and what was added and
    removed since the last release. Removals are counted, and nothing removed is named. An interrupted release is
    completed by the same command.

    \b
      r2-hf release v1.0 --note 'as in our paper'
      python -c 'import datasets; datasets.load_dataset("owner/name", revision="v1.0")'
    """
    settings = load_settings()
    from r2_hf_assets.cli.in_process import open_instance
    from r2_hf_assets.runs.release import release as make_release

    with open_instance() as instance:
        made = make_release(instance, settings, tag, note, datetime.now(UTC), anyway=anyway, log=print_status)
    one = made.release
    click.echo(f"{one.tag} {made.revision}")
    line = f"released {plural(one.rows, 'segment')}, {one.hours:,.2f} hours"
    if one.changes is not None:
        line += f"; since {one.since}: {one.changes.added_rows:,} added, {one.changes.removed_rows:,} removed"
    print_status(line)


@click.command()
@json_option
def releases(as_json: bool) -> None:
    """List the releases, newest first: tag, date, revision, segments, hours, note.

    \b
      r2-hf releases
      r2-hf releases --json | jq -r '.[0].tag'
    """
    settings = load_settings()
    from tabulate import tabulate  # type: ignore[import-untyped]

    from r2_hf_assets.hub.client import HubClient
    from r2_hf_assets.hub.releases import list_releases

    found = list_releases(HubClient(settings.hub, print_status))
    if as_json:
        click.echo(json.dumps([asdict(one.release) | {"revision": one.revision} for one in found], indent=1))
        return
    if not found:
        print_status(f"{settings.dataset} has no release")
        return
    columns = ("tag", "date", "revision", "rows", "hours", "note")
    rows = [
        (one.release.tag, one.release.date, one.revision, one.release.rows, one.release.hours, one.release.note)
        for one in found
    ]
    click.echo(tabulate(rows, columns, tablefmt="plain", floatfmt=".2f", disable_numparse=[0, 1, 2, 5]))
