"""`r2-hf process`: builds and commits chunks in this process, each as a Dagster run of its own.

Which chunks are due is asked of the plan and the history at the start, and again before each chunk: a process that was
stopped goes on where it was by being started again, and one passes over what another one committed meanwhile. Several
may share the work by --chunk-mod; two that work on one chunk at the same time do it twice, and the second commit finds
nothing to do.
"""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from r2_hf_assets.cli.bars import in_bytes, show_progress
from r2_hf_assets.cli.talk import language_option, languages_of, say

if TYPE_CHECKING:
    from r2_hf_assets.assets.launch import ChunkRun
    from r2_hf_assets.plan.chunks import Planned

F = TypeVar("F", bound=Callable[..., Any])


def chunk_options(command: F) -> F:
    """The script's way to share chunks among machines."""
    mod = click.option("--chunk-mod", type=click.IntRange(1), metavar="N", help="Only chunks whose number modulo N ...")
    rem = click.option("--chunk-rem", type=click.IntRange(0), metavar="R", help="... is R: machine R of N.")
    return mod(rem(command))


@click.command()
@language_option
@chunk_options
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
      r2-hf reconcile --redo | r2-hf process --partition -
    """
    if (chunk_mod is None) != (chunk_rem is None):
        raise click.UsageError("--chunk-mod and --chunk-rem go together")
    if chunk_mod is not None and chunk_rem is not None and chunk_rem >= chunk_mod:
        raise click.UsageError(f"--chunk-rem must be below --chunk-mod: 0 to {chunk_mod - 1}")
    wanted = languages_of(language)
    from r2_hf_assets.settings import load

    load()
    from r2_hf_assets.assets.launch import due_chunks, open_instance, refresh_card, run_chunks
    from r2_hf_assets.assets.lines import heard_by

    with open_instance() as instance:
        chunks: Sequence[Planned] = _named(_from_stdin(keys)) if keys else due_chunks(instance)
        chunks = choose(chunks, wanted, chunk_mod, chunk_rem or 0, limit)
        if not chunks:
            say("nothing is due" if not keys else "nothing to do")
            return
        if dry_run:
            _show(chunks)
            return
        count, stop = _Count(), None
        card = _Card(partial(refresh_card, instance) if not no_card and chunk_mod is None else None)
        with show_progress(chunks) as progress, heard_by(progress.say):
            started = time.monotonic()
            runs = run_chunks(instance, chunks, only_due=not keys, watch=progress.watch)
            for done, run in enumerate(runs, 1):
                seconds, started = time.monotonic() - started, time.monotonic()
                count.add(run)
                size = progress.done(run.chunk, run.error is None)
                built = f"{run.chunk.episodes:,} episodes, {in_bytes(size)}"
                how = f"FAILED: {run.error} (run {run.run_id})" if run.error else f"done, {built}"
                how = f"{how} in {seconds:.1f} s" if run.run_id else "committed by another run meanwhile, passed over"
                progress.say(f"{run.key}: {how}; {done} of {len(chunks)}")
                stop = run.stop
                if not stop:
                    card.refresh(progress.say, at_once=done == len(chunks))
    say(count.line(len(chunks), stop))
    if count.failed or card.error:
        context.exit(1)


@dataclass
class _Count:
    """Chunks by what became of them."""

    done: int = 0
    failed: int = 0
    passed_over: int = 0

    def add(self, run: "ChunkRun") -> None:
        if run.error:
            self.failed += 1
        elif run.run_id:
            self.done += 1
        else:
            self.passed_over += 1

    def line(self, of: int, stop: str | None) -> str:
        """The sum, and what is left."""
        line = f"{self.done} chunks done, {self.failed} failed"
        if self.passed_over:
            line += f", {self.passed_over} committed by others"
        if stop:
            left = of - self.done - self.passed_over
            return f"{line}; stopped, because {stop}; {left} are not done"
        return line + ("; the failed ones are still due" if self.failed else "")


@dataclass
class _Card:
    """The dataset's card, now and then. What goes wrong is said once, and again when it is something else."""

    write: Callable[..., str | None] | None
    error: str | None = None
    _asked: float | None = None

    def refresh(self, tell: Callable[[str], None], *, at_once: bool) -> None:
        """Write it if it is time to. One that failed is tried again after as long as one that was written."""
        if self.write is None:
            return
        error = self.write(at_once=at_once, asked=self._asked)
        if error and error != self.error:
            tell(f"card: FAILED: {error}")
        if error:
            self.error, self._asked = error, time.time()
        elif at_once:
            self.error = None


def choose(
    chunks: Iterable["Planned"], languages: frozenset[str], mod: int | None, rem: int, limit: int | None
) -> list["Planned"]:
    """Those of these languages (all for none) and of this machine, the first `limit` of them."""
    mine = [
        chunk
        for chunk in chunks
        if (not languages or chunk.language in languages) and (mod is None or chunk.number % mod == rem)
    ]
    return mine[:limit]


def _show(chunks: Sequence["Planned"]) -> None:
    """What a dry run prints: keys on stdout, fit for --partition -, and the sum on stderr."""
    from r2_hf_assets.assets.partitions import partition_key

    for chunk in chunks:
        click.echo(partition_key(chunk.language, chunk.number))
    say(f"would do {len(chunks)} chunks, {sum(chunk.episodes for chunk in chunks):,} episodes")


def _from_stdin(keys: Sequence[str]) -> list[str]:
    read = (line.strip() for line in sys.stdin) if "-" in keys else ()
    return [*(key for key in keys if key != "-"), *filter(None, read)]


def _named(keys: Sequence[str]) -> list["Planned"]:
    """The planned chunks of these partition keys, each once."""
    from r2_hf_assets.assets.partitions import read_key
    from r2_hf_assets.plan.due import in_grid
    from r2_hf_assets.plan.store import open_plan
    from r2_hf_assets.settings import load

    settings = load()
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
