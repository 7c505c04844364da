"""What stops a benchmark."""


class BenchError(Exception):
    """One line: what did not run, then the tail of its output."""


class NotInstalled(Exception):
    """A baseline's command is not in this environment; names it."""
