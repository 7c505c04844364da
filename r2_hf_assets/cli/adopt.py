"""`r2-hf import`: takes over the dataset that the script began."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from r2_hf_assets.cli.talk import say

if TYPE_CHECKING:
    from r2_hf_assets.reconcile.adopt import Adoption
    from r2_hf_assets.reconcile.finished import Finished

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("import")
@click.option("--work-plan", type=_FILE, required=True, metavar="FILE", help="The script's work_plan.json.")
@click.option(
    "--progress",
    "progress_logs",
    type=_FILE,
    metavar="FILE",
    multiple=True,
    help="Its progress.log; once for each machine that it ran on. Without, nothing counts as done.",
)
@click.option("--dry-run", is_flag=True, help="Check and report; write nothing.")
@click.option(
    "--rebuild-incomplete",
    is_flag=True,
    help="Leave finished chunks that lack segments due, so that the next run replaces them with whole ones.",
)
def adopt(work_plan: Path, progress_logs: tuple[Path, ...], dry_run: bool, rebuild_incomplete: bool) -> None:
    """Go on with a dataset that the script began.

    Its chunks become ours, with their members, order and numbers, and those in progress.log are recorded as done after
    their files on the Hub were checked: all parts there, readable, the dataset's columns, rows in them. The script
    dropped whole episodes for one missing file, so each chunk's line says how many segments it lost ("13 of 1,285
    segments"). By default such a chunk is recorded all the same: building it again uploads it again. Importing twice
    changes nothing.

    \b
      r2-hf import --work-plan work_plan.json --progress progress.log --dry-run
      r2-hf import --work-plan work_plan.json --progress progress.log
      r2-hf process

    \b
    work_plan.json  {"en": [chunk, ...], ...} or
                    [{"language": "en", "chunk_id": 0, "episodes": [...]}, ...]
                    a chunk is a list of episodes or an object with "episodes"
                    an episode is "id", "folder/id" or "processed/folder/id/"
    progress.log    a chunk a line: en 7, en:7, en/chunk-00007, en|chunk_0007,
                    with a time and DONE or without, or
                    {"language": "en", "chunk": 7}

    A line that can't be read is an error, and then nothing is imported.
    """
    from r2_hf_assets.settings import load

    settings = load()
    assert settings.r2 is not None and settings.hub is not None
    from r2_hf_assets.assets.history import recorded_digests
    from r2_hf_assets.assets.launch import COMMIT, open_instance
    from r2_hf_assets.assets.partitions import add_partitions, partition_key
    from r2_hf_assets.assets.recovered import record
    from r2_hf_assets.bucket.client import object_store
    from r2_hf_assets.hub.inventory import take_inventory
    from r2_hf_assets.plan.store import open_plan
    from r2_hf_assets.reconcile.adopt import append, bucket_folders, decide
    from r2_hf_assets.reconcile.finished import check_all, recoverable
    from r2_hf_assets.reconcile.script import read_progress, read_work_plan
    from r2_hf_assets.retry import default_retry

    script = read_work_plan(work_plan.read_bytes(), work_plan.name)
    finished = [
        done for log in progress_logs for done in read_progress(log.read_text(errors="replace"), script, log.name)
    ]
    plan = open_plan(settings.plan, settings.r2)
    find = bucket_folders(object_store(settings.r2), plan.prefix, default_retry())
    adoption = decide(script, finished, plan, settings.plan.languages, find)
    with open_instance() as instance:
        known = recorded_digests(instance, COMMIT, settings.dataset)
        unknown = [c for c in adoption.finished if known.get((c.language, c.number)) != c.digest]
        hub = take_inventory(settings.hub, log=say)
        if not dry_run:
            planned = append(plan, adoption.new)
            add_partitions(instance, (chunk.number for chunk in planned))
        checked: list[Finished] = []
        recorded = 0
        for found in check_all(settings, unknown, hub, say):
            checked.append(found)
            take = found.problem is None and not (rebuild_incomplete and found.incomplete)
            recorded += take
            click.echo(f"{partition_key(found.chunk.language, found.chunk.number)}: {_told(found, take)}")
            if take and not dry_run:  # at once: checking many takes long, and goes on where it was stopped
                emit = instance.report_runless_asset_event
                record(instance, [recoverable(found)], hub.revision, settings.hub.repo_id, "import", emit)
    _mind(adoption, [] if rebuild_incomplete else [found for found in checked if found.incomplete])
    say(
        f"{'would be: ' if dry_run else ''}{len(adoption.new)} chunks planned newly, "
        f"{len(adoption.chunks) - len(adoption.new)} were; {recorded} recorded as done, "
        f"{len(adoption.finished) - len(unknown)} were; {len(checked) - recorded} finished ones left due"
    )


def _told(found: "Finished", taken: bool) -> str:
    if found.problem:
        return f"left due: {found.problem}"
    if found.incomplete:
        return f"{'recorded' if taken else 'left due'}: lacks {found.incomplete}"
    more = found.rows - found.segments
    extra = f"; {more:,} more than the bucket's metadata names now" if more > 0 else ""
    return f"recorded: {found.rows:,} rows{extra}"


def _mind(adoption: "Adoption", incomplete: list["Finished"]) -> None:
    """What the user should know besides."""
    if incomplete:
        from r2_hf_assets.assets.partitions import partition_key

        first = incomplete[0].chunk
        say(
            f"{len(incomplete)} chunks lack {sum(found.lost for found in incomplete):,} segments that the bucket has, "
            "and are recorded as they are; --rebuild-incomplete at the import leaves such chunks due; now, one by one: "
            f"r2-hf process --partition '{partition_key(first.language, first.number)}' ..."
        )
    for name, count in adoption.elsewhere.items():
        say(
            f"{name}: {count} finished chunks lie in data/{name}/, where this project never writes: they are left due "
            f"and will be built under another name; delete data/{name}/ then, or their rows are double"
        )
    for name, count in adoption.left_out.items():
        say(f"{name}: {count} chunks left out, because LANGUAGES leaves out the language")
