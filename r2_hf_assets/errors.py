"""Errors a user sees: one line each, what is wrong and what to set or run.

`transient`: the same call may succeed later without any change, so a run that fails with it is worth a retry.
`systemic`: every other run would fail in the same way until somebody acts.
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
    """The dataset repo belongs to another plan, or holds files that this plan does not know."""


class UnknownFile(ShardError):
    """A file on the Hub is at a path of a chunk, and neither the history nor a build record names its content."""


class CardError(R2HfError):
    """The dataset's README.md on the Hub can't be rewritten without damage to what people wrote."""


class DiskError(R2HfError):
    """A folder can't be written or read: read-only, removed, no permission, a file in its place."""

    systemic = True


class DiskFull(DiskError):
    """No space is left. Other runs remove their scratch files, so a later run may find some."""

    transient = True
    systemic = False


class StillUploading(R2HfError):
    """An episode's audio is missing, but its metadata is too recent to call the audio lost."""

    transient = True


class RetriesExhausted(R2HfError):
    """A transient error (5xx, timeout, reset, throttling) outlasted every retry."""

    transient = True
