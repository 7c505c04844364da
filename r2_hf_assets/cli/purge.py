"""`r2-hf purge`: makes what was removed from the dataset unrecoverable."""

import click

from r2_hf_assets.cli.output import format_size, load_settings, print_status
from r2_hf_assets.plural import plural


@click.command()
@click.option("--yes", "confirmed", metavar="OWNER/NAME", help="Do it. The name must be that of HF_REPO_ID.")
def purge(confirmed: str | None) -> None:
    """Say what a purge would delete; with --yes, make what was removed unrecoverable.

    A purge makes the history of main one commit, and deletes the stored files that no branch, tag or pull request has.
    It can't be undone. First come `r2-hf remove` and `r2-hf process`. A tag, branch or pull request that still holds
    what was removed is a line on stdout, with how to delete it; after that, purge again. An interrupted purge is
    completed by the next.

    \b
      r2-hf purge
      r2-hf purge --yes owner/name
    """
    settings = load_settings()
    repo_id = settings.hub.repo_id
    if confirmed not in (None, repo_id):
        raise click.UsageError(f"--yes {confirmed}: HF_REPO_ID is {repo_id}; nothing was done")
    from r2_hf_assets.amend.purge import purge as purge_dataset
    from r2_hf_assets.amend.purge import remedy
    from r2_hf_assets.asset_keys import COMMIT
    from r2_hf_assets.cli.in_process import open_instance, renew_card
    from r2_hf_assets.hub.client import HubClient
    from r2_hf_assets.plan.store import open_plan
    from r2_hf_assets.runs.claim import claim_of
    from r2_hf_assets.runs.history import recorded_digests
    from r2_hf_assets.shards.builds import open_builds

    with open_instance() as instance:
        plan, builds = open_plan(settings.plan, settings.r2), open_builds(settings.plan, settings.r2)
        recorded = recorded_digests(instance, COMMIT, settings.dataset)
        dry_run = confirmed is None
        result = purge_dataset(settings, claim_of(instance, plan, builds), recorded, dry_run=dry_run, log=print_status)
        repo = HubClient(settings.hub)
        for one in result.holders:
            size = format_size(sum(file.size for file in one.files))
            what = f"{one.ref.kind.replace('_', ' ')} {one.ref.name}: {plural(len(one.files), 'file')}, {size}"
            click.echo(f"{what}, that may hold what was removed: {remedy(one.ref, repo)}")
        if not dry_run and (error := renew_card(instance)):
            print_status(f"the card still names a revision that is gone: {error}")
    print_status(
        f"{'would be purged' if dry_run else 'purged'}: {plural(result.revisions, 'old revision')} of main, and "
        f"{plural(len(result.files), 'unreferenced file')} ({format_size(sum(file.size for file in result.files))})"
        + (f": r2-hf purge --yes {repo_id}" if dry_run else "")
    )
    if result.young:
        print_status(f"{plural(result.young, 'unreferenced file')} left for a day, as a build may be under way")
    if result.holders:
        refs = plural(len(result.holders), "ref")
        print_status(f"{refs} that may hold what was removed: delete as shown above, then r2-hf purge again")
