"""`r2-hf process`: builds and commits chunks in this process, each as a Dagster run of its own.

Due chunks are read from the plan and the history at the start, and each again before its run. So a stopped process
resumes when it is started again, and skips what another process has committed. Processes share the work by --chunk-mod;
two that build the same chunk do the work twice, and the second commit is empty.

Progress on stderr is a line a chunk, and on a terminal a bar. The bar counts episodes, because a chunk's bytes are not
known in advance, and advances with each row group:

    62%|██████    | 620/1000 [02:05<01:16,  4.96 episodes/s, 12.3GB]
"""

import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from r2_hf_assets.cli.output import copy_of_stderr, language_option, load_settings, print_misspelt, print_status
from r2_hf_assets.plural import plural

if TYPE_CHECKING:
    from r2_hf_assets.cli.in_process import ChunkRun
    from r2_hf_assets.plan.chunks import ChunkRef
    from r2_hf_assets.shards.record import Tally


@click.command()
@language_option
@click.option("--chunk-mod", type=click.IntRange(1), metavar="N", help="Only chunks whose number modulo N ...")
@click.option("--chunk-rem", type=click.IntRange(0), metavar="R", help="... is R: machine R of N.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many chunks.")
@click.option(
    "--partition", "keys", metavar="KEY", multiple=True, help="This partition, due or not; - reads keys from stdin."
)
@click.option("--dry-run", is_flag=True, help="Print the partitions that would be done, one a line, and do nothing.")
@click.option("--no-card", is_flag=True, help="Leave the dataset's card on the Hub as it is.")
@click.pass_context
def process(
    context: click.Context,
    language: tuple[str, ...],
    chunk_mod: int | None,
    chunk_rem: int | None,
    limit: int | None,
    keys: tuple[str, ...],
    dry_run: bool,
    no_card: bool,
) -> None:
    """Build and commit every due chunk.

    One after the other, each as a Dagster run of its own. A failed chunk stays due, the rest is still done, and the
    exit code is 1. A failure that would repeat in every chunk (a wrong token, a missing right, a disk that can't be
    written) ends the call at once, and so do eight failures in a row. After Ctrl-C, start it again: it resumes with
    what is due. A terminal shows a bar, in episodes and bytes; a pipe gets a line a chunk. The dataset's card is
    updated every half hour and at the end, but not with --chunk-mod, where the history may be one machine's.

    \b
      r2-hf process
      r2-hf process --dry-run
      r2-hf process --language en --limit 10
      r2-hf process --chunk-mod 4 --chunk-rem 0      # on machine 0 of 4
      r2-hf process --partition 'en|chunk_0007'      # again
    """
    if (chunk_mod is None) != (chunk_rem is None):
        raise click.UsageError("--chunk-mod and --chunk-rem go together")
    if chunk_mod is not None and chunk_rem is not None and chunk_rem >= chunk_mod:
        raise click.UsageError(f"--chunk-rem must be below --chunk-mod: 0 to {chunk_mod - 1}")
    print_misspelt()
    load_settings()
    from r2_hf_assets.cli.in_process import due_chunks, open_instance
    from r2_hf_assets.partitions import partition_key

    with open_instance() as instance:
        chunks = _chunks_of(keys) if keys else due_chunks(instance)
        chunks = select_chunks(chunks, language, chunk_mod or 1, chunk_rem or 0, limit)
        if not chunks:
            print_status("nothing to do" if keys else "nothing is due")
        elif dry_run:
            for chunk in chunks:
                click.echo(partition_key(*chunk.name))
            episodes = sum(chunk.episodes for chunk in chunks)
            print_status(f"would do {plural(len(chunks), 'chunk')}, {plural(episodes, 'episode')}")
        elif not _run(instance, chunks, only_due=not keys, with_card=not no_card and chunk_mod is None):
            context.exit(1)


def _run(instance: Any, chunks: Sequence["ChunkRef"], *, only_due: bool, with_card: bool) -> bool:
    """Run the chunks, and refresh the dataset's card; returns whether all succeeded."""
    from r2_hf_assets.cli.in_process import redirect_console, refresh_card, run_chunks

    card_error: str | None = None
    card_failed_at: float | None = None
    with show_progress(chunks) as progress, redirect_console(progress.write_line):
        for run in run_chunks(instance, chunks, only_due=only_due, watch=progress.watch):
            last = progress.finish(run)
            if with_card and not run.stop:
                card_error = refresh_card(instance, at_once=last, failed_at=card_failed_at)
                if card_error:
                    card_failed_at = time.time()
                    progress.write_line(f"card: FAILED: {card_error}")
    print_status(progress.summary())
    return not progress.failed and not card_error


def select_chunks(
    chunks: Iterable["ChunkRef"], languages: Collection[str], mod: int, rem: int, limit: int | None
) -> list["ChunkRef"]:
    """Return up to `limit` chunks of these languages (none: of all) and of machine `rem` of `mod`."""
    chunks = (chunk for chunk in chunks if (not languages or chunk.language in languages) and chunk.number % mod == rem)
    return list(islice(chunks, limit))


def _chunks_of(keys: Sequence[str]) -> list["ChunkRef"]:
    """Return the chunks of these partition keys, each once; UsageError for a key without one."""
    from r2_hf_assets.cli.in_process import planned_chunks
    from r2_hf_assets.partitions import partition_key

    if "-" in keys:
        stdin = [line.strip() for line in sys.stdin]
        keys = [key for key in (*keys, *stdin) if key not in ("-", "")]
    planned = {str(partition_key(*chunk.name)): chunk for chunk in planned_chunks()}
    for key in keys:
        if key not in planned:
            raise click.UsageError(f"--partition {key}: not planned, or left out by LANGUAGES; run scan, or see status")
    return [planned[key] for key in dict.fromkeys(keys)]


class Progress:
    """Counts of finished chunks, shown on tqdm's `bar`; `write_line` writes above it."""

    def __init__(self, total: int, bar: Any, write_line: Callable[[str], None]) -> None:
        self.bar, self.write_line = bar, write_line
        self.done = self.failed = self.skipped = 0
        self._total = total
        self._episodes = self._size = 0  # of finished chunks
        self._built = 0  # bytes of those and of the active build
        self._stop: str | None = None
        self._started = time.monotonic()

    def watch(self, tally: "Tally") -> None:
        """Show the running tally of a build."""
        self._built = self._size + tally.audio_bytes
        self._draw(self._episodes + tally.episodes_read, self._built)

    def finish(self, run: "ChunkRun") -> bool:
        """Count a chunk and write its line; returns whether it was the last one."""
        seconds, self._started = time.monotonic() - self._started, time.monotonic()
        if run.error:
            self.failed += 1
            outcome = f"FAILED: {run.error} (run {run.run_id}) in {seconds:.1f} s"
        elif run.run_id:
            self.done += 1
            size = self.bar.format_sizeof(self._built - self._size, "B")
            outcome = f"done, {plural(run.chunk.episodes, 'episode')}, {size} in {seconds:.1f} s"
        else:
            self.skipped += 1
            outcome = "skipped, another run has committed it"
        if not run.error:
            self._episodes, self._size = self._episodes + run.chunk.episodes, self._built
        self._built, self._stop = self._size, run.stop
        count = self.done + self.failed + self.skipped
        self.write_line(f"{run.key}: {outcome}; {count} of {self._total}")
        self._draw(self._episodes, self._size)
        return count == self._total

    def _draw(self, episodes: int, size: int) -> None:
        self.bar.n = episodes
        failed = f", {plural(self.failed, 'chunk')} FAILED" if self.failed else ""
        self.bar.set_postfix_str(f"{self.bar.format_sizeof(size, 'B')}{failed}")

    def summary(self) -> str:
        """Return the counts as a line."""
        line = f"{plural(self.done, 'chunk')} done, {self.failed} failed"
        if self.skipped:
            line += f", {self.skipped} committed by other runs"
        if self._stop:
            left = self._total - self.done - self.skipped
            return f"{line}; stopped, because {self._stop}; {left} not done"
        return line + ("; what failed is still due" if self.failed else "")


@contextmanager
def show_progress(chunks: Sequence["ChunkRef"]) -> Iterator[Progress]:
    """Show the progress of these chunks on stderr."""
    from tqdm import tqdm

    episodes = sum(chunk.episodes for chunk in chunks)
    with (
        copy_of_stderr() as stderr,
        # `disable` None: no bar in a pipe.
        tqdm(total=episodes, file=stderr, unit=" episodes", disable=None, dynamic_ncols=True, leave=False) as bar,
    ):
        yield Progress(len(chunks), bar, write_line=lambda line: tqdm.write(line, file=stderr))
