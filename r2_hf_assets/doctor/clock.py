"""The clock, against the Date that the bucket and the Hub answer with: S3 refuses requests that are off by more than
fifteen minutes, and a signed URL of the Hub may seem expired long before."""

from datetime import UTC, datetime

from r2_hf_assets.doctor.finding import Finding, fail, ok, warn

_REFUSED_S = 15 * 60
_ODD_S = 60


def judge_clock(name: str, whose: str, there: datetime | None, now: datetime | None = None) -> Finding:
    """How far this machine's clock is from the time `there`, which a server's Date gives; None where it gives none."""
    if there is None:
        return warn(name, f"{whose} says no time, so this machine's clock can't be compared")
    off = ((now or datetime.now(UTC)) - there).total_seconds()
    seen = f"{abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} {whose}"
    if abs(off) >= _REFUSED_S:
        return fail(name, seen, "set this machine's clock (NTP): S3 refuses requests that are 15 minutes off")
    if abs(off) >= _ODD_S:
        return warn(name, seen, "set this machine's clock (NTP)")
    return ok(name, f"within {max(1, round(abs(off)))} s of {whose}")
