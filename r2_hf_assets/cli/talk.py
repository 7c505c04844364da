"""What the commands share: words on stderr, tables on stdout, and the options that several of them take."""

from collections.abc import Mapping, Sequence
from typing import Any

import click


def _split(context: click.Context, option: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    """The languages of all values; each may be several, with commas."""
    for value in values:
        if not value.strip(" ,"):
            raise click.BadParameter("it names no language", context, option)
    return tuple(tag for value in values for tag in map(str.strip, value.split(",")) if tag)


language_option = click.option(
    "--language",
    "--lang",
    "language",
    metavar="L",
    multiple=True,
    callback=_split,
    help="Only these languages, e.g. en or en,de; may be repeated.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")


def say(line: str) -> None:
    """A line for people, on stderr."""
    click.echo(line, err=True)


def show_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows with a heading, in columns, on stdout. Numbers stand to the right."""
    if not rows:
        return
    cells = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    right = [isinstance(value, int | float) for value in rows[0].values()]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        aligned = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True))
        click.echo("  ".join(aligned).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def languages_of(tags: Sequence[str]) -> frozenset[str]:
    """The partition languages that these names mean; none for none.

    Raises:
        click.UsageError: one of them is no language.
    """
    from r2_hf_assets.languages import UNKNOWN, normalize

    for tag in tags:
        if normalize(tag) == UNKNOWN != tag:
            raise click.UsageError(f"--language {tag}: no language this project knows")
    return frozenset(map(normalize, tags))
