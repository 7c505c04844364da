"""`r2-hf sandbox`: passes its arguments to r2_hf_sandbox, a package of its own beside this one in a checkout."""

import sys
from importlib import import_module
from pathlib import Path

import click

from r2_hf_assets.errors import R2HfError

_BESIDE = Path(__file__).parents[2]


@click.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def sandbox(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Start local servers to try everything on."""
    sys.path.append(str(_BESIDE))  # an editable install finds the product alone
    try:
        verbs = import_module("r2_hf_sandbox.__main__").verbs
    except ImportError as error:
        raise R2HfError(f"the sandbox comes with a checkout of the project and its `make env`: {error}") from None
    context.exit(verbs.main(list(arguments), prog_name="r2-hf sandbox", standalone_mode=False) or 0)
