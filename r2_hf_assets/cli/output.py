"""Shared by the commands: status lines on stderr, and common options."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from r2_hf_assets.settings import Settings


def _languages(context: click.Context, option: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    """Return the languages of --language; () where it is not given."""
    if not values:
        return ()
    from r2_hf_assets.parsers import parse_languages

    if not (named := ",".join(values).strip(", ")):
        raise click.BadParameter("it names no language", context, option)
    try:
        return parse_languages(named)
    except ValueError as error:
        raise click.UsageError(f"--language: {error}") from None


language_option = click.option(
    "--language",
    "--lang",
    "language",
    metavar="L",
    multiple=True,
    callback=_languages,
    help="Only these languages, e.g. en or en,de; may be repeated.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")


def load_settings() -> "Settings":
    """Load all settings, before what takes long to import. Raises SettingsError."""
    from r2_hf_assets.settings import load

    return load()


def print_misspelt() -> None:
    """Print a line for each variable in .env or the shell that resembles a setting's name and is none."""
    from r2_hf_assets.preflight.misspelt import find_misspelt

    for name, meant in find_misspelt():
        print_status(f"{name} is no setting; did you mean {meant}?")


def format_size(size: int) -> str:
    """Format bytes as 1.50GB."""
    from tqdm import tqdm

    text: str = tqdm.format_sizeof(size, "B")
    return text


@contextmanager
def copy_of_stderr() -> Iterator[TextIO]:
    """A handle of stderr of its own, because Dagster redirects stderr into the run's log during a step."""
    descriptor = os.dup(sys.stderr.fileno())
    with os.fdopen(descriptor, "w", buffering=1, encoding="utf-8", errors="replace") as stderr:
        yield stderr


def print_status(line: str) -> None:
    """Print a line for users to stderr."""
    click.echo(line, err=True)
