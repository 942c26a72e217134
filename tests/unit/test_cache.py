"""Unwrapped branch keys in memory: how long they live, that nothing lengthens it, and that what is dropped is gone."""

from __future__ import annotations

import copy
import pickle
import threading
import uuid
from dataclasses import dataclass, field

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from keys.datakeys import cache
from keys.datakeys.cache import BranchKeys, Unwrapped
from keys.datakeys.envelope import Secret

TENANT, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)
KEY = uuid.UUID(int=10)
MATERIAL = b"canary-canary-canary-canary-cana"


@dataclass
class Clock:
    wall: float = 1_000_000.0
    monotonic: float = 50.0
    keys: BranchKeys = field(init=False)

    def __post_init__(self) -> None:
        self.keys = BranchKeys(now=lambda: self.wall, monotonic=lambda: self.monotonic, capacity=5)

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def put(
    clock: Clock,
    *,
    key: uuid.UUID = KEY,
    tenant: uuid.UUID = TENANT,
    generation: int = 0,
    lasts: float = 300,
    session: float | None = 900,
    took: float = 0.0,
) -> Unwrapped:
    began = clock.keys.start()
    clock.passes(took)
    ends = None if session is None else began.wall + session
    return clock.keys.put(key, tenant, generation, Secret(MATERIAL), began=began, lasts=lasts, session_ends=ends)


def taken(
    clock: Clock, *, key: uuid.UUID = KEY, tenant: uuid.UUID = TENANT, generation: int = 0, uses: int = 1
) -> bool:
    found = clock.keys.take(key, tenant, generation, uses=uses)
    if found is None:
        return False
    with found:
        return found.secret.reveal() == MATERIAL


@pytest.mark.parametrize(
    ("lasts", "session", "bound"), [(300, 900, 300), (300, 120, 120), (900, 900, 900), (900, None, 900), (1, 900, 1)]
)
def test_it_lives_to_the_earlier_of_latency_and_session_and_jitter_only_shortens(
    clock: Clock, lasts: float, session: float | None, bound: float
) -> None:
    lives = set()
    for _ in range(200):
        began = clock.wall
        made = put(clock, lasts=lasts, session=session)
        life = made.until.timestamp() - began
        assert 0.9 * bound - 1e-3 <= life <= bound
        lives.add(round(life, 6))
    assert len(lives) > 100  # what was loaded together is not loaded again together
    clock.passes(0.9 * bound - 0.001)
    assert taken(clock)
    clock.passes(0.1 * bound + 0.001)
    assert not taken(clock)


def test_the_lifetime_counts_from_before_aws_was_asked(clock: Clock) -> None:
    put(clock, lasts=10, took=9.5)
    clock.passes(0.5)
    assert not taken(clock)


def test_use_does_not_lengthen_it(clock: Clock) -> None:
    put(clock, lasts=100)
    for _ in range(100):
        clock.passes(0.89)
        assert taken(clock)
    clock.passes(11)
    assert not taken(clock)


@pytest.mark.parametrize("which", ["wall", "monotonic"])
def test_either_clock_ends_it(clock: Clock, which: str) -> None:
    """The wall clock is set back, or the machine slept and its monotonic clock with it."""
    put(clock, lasts=100)
    setattr(clock, which, getattr(clock, which) + 100)
    assert not taken(clock)


def test_latency_0_keeps_nothing_but_serves_its_caller(clock: Clock) -> None:
    began = clock.keys.start()
    with clock.keys.put(KEY, TENANT, 0, Secret(MATERIAL), began=began, lasts=0, session_ends=None, uses=1) as made:
        assert made.secret.reveal() == MATERIAL
        assert len(clock.keys) == 0
    assert made.secret.reveal() == bytes(32)
    assert not taken(clock)


def test_a_used_up_copy_serves_no_more(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_USES", 10)
    put(clock)
    assert taken(clock, uses=6)
    assert not taken(clock, uses=5)
    assert cache.MAX_USES == 10


def test_the_limit_is_2_to_the_32() -> None:
    assert cache.MAX_USES == 4_294_967_296


def test_a_copy_of_another_generation_or_tenant_is_not_given(clock: Clock) -> None:
    put(clock, generation=3)
    assert not taken(clock, tenant=OTHER, generation=3)
    assert taken(clock, generation=3)
    assert not taken(clock, generation=4)
    assert not taken(clock, generation=3)  # it was dropped when a later generation asked


def test_a_drop_overwrites_and_waits_for_who_is_wrapping(clock: Clock) -> None:
    put(clock)
    in_use = clock.keys.take(KEY, TENANT, 0)
    assert in_use is not None
    with in_use:
        assert clock.keys.drop(TENANT, 1) == 1
        assert in_use.secret.reveal() == MATERIAL  # a data key wrapped under zeros would be open to everybody
        assert not in_use.take(1)
    assert in_use.secret.reveal() == bytes(32)
    assert clock.keys.drop(TENANT, 1) == 0


def test_a_load_that_began_before_a_drop_brings_nothing_back(clock: Clock) -> None:
    began = clock.keys.start()
    clock.keys.drop(TENANT)
    secret = Secret(MATERIAL)
    assert clock.keys.put(KEY, TENANT, 0, secret, began=began, lasts=300, session_ends=None) is None
    assert secret.reveal() == bytes(32)
    assert not taken(clock)
    put(clock)  # one that began after it does
    assert taken(clock)
    clock.keys.drop(TENANT, 2)
    put(clock, generation=1)  # by somebody who has not heard of the drop
    assert not taken(clock, generation=1)


def test_another_tenants_drop_touches_nothing(clock: Clock) -> None:
    put(clock)
    clock.keys.drop(OTHER, 9)
    assert taken(clock)


def test_the_size_is_bounded_and_the_oldest_makes_room(clock: Clock) -> None:
    copies = [put(clock, key=uuid.UUID(int=number)) for number in range(1, 8)]
    assert len(clock.keys) == 5
    assert [copy.secret.reveal() == MATERIAL for copy in copies] == [False, False, True, True, True, True, True]


def test_what_nobody_asks_for_again_is_swept(clock: Clock) -> None:
    made = put(clock, lasts=10)
    clock.passes(10)
    assert clock.keys.sweep() == 1
    assert made.secret.reveal() == bytes(32)


def test_a_new_copy_is_due_before_the_old_one_ends_and_asked_for_once(clock: Clock) -> None:
    for _ in range(50):
        made = put(clock, lasts=100)
        assert not made.is_due(clock.monotonic + 53)
        late = clock.monotonic + 80.001
        assert made.is_due(late)
        assert not made.is_due(late)  # a thousand users, one refresh
        left = clock.monotonic + (made.until.timestamp() - clock.wall) - late
        assert made.is_due(late + 0.26 * left)  # it failed: again, while the old copy lasts


def test_nothing_of_it_can_be_printed_copied_or_pickled(clock: Clock) -> None:
    made = put(clock)
    assert "canary" not in f"{made!r} {clock.keys!r} {made.secret!r}"
    for thing in (made, made.secret, clock.keys):
        for leave in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                leave(thing)


def test_many_threads_never_see_an_overwritten_key() -> None:
    keys = BranchKeys()
    seen: list[bytes] = []
    end = threading.Event()

    def use() -> None:
        while not end.is_set():
            found = keys.take(KEY, TENANT, 0)
            if found is not None:
                with found:
                    if bytes(found.secret.reveal()) != MATERIAL:
                        seen.append(bytes(found.secret.reveal()))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(2_000):
        keys.put(KEY, TENANT, 0, Secret(MATERIAL), began=keys.start(), lasts=300, session_ends=None)
        keys.drop(TENANT)
    end.set()
    for thread in threads:
        thread.join()
    assert seen == []


class Lives(RuleBasedStateMachine):
    """Whatever is put, used, dropped and whenever:
    no copy serves after its bound, after a drop or to another tenant."""

    loads = Bundle("loads")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        # what may serve at most: tenant, generation, until
        self.bounds: dict[uuid.UUID, tuple[uuid.UUID, int, float]] = {}

    @rule(
        target=loads,
        key=st.integers(1, 8),
        generation=st.integers(0, 2),
        lasts=st.sampled_from([0, 1, 60, 300, 900]),
        session=st.sampled_from([None, 30, 900]),
    )
    def begin(self, key: int, generation: int, lasts: int, session: int | None) -> tuple[object, ...]:
        return self.clock.keys.start(), key, generation, lasts, session

    @rule(load=loads)
    def finish(self, load: tuple[cache.Start, int, int, int, int | None]) -> None:
        began, number, generation, lasts, session = load
        key, tenant = uuid.UUID(int=number), TENANT if number % 2 else OTHER
        ends = None if session is None else began.wall + session
        self.clock.keys.put(key, tenant, generation, Secret(MATERIAL), began=began, lasts=lasts, session_ends=ends)
        self.bounds[key] = (tenant, generation, began.wall + min(lasts, session if session is not None else lasts))

    @rule(seconds=st.sampled_from([0.5, 20, 100, 290, 900]))
    def wait(self, seconds: float) -> None:
        self.clock.passes(seconds)

    @rule(seconds=st.sampled_from([-1000, 1000]))
    def set_the_wall_clock(self, seconds: float) -> None:
        self.clock.wall += seconds
        if seconds < 0:  # the bound is an instant in real time, which went on
            self.bounds = {
                key: (tenant, generation, until + seconds) for key, (tenant, generation, until) in self.bounds.items()
            }

    @rule(tenant=st.sampled_from([TENANT, OTHER]), generation=st.integers(0, 2))
    def drop(self, tenant: uuid.UUID, generation: int) -> None:
        self.clock.keys.drop(tenant, generation)
        self.bounds = {key: bound for key, bound in self.bounds.items() if bound[0] != tenant}

    @rule(key=st.integers(1, 8), tenant=st.sampled_from([TENANT, OTHER]), generation=st.integers(0, 2))
    def use(self, key: int, tenant: uuid.UUID, generation: int) -> None:
        if taken(self.clock, key=uuid.UUID(int=key), tenant=tenant, generation=generation):
            of, loaded_under, until = self.bounds[uuid.UUID(int=key)]
            assert (of, loaded_under) == (tenant, generation)
            assert self.clock.wall <= until

    @invariant()
    def it_is_bounded(self) -> None:
        assert len(self.clock.keys) <= 5


TestLives = Lives.TestCase
TestLives.settings = hypothesis_settings(max_examples=150, stateful_step_count=40, deadline=None)
