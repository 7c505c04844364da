"""`r2-hf import`: takes over the dataset that the script began."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from r2_hf_assets.cli.talk import say

if TYPE_CHECKING:
    from r2_hf_assets.reconcile.adopt import Located
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
    help="Its progress.log; once for each machine that it ran on. What no log names counts as done only when whole.",
)
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
    progress_logs: tuple[Path, ...],
    episodes_per_chunk: int | None,
    dry_run: bool,
    rebuild_incomplete: bool,
) -> None:
    """Go on with a dataset that the script began.

    Its chunks become ours, with their members, order and numbers. Those whose files are on the Hub are recorded as done
    after a check: all parts there, readable, the dataset's columns, every row of the chunk's episodes and none twice.
    The script dropped whole episodes for one missing file, so each chunk's line says how many segments it lost ("13 of
    1,285 segments"). A chunk that progress.log names is recorded all the same: building it again uploads it again.
    Importing twice changes nothing.

    Files stay where they are, but for languages that the script called otherwise: data/fra/ is renamed to data/fr/ on
    the Hub, in one commit for some chunks, without a byte uploaded.

    \b
      r2-hf import --work-plan work_plan.json --progress progress.log --dry-run
      r2-hf import --work-plan work_plan.json --progress progress.log
      r2-hf process

    \b
    work_plan.json  {"de": ["processed/de/072235c28fcd7f40/", ...], ...}
    progress.log    a line "de-0" for each finished chunk

    What can't be read is an error, and then nothing is imported.
    """
    from r2_hf_assets.settings import load

    settings = load()
    assert settings.r2 is not None and settings.hub is not None
    from r2_hf_assets.assets.history import recorded_digests
    from r2_hf_assets.assets.launch import COMMIT, open_instance
    from r2_hf_assets.assets.partitions import add_partitions, partition_key
    from r2_hf_assets.assets.recovered import record, record_due
    from r2_hf_assets.hub.client import HubClient
    from r2_hf_assets.hub.commit import check_owner
    from r2_hf_assets.hub.inventory import take_inventory
    from r2_hf_assets.hub.move import rename_files
    from r2_hf_assets.plan.store import open_plan
    from r2_hf_assets.reconcile.adopt import append, decide, locate, to_check
    from r2_hf_assets.reconcile.finished import check_all, recoverable, refuse_other_slices, to_build_anew
    from r2_hf_assets.reconcile.script import read_progress, read_work_plan

    size = episodes_per_chunk or settings.plan.episodes_per_chunk
    script = read_work_plan(work_plan.read_bytes(), size, work_plan.name)
    logged = [
        done for log in progress_logs for done in read_progress(log.read_text(errors="replace"), script, log.name)
    ]
    plan = open_plan(settings.plan, settings.r2)
    adoption = decide(script, logged, plan, settings.plan.languages)
    with open_instance() as instance:
        known = recorded_digests(instance, COMMIT, settings.dataset)
        hub = take_inventory(settings.hub, log=say)
        if hub.revision is not None:
            check_owner(HubClient(settings.hub), hub.revision, plan.find_id(), log=say)
        located = locate(adoption.chunks, hub)
        if episodes_per_chunk is None:
            refuse_other_slices(settings, to_check(located, known), hub, say)
        elsewhere = [item for item in located if item.renames]
        if not dry_run:
            plan.check_identity()
            if elsewhere:
                # Before the plan: a chunk that is planned may be built, and its rows would then be double.
                rename_files(settings.hub, (item.renames for item in elsewhere), log=say)
                hub = take_inventory(settings.hub, log=say)
                located = locate(adoption.chunks, hub)
            planned = append(plan, adoption.new)
            add_partitions(instance, (chunk.number for chunk in planned))
        recorded: list[Finished] = []
        left: list[Finished] = []
        chunks = to_check(located, known)
        for done, (item, found) in enumerate(zip(chunks, check_all(settings, chunks, hub, say), strict=True), 1):
            say(f"checked {done} of {len(chunks)} chunks on the Hub")
            whole_enough = found.incomplete is None or (item.taken.finished and not rebuild_incomplete)
            taken = found.problem is None and whole_enough
            (recorded if taken else left).append(found)
            click.echo(f"{partition_key(*item.name)}: {_told(found, taken)}")
            if taken and not dry_run:  # at once: checking many takes long, and goes on where it was stopped
                emit = instance.report_runless_asset_event
                record(instance, [recoverable(found)], hub.revision, settings.hub.repo_id, "import", emit)
        if not dry_run:
            record_due(instance, [to_build_anew(found) for found in left], settings.hub.repo_id, "import")
    for name, count in adoption.left_out.items():
        say(
            f"{name}: {count} chunks left out, because LANGUAGES leaves out the language; while files of theirs are on "
            "the Hub and nothing names them, no commit is made there: import again with this language"
        )
    _report_renames(elsewhere, dry_run)
    _report_incomplete([found for found in recorded if found.incomplete])
    were = sum(known.get(item.name) == item.taken.chunk.digest for item in located)
    say(
        f"{'would be: ' if dry_run else ''}{len(adoption.new)} chunks planned newly, "
        f"{len(adoption.chunks) - len(adoption.new)} were; {len(recorded)} recorded as done, {were} were; "
        f"{len(left)} checked ones left due"
    )


def _told(found: "Finished", taken: bool) -> str:
    if found.problem:
        return f"left due: {found.problem}"
    if found.incomplete:
        return f"{'recorded' if taken else 'left due'}: lacks {found.incomplete}"
    extra = f"; {found.more:,} of them are in the bucket's metadata no more" if found.more else ""
    return f"recorded: {found.rows:,} rows{extra}"


def _report_renames(elsewhere: "Sequence[Located]", dry_run: bool) -> None:
    names = sorted({(item.taken.folder, item.taken.chunk.language) for item in elsewhere})
    for folder, language in names:
        count = sum(item.taken.folder == folder for item in elsewhere)
        verb = "would be renamed" if dry_run else "are renamed"
        say(f"{folder}: the files of {count} chunks {verb} on the Hub, from data/{folder}/ to data/{language}/")


def _report_incomplete(incomplete: "Sequence[Finished]") -> None:
    if incomplete:
        from r2_hf_assets.assets.partitions import partition_key

        first = incomplete[0].chunk
        say(
            f"{len(incomplete)} chunks lack {sum(found.lost for found in incomplete):,} segments that the bucket has, "
            "and are recorded as they are; --rebuild-incomplete at the import leaves such chunks due; now, one by one: "
            f"r2-hf process --partition '{partition_key(first.language, first.number)}' ..."
        )
