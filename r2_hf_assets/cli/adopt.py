"""`r2-hf import`: imports the dataset of the replaced script."""

from pathlib import Path

import click

from r2_hf_assets.cli.output import load_settings, print_status
from r2_hf_assets.plural import plural

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("import")
@click.option("--work-plan", type=_FILE, required=True, metavar="FILE", help="The script's work_plan.json.")
@click.option("--progress", type=_FILE, multiple=True, metavar="FILE", help="Its progress.log; once for each machine.")
@click.option("--episodes-per-chunk", type=click.IntRange(1), metavar="N", help="The script's EPISODES_PER_CHUNK.")
@click.option("--dry-run", is_flag=True, help="Check and report; write nothing.")
@click.option("--rebuild-incomplete", is_flag=True, help="Leave finished chunks that lack segments due.")
def adopt(
    work_plan: Path, progress: tuple[Path, ...], episodes_per_chunk: int | None, dry_run: bool, rebuild_incomplete: bool
) -> None:
    """Continue the dataset of the script.

    Its chunks are planned with the same members, order and numbers. Those on the Hub are recorded as done after a
    check: all parts exist, are readable, have the dataset's columns, and have only rows of the chunk, each once.
    The script dropped whole episodes for one missing file, so each line names how many segments a chunk lacks.
    Such a chunk is still recorded when progress.log names it. Files keep their paths, except where a language has
    another code here: data/fra/ is renamed to data/fr/ on the Hub. Importing twice changes nothing.

    \b
      r2-hf import --work-plan work_plan.json --progress progress.log --dry-run
      r2-hf import --work-plan work_plan.json --progress progress.log
      r2-hf process
    """
    settings = load_settings()
    from r2_hf_assets.asset_keys import COMMIT
    from r2_hf_assets.cli.in_process import open_instance
    from r2_hf_assets.hub.client import HubClient
    from r2_hf_assets.hub.commit import rename_files
    from r2_hf_assets.hub.ownership import refuse_other_plan
    from r2_hf_assets.hub.reads import require_repo, take_inventory
    from r2_hf_assets.partitions import add_partitions, partition_key, remember_languages
    from r2_hf_assets.plan.store import open_plan
    from r2_hf_assets.reconcile import adopt as script
    from r2_hf_assets.reconcile.report import Due, Recovered
    from r2_hf_assets.runs.history import recorded_digests
    from r2_hf_assets.runs.runless_events import record_done, record_due

    size, plan = episodes_per_chunk or settings.plan.episodes_per_chunk, open_plan(settings.plan, settings.r2)
    episodes = script.read_work_plan(work_plan.read_bytes(), plan.prefix)
    logs = (log.read_text(errors="replace") for log in progress)
    finished = {name for log in logs for name in script.read_progress(log, episodes, size)}
    client, repo = HubClient(settings.hub, print_status), settings.hub.repo_id
    hub = take_inventory(client)
    head = require_repo(client, hub.revision)
    plan_id = plan.find_id()
    client.call_with_retry("read", lambda: refuse_other_plan(client, head, plan_id))
    chunks = script.adopt_chunks(episodes, finished, size, plan, settings.plan.languages, hub)
    new = [item.chunk for item in chunks if not item.planned]
    with open_instance() as instance:
        recorded = recorded_digests(instance, COMMIT, settings.dataset)
        due = [item for item in chunks if recorded.get(item.chunk.name) != item.chunk.digest]
        to_check = [item for item in due if item.files or item.finished]
        if episodes_per_chunk is None:
            script.check_chunk_size(settings, head, to_check, print_status)
        if not dry_run:
            plan.check_identity()
            # Before planning: another run may build a planned chunk, and its rows would then be duplicates.
            rename_files(client, [item.renames for item in chunks if item.renames])
            script.append_chunks(plan, new)
            add_partitions(instance, (item.chunk.number for item in chunks))
            remember_languages(plan.planned())
        done, lost, left_due = 0, 0, list[Due]()
        # At this revision the files still have their old paths.
        for item, content in script.check_chunks(settings, head, to_check, print_status):
            accepted = not content.problem and (not content.lost or (item.finished and not rebuild_incomplete))
            if accepted:
                done, lost = done + 1, lost + len(content.lost)
                if not dry_run:  # at once, so that an interrupted import continues here
                    how = f"footers and keys of the script's files: {content.summary}"
                    record_done(instance, [Recovered(item.chunk.ref, content.files, how)], head, repo, "import")
            else:
                left_due.append(item.as_due(content.summary))
            renamed = f", from data/{item.code}/" if item.renames else ""
            outcome = "recorded" if accepted else "left due"
            click.echo(f"{partition_key(*item.chunk.name)}: {outcome}: {content.summary}{renamed}")
            print_status(f"checked {done + len(left_due)} of {plural(len(to_check), 'chunk')} on the Hub")
        if not dry_run:
            record_due(instance, left_due, repo, "import")
    if lost:
        print_status(
            f"recorded chunks lack {plural(lost, 'segment')} with audio in the bucket: --rebuild-incomplete leaves "
            "such chunks due, r2-hf process --partition builds a recorded one again"
        )
    planned, now = ("would be planned", "would be recorded") if dry_run else ("newly planned", "recorded now")
    print_status(
        f"{plural(len(chunks), 'chunk')} of the script: {len(new)} {planned}, {len(chunks) - len(due)} recorded "
        f"before, {done} {now}, {len(due) - done} due"
    )
