"""`r2-hf sandbox`: the local S3 server and Hub of `python -m r2_hf_assets.sandbox`."""

from pathlib import Path

import click


@click.command()
@click.argument("verb", type=click.Choice(["up", "down", "status"]))
@click.option("--folder", type=click.Path(path_type=Path), default=".demo", help="Where it keeps everything [.demo].")
@click.option("--seed", type=int, default=1, help="Another seed, other samples [1].")
@click.option("--episodes", type=click.IntRange(0), help="How many sample episodes [a few in every kind of folder].")
@click.pass_context
def sandbox(context: click.Context, verb: str, folder: Path, seed: int, episodes: int | None) -> None:
    """A local bucket and Hub to try it on.

    An S3 server with sample episodes, and a Hub, on this machine. Needs the extra: pip install
    'r2_hf_assets[sandbox]'. `up` prints the settings as an .env; `status` exits with 3 when it is not up.

    \b
      r2-hf sandbox up > .env
      r2-hf sandbox down
    """
    try:
        from r2_hf_assets.sandbox.__main__ import main
    except ModuleNotFoundError as error:
        raise click.ClickException(f"the sandbox needs {error.name}: pip install 'r2_hf_assets[sandbox]'") from None
    arguments = [verb, "--folder", str(folder), "--seed", str(seed)]
    context.exit(main([*arguments, *(() if episodes is None else ("--episodes", str(episodes)))]))
