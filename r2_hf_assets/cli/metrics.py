"""`r2-hf status --prometheus`: metrics on stdout, or in a file for node_exporter's textfile collector."""

from typing import TYPE_CHECKING

import click

from r2_hf_assets.errors import SettingsError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


def write_metrics(registry: "CollectorRegistry", target: str) -> None:
    """Write the metrics to the file `target` by a rename, or to stdout for "-".

    Raises SettingsError if the file can't be written, or the collector would not read it.
    """
    from prometheus_client import generate_latest, write_to_textfile

    if target == "-":
        click.echo(generate_latest(registry), nl=False)
        return
    if not target.endswith(".prom"):
        raise SettingsError(f"--prometheus {target}: the textfile collector reads files that end in .prom")
    try:
        write_to_textfile(target, registry)
    except OSError as error:
        raise SettingsError(f"--prometheus {target} can't be written: {error.strerror}") from None
