"""`r2-hf`: the whole job from the command line, on the same plan, assets and history as the UI.

A command's module is imported when it is called, and imports what it needs when it runs. So `r2-hf --help` loads click
and this module alone. stdout is data, stderr is status and errors, one line each. The exit codes are in the help.
"""

import atexit
import gc
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from io import RawIOBase

import click

from r2_hf_assets.cli.output import print_status
from r2_hf_assets.errors import R2HfError, SettingsError

_BY_SIGNAL = 128  # a shell adds the signal's number

# Each command, its line in the help, and where it is: "<module>.<function>" in this package.
_COMMANDS = {
    "doctor": ("Check settings, bucket, Hub and DAGSTER_HOME.", "doctor.doctor"),
    "import": ("Continue the dataset of the replaced script.", "adopt.adopt"),
    "process": ("Build and commit every due chunk.", "process.process"),
    "purge": ("Make what was removed from the dataset unrecoverable.", "purge.purge"),
    "reconcile": ("Compare plan, history and Hub.", "reconcile.reconcile"),
    "refresh": ("Find what changed in the bucket since it was built.", "refresh.refresh"),
    "release": ("Name the dataset as it is now: a changelog entry and a tag.", "release.release"),
    "releases": ("List the releases, newest first.", "release.releases"),
    "remove": ("Take episodes, segments or speakers out of the dataset.", "remove.remove"),
    "restore": ("Restore a lost plan and history from the dataset alone.", "restore.restore"),
    "sandbox": ("Start local servers to try everything on.", "sandbox.sandbox"),
    "scan": ("Plan what is new in the bucket.", "scan.scan"),
    "status": ("Show the progress of each language.", "status.status"),
}


class _LazyGroup(click.Group):
    """A group whose `commands` have a name and a short help; the called one is imported."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name and command:
            module, _, function = _COMMANDS[name][1].partition(".")
            command = getattr(import_module(f"r2_hf_assets.cli.{module}"), function)
        return name, command, rest


@click.group(
    cls=_LazyGroup,
    commands=[click.Command(name, short_help=text) for name, (text, _) in _COMMANDS.items()],
    context_settings={"help_option_names": ["-h", "--help"]},
)
def commands() -> None:
    """Podcast speech from an S3 bucket (Cloudflare R2) to a Hugging Face dataset.

    Settings come from the environment and from .env in the current folder, which overrides the shell, as for Dagster's
    own commands. DAGSTER_HOME must be set: progress is recorded there. The order is doctor, scan, process, status.

    Calls of the replaced script do the same:

    \b
      r2-hf --scan --language en        = r2-hf scan --language en
      r2-hf --chunk-mod 4 --chunk-rem 0 = r2-hf process --chunk-mod 4 --chunk-rem 0
      r2-hf                             = r2-hf process

    \b
    Exit codes:
      0    done
      1    something failed; the rest is done, or still due
      2    wrong usage or settings; nothing was done
      130  stopped by Ctrl-C, 143 by SIGTERM; what is recorded is done,
           the rest is due
    """
    from dotenv import load_dotenv

    load_dotenv(".env", override=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, by default that of sys.argv; returns the exit code."""
    if arguments is None:
        atexit.register(gc.freeze)  # skips a collection of Dagster's half million objects: 0.5 s
    with _sigterm_as_ctrl_c() as signals:
        try:
            return _run(arguments)
        except BrokenPipeError:  # of `| head`; the flush at exit would raise it again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return _BY_SIGNAL + signal.SIGPIPE
        except KeyboardInterrupt:
            print_status("r2-hf: stopped; what is recorded is done, the rest is due")
            return _BY_SIGNAL + (signal.SIGTERM if signal.SIGTERM in (signals.read(1024) or b"") else signal.SIGINT)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        command = _as_command(sys.argv[1:] if arguments is None else arguments)
        return commands.main(command, prog_name="r2-hf", standalone_mode=False) or 0
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        print_status(f"r2-hf: {error.format_message()} (see {context.command_path if context else 'r2-hf'} --help)")
        return 2 if isinstance(error, click.UsageError) else 1
    except click.Abort:  # click's exception for Ctrl-C
        raise KeyboardInterrupt from None
    except R2HfError as error:
        print_status(f"r2-hf: {error}")
        return 2 if isinstance(error, SettingsError) else 1


def _as_command(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with a command first; calls of the replaced script have options only."""
    if arguments and (not arguments[0].startswith("-") or arguments[0] in ("-h", "--help")):
        return list(arguments)
    return ["scan" if "--scan" in arguments else "process", *(word for word in arguments if word != "--scan")]


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[RawIOBase]:
    """Make SIGTERM interrupt the process as Ctrl-C does; yields a file of the received signals' numbers, as bytes.

    During a run Dagster replaces the handlers, so the signal is identified by the wakeup pipe, into which Python writes
    the number of each signal.
    """
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    with os.fdopen(reading, "rb", 0) as signals, os.fdopen(writing, "wb", 0):
        wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            yield signals
        finally:
            signal.signal(signal.SIGTERM, handler)
            signal.set_wakeup_fd(wakeup)
