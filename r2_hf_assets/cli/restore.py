"""`r2-hf restore`: restores the plan and the history from the dataset alone."""

import click

from r2_hf_assets.cli.output import load_settings, print_status
from r2_hf_assets.plural import plural


@click.command()
def restore() -> None:
    """Restore a lost plan and history from the dataset alone.

    For a machine with an empty STATE_URL; DAGSTER_HOME may be empty too. The indexes in the dataset name every
    committed chunk and its episodes. They are planned again with the same numbers, and those whose files are on the Hub
    are recorded as done. Chunks that were planned and not committed are not in the dataset: the next scan plans their
    episodes anew.
    Stop whatever still runs with the lost plan first. An interrupted restore continues.

    \b
      r2-hf restore
      r2-hf scan
      r2-hf process
    """
    settings = load_settings()
    from r2_hf_assets.asset_keys import COMMIT
    from r2_hf_assets.cli.in_process import open_instance
    from r2_hf_assets.partitions import add_partitions, remember_languages
    from r2_hf_assets.plan.store import open_plan
    from r2_hf_assets.reconcile.restore import restore as restore_plan
    from r2_hf_assets.runs.history import recorded_digests, unplanned_chunks
    from r2_hf_assets.runs.runless_events import record_done, record_unplanned

    with open_instance() as instance:
        result = restore_plan(settings, print_status)
        recorded = recorded_digests(instance, COMMIT, settings.dataset)
        new = [item for item in result.recovered if recorded.get(item.chunk.name) != item.chunk.digest]
        add_partitions(instance, (chunk.number for chunk in result.chunks))
        record_done(instance, new, result.revision, settings.hub.repo_id, "restore")
        plan = open_plan(settings.plan, settings.r2)
        # Else a history that was not lost would refuse the next scan.
        record_unplanned(instance, unplanned_chunks(instance, plan))
        remember_languages(plan.planned())
    chunks = plural(len(result.chunks), "chunk")
    print_status(
        f"plan {result.plan_id}: {chunks} and {plural(result.amendments, 'amendment')} restored; {len(new)} recorded "
        f"as done, {len(result.chunks) - len(result.recovered)} due; next: r2-hf scan"
    )
    click.echo(f"{chunks} planned")
