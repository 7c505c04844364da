"""Errors a user sees: one line each, what is wrong and what to set or run.

`transient` says whether the same call may succeed later without anyone changing anything; a run that fails
with such an error is worth retrying, one that fails with another is not. `systemic` says that every other run would
meet the same, until somebody acts.
"""


class R2HfError(Exception):
    """Base of every error that is meant to be read by a user."""

    transient = False
    systemic = False


class SettingsError(R2HfError):
    """An environment variable is missing or wrong."""

    systemic = True


class AccessError(R2HfError):
    """The bucket or the Hub refuses the credentials, or what they name does not exist."""

    systemic = True


class PlanError(R2HfError):
    """The stored plan is damaged, or belongs to another bucket."""


class ShardError(R2HfError):
    """A chunk's shards are absent, or are not what their record says."""


class DamagedShard(ShardError):
    """A shard's content is not what was built."""


class ForeignDataset(AccessError):
    """The dataset repo belongs to another plan, or holds files of which this plan knows nothing."""


class UnknownFile(ShardError):
    """A file on the Hub is in the way of a chunk, and neither the history nor a build record names its content."""


class CardError(R2HfError):
    """The dataset's README.md on the Hub is not in a state to be written anew without harm to what people wrote."""


class DiskError(R2HfError):
    """A folder can't be written or read: read-only, removed, no right to it, a file in its place."""

    systemic = True


class DiskFull(DiskError):
    """No space is left. The scratch files of other runs go, so a later run may find some."""

    transient = True
    systemic = False


class StillUploading(R2HfError):
    """An episode's audio is missing, but its upload is too recent to call it lost."""

    transient = True


class GaveUp(R2HfError):
    """Passing trouble (5xx, timeouts, resets, throttling) outlasted every retry."""

    transient = True
