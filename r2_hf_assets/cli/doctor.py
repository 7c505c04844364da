"""`r2-hf doctor`: looks at everything the job needs, side by side, and says what to do."""

import json
import os
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from r2_hf_assets.cli.talk import json_option, say

if TYPE_CHECKING:
    from r2_hf_assets.doctor.finding import Finding


@click.command()
@json_option
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Look whether the job has all it needs.

    Settings, .env, the bucket and an episode in it, STATE_URL, the plan, the Hub, the token's rights, the repo, the
    clock, disks, open files, versions, DAGSTER_HOME and its database. Everything is looked at whatever fails, within
    15 seconds, and what to do is said behind the arrow. Nothing is changed; in STATE_URL an empty object is made and
    removed.

    \b
      r2-hf doctor
      r2-hf doctor --json | jq '.findings[] | select(.level != "ok")'

    \b
    ok    as it should be
    warn  works, or can't be told; read it
    FAIL  the job will not work; then the exit code is 1
    """
    findings = _examine()
    failed, warned = (sum(finding.level == level for finding in findings) for level in ("FAIL", "warn"))
    if as_json:
        rows = [asdict(finding) for finding in findings]
        click.echo(json.dumps({"findings": rows, "failed": failed, "warned": warned}, indent=1))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            click.echo(_line(finding, width))
    say(f"{len(findings) - failed - warned} ok, {warned} to read, {failed} failed")
    if failed:
        context.exit(1)


def _line(finding: "Finding", width: int) -> str:
    advice = f" -> {finding.advice}" if finding.advice else ""
    colour = {"ok": "green", "warn": "yellow", "FAIL": "red"}[finding.level]
    return f"{click.style(f'{finding.level:4}', fg=colour)}  {finding.name:{width}}  {finding.seen}{advice}"


def _examine() -> "list[Finding]":
    from r2_hf_assets.assets.doctor import look_at_instance
    from r2_hf_assets.doctor.bucket import look_at_bucket
    from r2_hf_assets.doctor.configuration import look_at_settings, secrets_of
    from r2_hf_assets.doctor.finding import Check, examine, hide, warn
    from r2_hf_assets.doctor.hub import look_at_hub
    from r2_hf_assets.doctor.machine import look_at_disks, look_at_files, look_at_shell, look_at_versions
    from r2_hf_assets.doctor.stores import look_at_plan, look_at_state

    found, settings = look_at_settings(os.environ)
    r2, hub = settings.r2, settings.hub
    checks: dict[str, Check] = {
        "settings": lambda: found,
        ".env": partial(look_at_shell, os.environ, Path(".env")),
        "versions": look_at_versions,
        "open files": partial(look_at_files, r2.workers if r2 else 128),
        "disk": partial(look_at_disks, settings),
        "DAGSTER_HOME": partial(look_at_instance, settings.plan.languages),
        "STATE_URL": partial(look_at_state, settings.plan.state_url, r2),
    }
    if r2:
        checks |= {"bucket": partial(look_at_bucket, r2), "plan": partial(look_at_plan, settings.plan, r2)}
    else:
        checks["bucket"] = lambda: [warn("bucket", "not looked at: the settings of R2 are not complete")]
    if hub:
        checks["hub"] = partial(look_at_hub, hub)
    else:
        checks["hub"] = lambda: [warn("hub", "not looked at: HF_REPO_ID or HF_TOKEN is not set, or wrong")]
    return hide(examine(checks), secrets_of(os.environ))
