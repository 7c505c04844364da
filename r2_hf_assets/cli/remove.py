"""`r2-hf remove`: takes episodes, segments or speakers out of the dataset."""

from typing import TextIO

import click

from r2_hf_assets.cli.output import format_size, load_settings, print_status
from r2_hf_assets.plural import plural


@click.command()
@click.argument("targets", nargs=-1, metavar="EPISODE|EPISODE:SPEAKER|KEY...")
@click.option("--from", "listed", type=click.File(), metavar="FILE", help="More of them, one a line; - is stdin.")
@click.option("--reason", required=True, help="Why, for the record beside the plan; it is not published.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed; change nothing.")
def remove(targets: tuple[str, ...], listed: TextIO | None, reason: str, dry_run: bool) -> None:
    """Take episodes, segments or speakers out of the dataset, for good.

    What is removed is never built, planned, refreshed or restored again. Its chunks are due: the next run of each
    replaces the chunk's files in one commit. A run that is under way cannot commit the content any more. Old revisions
    of the dataset hold it until `r2-hf purge`.

    \b
      r2-hf remove en/0a1b2c --reason 'request of the publisher'
      r2-hf remove en/0a1b2c:SPEAKER_01 --reason 'withdrawn consent'
      r2-hf remove processed/en/0a1b2c/0a1b2c_000003.mp3 --reason 'private address'
      r2-hf remove --from list.txt --reason 'podcast withdrawn' --dry-run
      r2-hf process
    """
    words = [*targets, *(line.strip() for line in listed or () if line.strip())]
    if not words:
        raise click.UsageError("name what to remove: EPISODE, EPISODE:SPEAKER or KEY, or --from FILE")
    settings = load_settings()
    from r2_hf_assets.amend.remove import remove as remove_targets
    from r2_hf_assets.partitions import partition_key

    result = remove_targets(settings, words, reason, dry_run=dry_run, log=print_status)
    for match in result.matches:
        target = match.target
        what = target.episode + (f":{target.speaker}" if target.speaker else "")
        what += f" segment {target.segment}" if target.segment is not None else ""
        if target.chunk is None:
            outcome = "not planned, and never will be"
        elif match.rows is None:
            outcome = f"{partition_key(*target.chunk)}: not committed yet, or without an index"
        else:
            outcome = (
                f"{partition_key(*target.chunk)}: {plural(match.rows, 'segment')}, {format_size(match.audio_bytes)}"
            )
        click.echo(f"{what}: {outcome}")
    if result.already:
        print_status(f"{result.already} of {len(result.matches)} removed before")
    number = f"amendment {result.amendment.number}" if result.amendment else "no amendment"
    print_status(
        f"{'would be removed' if dry_run else 'removed'}: {plural(len(result.matches), 'target')} ({number}); "
        f"{plural(len(result.chunks), 'chunk')} to build again"
        + ("" if dry_run or not result.chunks else ": r2-hf process; then r2-hf purge clears the old revisions")
    )
