"""`r2-hf doctor`: prints the findings of preflight/."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import click

from r2_hf_assets.cli.output import json_option, print_status
from r2_hf_assets.plural import plural

_COLOURS = {"ok": "green", "warn": "yellow", "FAIL": "red"}


@click.command()
@json_option
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Check settings, bucket, Hub and DAGSTER_HOME.

    Also .env, the database, STATE_URL, an episode in the bucket, the token's rights and the repo. It takes up to 15
    seconds. What to do follows the arrow. Nothing is changed, but for an empty object that is created in STATE_URL and
    removed.

    \b
      r2-hf doctor
      r2-hf doctor --json | jq '.findings[] | select(.level != "ok")'

    \b
    ok    as it should be
    warn  works, or is unknown; read it
    FAIL  the job will not work; then the exit code is 1
    """
    from r2_hf_assets.preflight.collect import collect_findings

    findings = collect_findings(os.environ, Path(".env"))
    failed, warned = (sum(finding.level == level for finding in findings) for level in ("FAIL", "warn"))
    if as_json:
        rows = [asdict(finding) for finding in findings]
        click.echo(json.dumps({"findings": rows, "failed": failed, "warned": warned}, indent=1))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            level = click.style(f"{finding.level:4}", fg=_COLOURS[finding.level])
            advice = f" -> {finding.advice}" if finding.advice else ""
            click.echo(f"{level}  {finding.name:{width}}  {finding.seen}{advice}")
    print_status(f"{len(findings) - failed - warned} ok, {plural(warned, 'warning')}, {failed} failed")
    if failed:
        context.exit(1)
