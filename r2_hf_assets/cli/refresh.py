"""`r2-hf refresh`: finds what changed in the bucket since it was built, and has it built again."""

from datetime import UTC, datetime

import click

from r2_hf_assets.cli.output import format_size, language_option, load_settings, print_status
from r2_hf_assets.plural import plural


@click.command()
@click.argument("episodes", nargs=-1, metavar="[EPISODE...]")
@language_option
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), metavar="DATE", help="Only changes since, UTC."
)
@click.option("--rejected", is_flag=True, help="Ask only for what was missing or empty when it was built.")
@click.option("--dry-run", is_flag=True, help="Say what changed, and how much a rebuild moves; change nothing.")
def refresh(
    episodes: tuple[str, ...], language: tuple[str, ...], since: datetime | None, rejected: bool, dry_run: bool
) -> None:
    """Find what changed in the bucket since it was built.

    One HEAD request for each episode's all_segments.json, many at once; its ETag is compared with the one in the
    dataset's index. The chunks that differ are due: the next run of each replaces the chunk's files in one commit.
    Episodes that are gone from the bucket are counted and stay in the dataset; `r2-hf remove` takes them out.

    \b
      r2-hf refresh --dry-run
      r2-hf refresh --language en --since 2026-11-01
      r2-hf refresh --rejected              # audio that arrived after its chunk was built
      r2-hf refresh en/0a1b2c
      r2-hf process
    """
    settings = load_settings()
    from r2_hf_assets.amend.refresh import Selection
    from r2_hf_assets.amend.refresh import refresh as find_changes
    from r2_hf_assets.partitions import partition_key

    selection = Selection(language, episodes, since.replace(tzinfo=UTC) if since else None, rejected)
    report = find_changes(settings, selection, dry_run=dry_run, log=print_status)
    for change in report.changes:
        click.echo(f"{partition_key(*change.chunk)}: {change.episode}: {change.why}")
    for count, what in (
        (report.gone, "gone from the bucket, still in the dataset; r2-hf remove takes episodes out"),
        (report.unknown, "without an ETag in the index; --since DATE builds again what was written since"),
    ):
        if count:
            print_status(f"{plural(count, 'object')} {what}")
    if report.chunks_without_index:
        chunks = plural(report.chunks_without_index, "chunk")
        print_status(f"{chunks} without an index, not compared: r2-hf reconcile --write-index makes it")
    print_status(
        f"asked for {plural(report.asked, 'object')}: {len(report.changes):,} changed; "
        f"{plural(len(report.chunks), 'chunk')} {'would be ' if dry_run else ''}due again, "
        f"{format_size(report.rebuild_bytes)} on the Hub; {report.chunks_due} due anyway"
        + ("" if dry_run or not report.changes else ": r2-hf process")
    )
