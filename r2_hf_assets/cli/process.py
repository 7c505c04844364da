"""`r2-hf process`: builds and commits chunks in this process, each as a Dagster run of its own.

Whether a chunk is due is read from the plan and the history at the start, and again before its run: so a process that
was stopped resumes when it is started again, and skips what another one committed meanwhile. Several processes may
share the work by --chunk-mod; two that build one chunk at the same time build it twice, and the second commit is empty.
"""

import sys
import time
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from r2_hf_assets.cli.bars import show_progress
from r2_hf_assets.cli.talk import chunk_mod_option, chunk_rem_option, language_option, say

if TYPE_CHECKING:
    from r2_hf_assets.plan.chunks import Planned
    from r2_hf_assets.settings import Settings


@click.command()
@language_option
@chunk_mod_option
@chunk_rem_option
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many chunks.")
@click.option(
    "--partition",
    "keys",
    metavar="KEY",
    multiple=True,
    help="This partition, due or not, e.g. 'en|chunk_0007'; may be repeated; - reads keys from stdin, one a line.",
)
@click.option("--dry-run", is_flag=True, help="Print the partitions that would be done, one a line, and do nothing.")
@click.option("--no-card", is_flag=True, help="Leave the dataset's card on the Hub as it is.")
@click.pass_context
def process(
    context: click.Context,
    language: tuple[str, ...],
    chunk_mod: int | None,
    chunk_rem: int | None,
    limit: int | None = None,
    keys: tuple[str, ...] = (),
    dry_run: bool = False,
    no_card: bool = False,
) -> None:
    """Build and commit every due chunk.

    One after the other, each as a Dagster run of its own. A chunk that fails is said and left due, and the rest is
    still done; then the exit code is 1. A failure that every chunk would meet (a wrong token, a missing right, a disk
    that can't be written) ends the call at once, and so do eight failures in a row. Ctrl-C stops after leaving things
    clean. Started again, it goes on with what is due. On a terminal, a bar shows how far it is, in episodes and
    bytes; a pipe gets a line a chunk. --dry-run prints what would be done, on stdout.
    The dataset's card is written anew at the end, and every half hour until then; with --chunk-mod it is not, as the
    history may be one machine's.

    \b
      r2-hf process
      r2-hf process --dry-run
      r2-hf process --language en --limit 10
      r2-hf process --chunk-mod 4 --chunk-rem 0      # on machine 0 of 4
      r2-hf process --partition 'en|chunk_0007'      # once more
    """
    if (chunk_mod is None) != (chunk_rem is None):
        raise click.UsageError("--chunk-mod and --chunk-rem go together")
    if chunk_mod is not None and chunk_rem is not None and chunk_rem >= chunk_mod:
        raise click.UsageError(f"--chunk-rem must be below --chunk-mod: 0 to {chunk_mod - 1}")
    from r2_hf_assets.settings import load

    settings = load()
    from r2_hf_assets.assets.launch import due_chunks, open_instance

    with open_instance() as instance:
        chunks: Sequence[Planned] = _planned(_from_stdin(keys), settings) if keys else due_chunks(instance)
        chunks = choose(chunks, language, chunk_mod or 1, chunk_rem or 0, limit)
        if not chunks:
            say("nothing to do" if keys else "nothing is due")
        elif dry_run:
            _show(chunks)
        elif not _run(instance, chunks, only_due=not keys, with_card=not no_card and chunk_mod is None):
            context.exit(1)


def _run(instance: Any, chunks: Sequence["Planned"], *, only_due: bool, with_card: bool) -> bool:
    """Run the chunks one after the other, and refresh the dataset's card; returns whether all went well."""
    from r2_hf_assets.assets.launch import refresh_card, run_chunks
    from r2_hf_assets.assets.lines import heard_by

    card_error: str | None = None
    card_failed_at: float | None = None
    with show_progress(chunks) as progress, heard_by(progress.say):
        for run in run_chunks(instance, chunks, only_due=only_due, watch=progress.watch):
            last = progress.finish(run)
            if not with_card or run.stop:
                continue
            error = refresh_card(instance, at_once=last, asked=card_failed_at)
            if error and error != card_error:
                progress.say(f"card: FAILED: {error}")
            if error:
                card_error, card_failed_at = error, time.time()
            elif last:  # before that, None may mean that no card was due
                card_error = None
    say(progress.summary())
    return not progress.failed and not card_error


def choose(
    chunks: Iterable["Planned"], languages: Collection[str], mod: int, rem: int, limit: int | None
) -> list["Planned"]:
    """The chunks of these languages (none: of all) and of machine `rem` of `mod`, at most `limit`."""
    chosen = (chunk for chunk in chunks if (not languages or chunk.language in languages) and chunk.number % mod == rem)
    return list(islice(chosen, limit))


def _show(chunks: Sequence["Planned"]) -> None:
    """Print the keys on stdout, fit for --partition -, and the sum on stderr."""
    from r2_hf_assets.assets.partitions import partition_key

    for chunk in chunks:
        click.echo(partition_key(chunk.language, chunk.number))
    say(f"would do {len(chunks)} chunks, {sum(chunk.episodes for chunk in chunks):,} episodes")


def _from_stdin(keys: Sequence[str]) -> list[str]:
    """The keys, with the lines of stdin for `-`."""
    read = (line.strip() for line in sys.stdin) if "-" in keys else ()
    return [*(key for key in keys if key != "-"), *filter(None, read)]


def _planned(keys: Sequence[str], settings: "Settings") -> list["Planned"]:
    """The planned chunks of these partition keys, each once.

    Raises:
        click.UsageError: a key is none, is not planned, or LANGUAGES leaves its language out.
    """
    from r2_hf_assets.assets.partitions import read_key
    from r2_hf_assets.plan.due import in_grid
    from r2_hf_assets.plan.store import open_plan

    chunks, left_out = in_grid(open_plan(settings.plan, settings.r2).planned(), settings.plan.languages)
    planned = {(chunk.language, chunk.number): chunk for chunk in chunks}
    found: dict[tuple[str, int], Planned] = {}
    for key in keys:
        try:
            name = read_key(key)
        except ValueError as error:
            raise click.UsageError(f"--partition: {error}") from None
        if name[0] in left_out:
            raise click.UsageError(f"--partition {key}: LANGUAGES leaves out {name[0]}; add it there to process it")
        if name not in planned:
            raise click.UsageError(f"--partition {key}: not planned; scan first, or see status")
        found[name] = planned[name]
    return list(found.values())
