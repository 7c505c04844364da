"""Due and retry: pure rules, on any plan and history, any trouble and any header."""

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
    lambda found: [ChunkRef(language, number, digest, 1) for (language, number), digest in found.items()]
)


@given(plans, st.dictionaries(cells, st.none() | digests))
def test_due_is_what_has_no_record_of_its_digest_in_plan_order(planned, recorded):
    found = find_due(planned, recorded)
    assert found == [chunk for chunk in planned if chunk in found]
    assert all((recorded.get(c.name) == c.digest) != (c in found) for c in planned)
    done = recorded | {chunk.name: chunk.digest for chunk in found}
    assert find_due(planned, done) == []
    assert find_due(planned, {}) == planned


@dataclass
class Flaky:
    """Fails once for each wait that a server asks for, then works. Time passes only in sleep."""

    asked: list[float]
    jitters: list[float]
    now: float = 0.0
    tries: int = 0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> str:
        self.tries += 1
        if self.tries <= len(self.asked):
            raise TimeoutError
        return "done"

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def jitter(self) -> float:
        return self.jitters[(self.tries - 1) % len(self.jitters)]


waits = st.floats(0, 1000)


@given(
    st.lists(st.just(0.0) | waits, max_size=12),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=12),
    st.integers(1, 10),
    st.floats(0.01, 10),
    st.floats(0.01, 100),
    waits,
)
def test_tries_and_waits_stay_within_their_bounds(asked, jitters, attempts, base, cap, limit):
    call = Flaky(asked, jitters)
    retry = Retry(attempts, base, cap, limit, call.sleep, lambda: call.now, call.jitter)
    try:
        ended = retry.call("it", call, lambda error: TransientError("busy", asked[call.tries - 1]))
    except RetriesExhausted:
        ended = "gave up"
    assert ended == "done" or call.tries == attempts or call.now <= limit
    assert (ended == "done") == (call.tries == len(asked) + 1)
    assert call.tries <= attempts and len(call.slept) == call.tries - 1
    assert call.now <= limit
    for number, (slept, wait) in enumerate(zip(call.slept, asked, strict=False)):
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
def test_any_header_gives_a_wait_that_can_be_kept(status, asked, limit, name):
    trouble = transient_status(status, {name: asked, "RateLimit": limit}, now=lambda: 1.7e9)
    assert (trouble is not None) == (status in STATUSES)
    assert trouble is None or (trouble.wait >= 0.0 and not math.isnan(trouble.wait))
