"""`r2-hf scan`: materializes work_plan, and says what it planned."""

import click

from r2_hf_assets.cli.output import language_option, print_status


@click.command()
@language_option
@click.option(
    "--start-anew",
    is_flag=True,
    help="Remove another plan's files from the dataset, whose history keeps them; a lost plan is numbered anew.",
)
@click.pass_context
def scan(context: click.Context, language: tuple[str, ...], start_anew: bool) -> None:
    """Plan what is new in the bucket.

    Lists the episode folders and puts new episodes into new chunks; sealed chunks never change, so scanning again is
    harmless. An empty plan is not begun for a dataset that holds chunks already: restore its plan, or --start-anew.
    The number of planned chunks goes to stdout.

    \b
      r2-hf scan
      r2-hf scan --language en --language de
    """
    from r2_hf_assets.settings import load_for_scan

    load_for_scan()
    from r2_hf_assets.cli.in_process import last_scan, open_instance, run_scan

    with open_instance() as instance:
        error = run_scan(instance, language, start_anew=start_anew)
        if error:
            print_status(f"r2-hf scan: {error}")
            context.exit(1)
        found = last_scan(instance)
    for folder, languages in found["folders_of_another_rule"].items():
        print_status(
            f"folder {folder} stays {languages['decided']}, as decided; this release's rule says {languages['rule']}"
        )
    print_status(
        f"{found['episodes_seen']} episodes seen, {found['episodes_newly_planned']} newly planned in "
        f"{found['chunks_new']} chunks; a grid that fits this bucket: {found['languages_that_fit']}"
    )
    click.echo(f"{found['chunks_planned']} chunks planned")
