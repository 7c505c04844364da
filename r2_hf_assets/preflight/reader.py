"""The reader's check as a finding of `r2-hf doctor --reader`."""

from r2_hf_assets.errors import R2HfError
from r2_hf_assets.hub.reader import NothingToRead, advice, check_reader
from r2_hf_assets.preflight import Finding, ok, warn
from r2_hf_assets.retry import ONCE
from r2_hf_assets.settings import HubSettings


def check_as_reader(hub: HubSettings) -> list[Finding]:
    """Return finding `reader`, a warning where a user would not get a row."""
    try:
        verdict = check_reader(hub, ONCE)
    except NothingToRead as nothing:
        seen, _, what_to_do = str(nothing).partition(": ")
        return [warn("reader", seen, what_to_do)]
    except R2HfError as error:
        return [warn("reader", "the card can't be read", str(error))]
    return [ok("reader", verdict.summary) if verdict.passed else warn("reader", verdict.summary, advice(verdict))]
