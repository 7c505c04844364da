"""`r2-hf status`: how far each language is."""

import json
from dataclasses import asdict

import click

from r2_hf_assets.cli.talk import json_option, say, show_table


@click.command()
@json_option
def status(as_json: bool) -> None:
    """How far each language is.

    Read from the plan and the history; the bucket's episodes and the Hub are not asked (reconcile asks the Hub).

    \b
      r2-hf status
      r2-hf status --json
    """
    from r2_hf_assets.settings import load

    settings = load(needs=["r2"])
    assert settings.r2 is not None
    from r2_hf_assets.assets.launch import open_instance
    from r2_hf_assets.assets.progress import progress
    from r2_hf_assets.plan.store import open_plan

    with open_instance() as instance:
        rows = [asdict(found) for found in progress(instance, open_plan(settings.plan, settings.r2).planned())]
    if as_json:
        click.echo(json.dumps({"languages": rows}, indent=1))
        return
    if not rows:
        say("nothing is planned; r2-hf scan plans")
    show_table(rows)
