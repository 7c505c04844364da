"""Due chunks for any plan and history, and retries for any waits and headers."""

import math
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from r2_hf_assets.errors import RetriesExhausted
from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.plan.due import find_due
from r2_hf_assets.retry import STATUSES, Retry, TransientError, transient_status

cells = st.tuples(st.sampled_from(["de", "en"]), st.integers(0, 4))
digests = st.sampled_from(["a", "b", "c"])
plans = st.dictionaries(cells, digests).map(
    lambda plan: [ChunkRef(language, number, digest, 1) for (language, number), digest in plan.items()]
)


@given(plans, st.dictionaries(cells, st.none() | digests))
def test_chunks_without_a_record_of_their_digest_are_due_in_plan_order(chunks, recorded):
    expected = [chunk for chunk in chunks if recorded.get(chunk.name) != chunk.digest]
    assert find_due(chunks, recorded) == expected
    done = recorded | {chunk.name: chunk.digest for chunk in expected}
    assert find_due(chunks, done) == []
    assert find_due(chunks, {}) == chunks


@dataclass
class Flaky:
    """Fails once for each requested wait, then succeeds. Time passes only in `sleep`."""

    requested: list[float]
    jitters: list[float]
    now: float = 0.0
    attempts_made: int = 0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> str:
        self.attempts_made += 1
        if self.attempts_made <= len(self.requested):
            raise TimeoutError
        return "done"

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def jitter(self) -> float:
        return self.jitters[(self.attempts_made - 1) % len(self.jitters)]


waits = st.floats(0, 1000)


@given(
    st.lists(st.just(0.0) | waits, max_size=12),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=12),
    st.integers(1, 10),
    st.floats(0.01, 10),
    st.floats(0.01, 100),
    waits,
)
def test_attempts_and_waits_stay_within_their_limits(requested, jitters, attempts, base, cap, limit):
    call = Flaky(requested, jitters)
    retry = Retry(attempts, base, cap, limit, call.sleep, lambda: call.now, call.jitter)
    try:
        result = retry.call("it", call, lambda error: TransientError("busy", requested[call.attempts_made - 1]))
    except RetriesExhausted:
        result = "exhausted"
    assert result == "done" or call.attempts_made == attempts or call.now <= limit
    assert (result == "done") == (call.attempts_made == len(requested) + 1)
    assert call.attempts_made <= attempts and len(call.slept) == call.attempts_made - 1
    assert call.now <= limit
    for number, (slept, wait) in enumerate(zip(call.slept, requested, strict=False)):
        longest = min(cap, base * 2**number)
        assert max(wait, longest / 2) <= slept <= max(wait, longest)


after = st.one_of(
    st.text(),
    st.from_regex(r"\d{1,400}(\.\d+)?", fullmatch=True),
    st.builds(
        "{}, {} {} {} {}:{}:{} {}".format,
        st.sampled_from(["Mon", "Tue", "x"]),
        st.integers(0, 99),
        st.sampled_from(["Jan", "Feb", "Foo"]),
        st.integers(0, 99999),
        st.integers(0, 99),
        st.integers(0, 99),
        st.integers(0, 99),
        st.sampled_from(["GMT", "+0100", "-9999", "+99999999", ""]),
    ),
)
limits = st.one_of(st.text(), st.builds('"api";r={};t={}'.format, st.integers(0), st.integers(0)))


@given(st.integers(100, 599), after, limits, st.sampled_from(["Retry-After", "retry-after", "RETRY-AFTER"]))
def test_any_header_gives_a_wait_that_is_a_number(status, requested, limit, name):
    error = transient_status(status, {name: requested, "RateLimit": limit}, now=lambda: 1.7e9)
    assert (error is not None) == (status in STATUSES)
    assert error is None or (error.wait >= 0.0 and not math.isnan(error.wait))
