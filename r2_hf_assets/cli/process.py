"""`r2-hf process`: builds and commits chunks in this process, each as a Dagster run of its own.

Which chunks are due is asked of the plan and the history each time, so a process that was stopped goes on where it was
by being started again. Several may share the work by --chunk-mod; two that take the same chunk do it twice, and the
second commit finds nothing to do.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from r2_hf_assets.cli.talk import language_option, languages_of, say

if TYPE_CHECKING:
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
@click.pass_context
def process(
    context: click.Context,
    language: tuple[str, ...],
    chunk_mod: int | None,
    chunk_rem: int | None,
    limit: int | None = None,
    keys: tuple[str, ...] = (),
) -> None:
    """Build and commit every due chunk, one after the other.

    A chunk that fails is said and left due, and the rest is still done; then the exit code is 1. Ctrl-C stops after
    leaving things clean. Started again, it goes on with what is due.

    \b
      r2-hf process
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
    from r2_hf_assets.assets.launch import due_chunks, open_instance, run_chunks

    with open_instance() as instance:
        chunks: Sequence[Planned] = _named(_from_stdin(keys)) if keys else due_chunks(instance)
        chunks = choose(chunks, wanted, chunk_mod, chunk_rem or 0, limit)
        if not chunks:
            say("nothing is due" if not keys else "nothing to do")
            return
        failed = 0
        with show_progress(sum(chunk.episodes for chunk in chunks)) as (tell, advance):
            started = time.monotonic()
            for done, run in enumerate(run_chunks(instance, chunks), 1):
                seconds, started = time.monotonic() - started, time.monotonic()
                failed += run.error is not None
                how = f"FAILED: {run.error} (run {run.run_id})" if run.error else f"done, {run.chunk.episodes} episodes"
                tell(f"{run.key}: {how} in {seconds:.1f} s; {done} of {len(chunks)}")
                advance(run.chunk.episodes)
    say(f"{len(chunks) - failed} chunks done, {failed} failed" + ("; the failed ones are still due" if failed else ""))
    if failed:
        context.exit(1)


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


def _from_stdin(keys: Sequence[str]) -> list[str]:
    read = (line.strip() for line in sys.stdin) if "-" in keys else ()
    return [*(key for key in keys if key != "-"), *filter(None, read)]


def _named(keys: Sequence[str]) -> list["Planned"]:
    """The planned chunks of these partition keys, each once."""
    from r2_hf_assets.assets.partitions import read_key
    from r2_hf_assets.plan.store import open_plan
    from r2_hf_assets.settings import load

    settings = load()
    assert settings.r2 is not None
    planned = {(c.language, c.number): c for c in open_plan(settings.plan, settings.r2).planned()}
    found: dict[tuple[str, int], Planned] = {}
    for key in keys:
        try:
            name = read_key(key)
        except ValueError as error:
            raise click.UsageError(f"--partition: {error}") from None
        if name not in planned:
            raise click.UsageError(f"--partition {key}: not planned; scan first, or see status")
        found[name] = planned[name]
    return list(found.values())


@contextmanager
def show_progress(episodes: int) -> Iterator[tuple[Callable[[str], None], Callable[[int], object]]]:
    """What says a line and what moves the bar; there is a bar only where somebody looks."""
    if not sys.stderr.isatty():
        yield say, lambda count: None
        return
    from tqdm import tqdm  # type: ignore[import-untyped]

    with tqdm(total=episodes, unit=" episodes", file=sys.stderr, dynamic_ncols=True) as bar:
        yield (lambda line: bar.write(line, file=sys.stderr)), bar.update
