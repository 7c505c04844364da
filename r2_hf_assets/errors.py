"""Errors for users: one line each, what is wrong and what to set or run.

`transient`: the same call may succeed later without a change, so a run that fails with it is retried.
`systemic`: every run fails in the same way until the user fixes the cause.
"""


class R2HfError(Exception):
    """Base of every error for users."""

    transient = False
    systemic = False


class SettingsError(R2HfError):
    """An environment variable is missing or wrong."""

    systemic = True


class AccessError(R2HfError):
    """The credentials are rejected, or the bucket or the repo does not exist."""

    systemic = True


class PlanError(R2HfError):
    """The stored plan is damaged, or belongs to another bucket."""


class ShardError(R2HfError):
    """A chunk's parts are absent, or differ from their build record."""


class DamagedShard(ShardError):
    """A part's content differs from what was built."""


class Amended(ShardError):
    """The plan of a chunk changed while it was built."""


class ForeignDataset(AccessError):
    """The dataset repo belongs to another plan, or holds files of an unknown plan."""


class UnknownFile(ShardError):
    """A file on the Hub is at a path of a chunk, and neither the history nor a build record names its content."""


class CardError(R2HfError):
    """The dataset's README.md on the Hub can't be updated without overwriting what users wrote."""


class DiskError(R2HfError):
    """A folder can't be read or written: read-only, removed, no permission, a file in its place."""

    systemic = True


class DiskFull(DiskError):
    """No space is left. Other runs remove their scratch files, so a later run may succeed."""

    transient = True
    systemic = False


class StillUploading(R2HfError):
    """An episode's audio is missing, and its metadata is so recent that the upload may be incomplete."""

    transient = True


class RetriesExhausted(R2HfError):
    """A transient error (5xx, timeout, reset, throttling) outlasted every retry."""

    transient = True


def first_line(error: BaseException) -> str:
    """Return an error of a library as one line, with its class."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"
