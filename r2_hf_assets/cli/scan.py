"""`r2-hf scan`: materializes work_plan and reports its numbers."""

import click

from r2_hf_assets.cli.output import language_option, print_misspelt, print_status
from r2_hf_assets.plural import plural


@click.command()
@language_option
@click.option(
    "--start-anew",
    is_flag=True,
    help="Remove another plan's files from the dataset, whose history keeps them; renumber a lost plan from 0.",
)
@click.pass_context
def scan(context: click.Context, language: tuple[str, ...], start_anew: bool) -> None:
    """Plan what is new in the bucket.

    Lists the episode folders and appends new episodes in new chunks; sealed chunks never change. An empty plan is
    refused for a dataset that has chunks: restore its plan, or --start-anew. stdout is the number of planned chunks.

    \b
      r2-hf scan
      r2-hf scan --language en --language de
    """
    from r2_hf_assets.settings import load_for_scan

    print_misspelt()
    load_for_scan()
    from r2_hf_assets.cli.in_process import last_scan, open_instance, run_scan

    with open_instance() as instance:
        error = run_scan(instance, language, start_anew=start_anew)
        if error:
            print_status(f"r2-hf scan: {error}")
            context.exit(1)
        metadata = last_scan(instance)
    for folder, languages in metadata["folders_of_another_rule"].items():
        print_status(
            f"folder {folder} stays {languages['decided']}, as decided; this release maps it to {languages['rule']}"
        )
    print_status(
        f"{plural(metadata['episodes_seen'], 'episode')} seen, {metadata['episodes_newly_planned']:,} newly planned in "
        f"{plural(metadata['chunks_new'], 'chunk')}; a grid that fits this bucket: {metadata['languages_that_fit']}"
    )
    click.echo(f"{plural(metadata['chunks_planned'], 'chunk')} planned")
