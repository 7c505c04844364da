"""`r2-hf import`: takes over the dataset that the replaced script began."""

from pathlib import Path

import click

from r2_hf_assets.cli.output import print_status

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("import")
@click.option("--work-plan", type=_FILE, required=True, metavar="FILE", help="The script's work_plan.json.")
@click.option("--progress", type=_FILE, multiple=True, metavar="FILE", help="Its progress.log; once for each machine.")
@click.option(
    "--episodes-per-chunk",
    type=click.IntRange(1),
    metavar="N",
    help="EPISODES_PER_CHUNK as it was when the script ran; without, as it is now.",
)
@click.option("--dry-run", is_flag=True, help="Check and report; write nothing.")
@click.option(
    "--rebuild-incomplete",
    is_flag=True,
    help="Leave finished chunks that lack segments due, so that the next run replaces them with whole ones.",
)
def adopt(
    work_plan: Path,
    progress: tuple[Path, ...],
    episodes_per_chunk: int | None,
    dry_run: bool,
    rebuild_incomplete: bool,
) -> None:
    """Go on with a dataset that the script began.

    Its chunks become ours, with their members, order and numbers. Those on the Hub are recorded as done after a check:
    all parts there, readable, the dataset's columns, every row of the chunk's episodes and none twice. The script
    dropped whole episodes for one missing file, so each line names how many segments a chunk lacks. Such a chunk is
    recorded all the same when progress.log names it. Files stay where they are, but for languages that have another
    name here: data/fra/ is renamed to data/fr/ on the Hub. Importing twice changes nothing.

    \b
      r2-hf import --work-plan work_plan.json --progress progress.log --dry-run
      r2-hf import --work-plan work_plan.json --progress progress.log
      r2-hf process
    """
    from r2_hf_assets.settings import load

    settings = load()
    from r2_hf_assets.asset_keys import COMMIT
    from r2_hf_assets.cli.in_process import open_instance
    from r2_hf_assets.errors import AccessError
    from r2_hf_assets.hub.client import HubClient
    from r2_hf_assets.hub.commit import check_owner, rename_files
    from r2_hf_assets.hub.reads import take_inventory
    from r2_hf_assets.partitions import add_partitions, partition_key
    from r2_hf_assets.plan.store import open_plan
    from r2_hf_assets.reconcile import adopt as script
    from r2_hf_assets.reconcile.report import Due, Recovered
    from r2_hf_assets.runs.history import recorded_digests
    from r2_hf_assets.runs.recovered import record, record_due

    size, plan = episodes_per_chunk or settings.plan.episodes_per_chunk, open_plan(settings.plan, settings.r2)
    listed = script.read_work_plan(work_plan.read_bytes(), plan.prefix)
    logs = (log.read_text(errors="replace") for log in progress)
    finished = {name for log in logs for name in script.read_progress(log, listed, size)}
    client, repo = HubClient(settings.hub, print_status), settings.hub.repo_id
    hub = take_inventory(client)
    if hub.revision is None:
        raise AccessError(f"there is no {repo} on the Hub, or HF_TOKEN may not see it; check HF_REPO_ID")
    check_owner(client, hub.revision, plan.find_id())
    chunks = script.adopt_chunks(listed, finished, size, plan, settings.plan.languages, hub)
    new = [item.chunk for item in chunks if not item.planned]
    with open_instance() as instance:
        emit = instance.report_runless_asset_event
        recorded = recorded_digests(instance, COMMIT, settings.dataset)
        due = [item for item in chunks if recorded.get(item.chunk.name) != item.chunk.digest]
        to_check = [item for item in due if item.files or item.finished]
        if episodes_per_chunk is None:
            script.refuse_other_size(settings, hub.revision, to_check, print_status)
        if not dry_run:
            plan.check_identity()
            # Before the plan: a chunk that is planned may be built, and its rows would then be double.
            rename_files(client, [item.renames for item in chunks if item.renames])
            script.append_chunks(plan, new)
            add_partitions(instance, (item.chunk.number for item in chunks))
        done, lost, left = 0, 0, list[Due]()
        # At this revision the files still have their old names.
        for item, found in script.check_chunks(settings, hub.revision, to_check, print_status):
            accepted = not found.problem and (not found.lost or (item.finished and not rebuild_incomplete))
            if accepted:
                done, lost = done + 1, lost + len(found.lost)
                if not dry_run:  # at once: checking many takes long, and goes on where it was stopped
                    how = f"footers and keys of the script's files: {found.summary}"
                    record(instance, [Recovered(item.chunk.ref, found.files, how)], hub.revision, repo, "import", emit)
            else:
                left.append(item.as_due(found.summary))
            renamed = f", from data/{item.folder}/" if item.renames else ""
            outcome = "recorded" if accepted else "left due"
            click.echo(f"{partition_key(*item.chunk.name)}: {outcome}: {found.summary}{renamed}")
            print_status(f"checked {done + len(left)} of {len(to_check)} chunks on the Hub")
        if not dry_run:
            record_due(instance, left, repo, "import")
    if lost:
        print_status(
            f"recorded chunks lack {lost:,} segments whose audio exists: --rebuild-incomplete leaves such chunks due, "
            "r2-hf process --partition builds a recorded one anew"
        )
    counts = f"{len(new)} chunks planned, {done} recorded as done, {len(left)} checked ones left due"
    print_status(f"would be: {counts}" if dry_run else counts)
