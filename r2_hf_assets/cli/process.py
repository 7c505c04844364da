"""`r2-hf process`: builds and commits chunks in this process, each as a Dagster run of its own.

Whether a chunk is due is read from the plan and the history at the start, and again before its run: so a process that
was stopped resumes when it is started again, and skips what another one committed meanwhile. Several processes may
share the work by --chunk-mod; two that build one chunk at the same time build it twice, and the second commit is empty.

Progress on stderr is a line a chunk, and on a terminal a bar below them. The bar counts episodes, because the bytes of
a chunk are not known before they are fetched, and moves with each row group:

    62%|██████    | 620/1000 [02:05<01:16,  4.96 episodes/s, 12.3GB]
"""

import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from r2_hf_assets.cli.output import language_option, print_status

if TYPE_CHECKING:
    from r2_hf_assets.cli.in_process import ChunkRun
    from r2_hf_assets.plan.chunks import ChunkRef
    from r2_hf_assets.settings import Settings
    from r2_hf_assets.shards.record import Tally


@click.command()
@language_option
@click.option("--chunk-mod", type=click.IntRange(1), metavar="N", help="Only chunks whose number modulo N ...")
@click.option("--chunk-rem", type=click.IntRange(0), metavar="R", help="... is R: machine R of N.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many chunks.")
@click.option(
    "--partition", "keys", metavar="KEY", multiple=True, help="This one, due or not; - reads keys from stdin."
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

    One after the other, each as a Dagster run of its own. A chunk that fails stays due, and the rest is still done;
    then the exit code is 1. A failure that every chunk would meet (a wrong token, a missing right, a disk that can't
    be written) ends the call at once, and so do eight failures in a row. Stopped with Ctrl-C and started again, it
    goes on with what is due. A terminal shows a bar, in episodes and bytes; a pipe gets a line a chunk.
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
    from r2_hf_assets.cli.in_process import due_chunks, open_instance
    from r2_hf_assets.partitions import partition_key

    with open_instance() as instance:
        chunks: Sequence[ChunkRef] = _planned(keys, settings) if keys else due_chunks(instance)
        chunks = choose(chunks, language, chunk_mod or 1, chunk_rem or 0, limit)
        if not chunks:
            print_status("nothing to do" if keys else "nothing is due")
        elif dry_run:
            for chunk in chunks:
                click.echo(partition_key(chunk.language, chunk.number))
            print_status(f"would do {len(chunks)} chunks, {sum(chunk.episodes for chunk in chunks):,} episodes")
        elif not _run(instance, chunks, only_due=not keys, with_card=not no_card and chunk_mod is None):
            context.exit(1)


def _run(instance: Any, chunks: Sequence["ChunkRef"], *, only_due: bool, with_card: bool) -> bool:
    """Run the chunks, and refresh the dataset's card; returns whether all went well."""
    from r2_hf_assets.cli.in_process import logging_to, refresh_card, run_chunks

    card_error: str | None = None
    card_failed_at: float | None = None
    with show_progress(chunks) as progress, logging_to(progress.write_line):
        for run in run_chunks(instance, chunks, only_due=only_due, watch=progress.watch):
            last = progress.finish(run)
            if with_card and not run.stop:
                card_error = refresh_card(instance, at_once=last, asked=card_failed_at)
                if card_error:
                    card_failed_at = time.time()
                    progress.write_line(f"card: FAILED: {card_error}")
    print_status(progress.summary())
    return not progress.failed and not card_error


def choose(
    chunks: Iterable["ChunkRef"], languages: Collection[str], mod: int, rem: int, limit: int | None
) -> list["ChunkRef"]:
    """The chunks of these languages (none: of all) and of machine `rem` of `mod`, at most `limit`."""
    chosen = (chunk for chunk in chunks if (not languages or chunk.language in languages) and chunk.number % mod == rem)
    return list(islice(chosen, limit))


def _planned(keys: Sequence[str], settings: "Settings") -> list["ChunkRef"]:
    """The planned chunks of these partition keys, each once; UsageError for a key that has none."""
    from r2_hf_assets.partitions import partition_key
    from r2_hf_assets.plan.due import in_grid
    from r2_hf_assets.plan.store import open_plan

    if "-" in keys:
        read = [line.strip() for line in sys.stdin]
        keys = [key for key in (*keys, *read) if key not in ("-", "")]
    chunks, _ = in_grid(open_plan(settings.plan, settings.r2).planned(), settings.plan.languages)
    planned = {str(partition_key(chunk.language, chunk.number)): chunk for chunk in chunks}
    for key in keys:
        if key not in planned:
            raise click.UsageError(
                f"--partition {key}: not planned, or left out by LANGUAGES; scan first, or see status"
            )
    return [planned[key] for key in dict.fromkeys(keys)]


class Progress:
    """What became of `total` chunks so far. `write_line` writes above the bar, which is tqdm's."""

    def __init__(self, total: int, bar: Any, write_line: Callable[[str], None]) -> None:
        self.bar, self.write_line = bar, write_line
        self.done = self.failed = self.passed_over = 0
        self._total = total
        self._episodes = self._size = 0  # of the chunks that are done
        self._built = 0  # bytes of those and of the chunk that is being built
        self._stop: str | None = None
        self._started = time.monotonic()

    def watch(self, tally: "Tally") -> None:
        """Draw the running tally of a build."""
        self._built = self._size + tally.audio_bytes
        self._draw(self._episodes + tally.episodes_read, self._built)

    def finish(self, run: "ChunkRun") -> bool:
        """Count a chunk and write its line; returns whether it was the last of all."""
        seconds, self._started = time.monotonic() - self._started, time.monotonic()
        if run.error:
            self.failed += 1
            outcome = f"FAILED: {run.error} (run {run.run_id}) in {seconds:.1f} s"
        elif run.run_id:
            self.done += 1
            size = self.bar.format_sizeof(self._built - self._size, "B")
            outcome = f"done, {run.chunk.episodes:,} episodes, {size} in {seconds:.1f} s"
        else:
            self.passed_over += 1
            outcome = "committed by another run meanwhile, passed over"
        if not run.error:
            self._episodes, self._size = self._episodes + run.chunk.episodes, self._built
        self._built, self._stop = self._size, run.stop
        count = self.done + self.failed + self.passed_over
        self.write_line(f"{run.key}: {outcome}; {count} of {self._total}")
        self._draw(self._episodes, self._size)
        return count == self._total

    def _draw(self, episodes: int, size: int) -> None:
        self.bar.n = episodes
        failed = f", {self.failed} chunks FAILED" if self.failed else ""
        self.bar.set_postfix_str(f"{self.bar.format_sizeof(size, 'B')}{failed}")

    def summary(self) -> str:
        """The counts, and what is left."""
        line = f"{self.done} chunks done, {self.failed} failed"
        if self.passed_over:
            line += f", {self.passed_over} committed by others"
        if self._stop:
            left = self._total - self.done - self.passed_over
            return f"{line}; stopped, because {self._stop}; {left} are not done"
        return line + ("; the failed ones are still due" if self.failed else "")


@contextmanager
def show_progress(chunks: Sequence["ChunkRef"]) -> Iterator[Progress]:
    """The progress of these chunks, on stderr."""
    from tqdm import tqdm

    # A descriptor of its own: while a step runs, Dagster redirects stderr into the run's log.
    descriptor = os.dup(sys.stderr.fileno())
    episodes = sum(chunk.episodes for chunk in chunks)
    with (
        os.fdopen(descriptor, "w", buffering=1, encoding="utf-8", errors="replace") as stderr,
        # `disable` None: none in a pipe.
        tqdm(total=episodes, file=stderr, unit=" episodes", disable=None, dynamic_ncols=True, leave=False) as bar,
    ):
        yield Progress(len(chunks), bar, write_line=lambda line: tqdm.write(line, file=stderr))
