"""`r2-hf`, the command line: commands.py lists the commands, each in a module of its own."""

from r2_hf_assets.cli.commands import main

__all__ = ["main"]
