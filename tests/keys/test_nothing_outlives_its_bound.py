"""Random lives of two tenants in three processes, with a clock that is held:
what must never happen does not (design.md 8)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from conftest import OTHER_CUSTOMER, Customer, acting
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from byokportal.errors import DomainError
from byokportal.localaws.testing import LocalAws
from keys import datakeys, errors, health, services
from keys.aws import sessions
from keys.datakeys import Engine
from keys.datakeys.cache import Unwrapped
from keys.models import KeyHealth, KeyRegistration
from tenants.models import Member

Status = KeyRegistration.Status
SESSION = 900  # seconds
SUSPEND = 5  # seconds
REFUSED = {*errors.REFUSALS, "suspended"}
DENY = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
)


class Life:
    """One tenant, what was done to its key and when, and the blobs that it was given."""

    def __init__(self, owner: Member, customer: Customer) -> None:
        self.owner, self.tenant, self.customer = owner, owner.tenant, customer
        self.trust = services.document(self.tenant, "trust-policy")
        self.blobs: list[datakeys.NewDataKey] = []
        self.begin()

    def begin(self) -> None:
        self.disabled_at: float | None = None
        self.distrusted_at: float | None = None
        self.suspended_at: float | None = None
        self.blobs.clear()
        self.tenant.refresh_from_db()

    @property
    def latency(self) -> int:
        return self.tenant.revocation_latency

    def may_serve(self, now: float) -> None:
        """Fail when a key was given out later than the bound allows."""
        if self.disabled_at is not None:
            assert now <= self.disabled_at + self.latency, "the key was disabled longer ago than the tenant's latency"
        if self.distrusted_at is not None:
            assert now <= self.distrusted_at + SESSION, "the role trusts us no more for longer than a session"
        if self.suspended_at is not None:
            assert now <= self.suspended_at + SUSPEND, "Suspend was pressed more than five seconds ago"

    def mend(self) -> None:
        """Give AWS back as it was: it is not rolled back with the database."""
        self.customer.kms.enable_key(KeyId=self.customer.key_arn)
        self.customer.set_trust(self.trust)


@pytest.fixture
def lives(
    active: KeyRegistration, alice: Member, mallory: Member, aws: LocalAws, customer: Customer, work: Callable[[], None]
) -> list[Life]:
    theirs = Customer(aws, account=OTHER_CUSTOMER)
    theirs.follow_the_guide(mallory.tenant, acting(mallory))
    services.submit_registration(mallory.tenant, actor=acting(mallory))
    work()
    return [Life(alice, customer), Life(mallory, theirs)]


class World:
    """Two lives in three processes."""

    def __init__(self, lives: list[Life], aws: LocalAws, clock: Any) -> None:
        self.lives, self.aws, self.clock = lives, aws, clock
        self.processes = [Engine(now=time.time, monotonic=time.time) for _ in range(3)]

    def generate(self, life: Life, process: Engine, _: int) -> None:
        try:
            made = datakeys.generate(life.tenant, [{"object": "1"}], caller="tests", request_id="r", engine=process)
        except DomainError as error:
            self.refused(life, process, error)
        else:
            life.may_serve(time.time())
            assert made[0].cache_until.timestamp() <= time.time() + life.latency
            life.blobs += made

    def open(self, life: Life, process: Engine, which: int) -> None:
        if not life.blobs:
            return
        made = life.blobs[which % len(life.blobs)]
        try:
            (opened,) = datakeys.open_wrapped(
                life.tenant, [(made.wrapped_key, {"object": "1"})], caller="t", request_id="r", engine=process
            )
        except DomainError as error:
            opened = error  # type: ignore[assignment]
        if isinstance(opened, DomainError):
            self.refused(life, process, opened)
        else:
            life.may_serve(time.time())
            assert opened.plaintext == made.plaintext
            assert opened.cache_until.timestamp() <= time.time() + life.latency

    def open_for_the_other(self, life: Life, process: Engine, which: int) -> None:
        other = next(another for another in self.lives if another is not life)
        if not life.blobs:
            return
        made = life.blobs[which % len(life.blobs)]
        try:
            (opened,) = datakeys.open_wrapped(
                other.tenant, [(made.wrapped_key, {"object": "1"})], caller="t", request_id="r", engine=process
            )
        except DomainError:
            return
        assert isinstance(opened, DomainError), "a blob of one tenant opened for another"

    def refused(self, life: Life, process: Engine, error: DomainError) -> None:
        """A refusal purges here at once, and everywhere by the next look."""
        if error.code not in REFUSED:
            return
        for one in self.processes:
            one.snapshots.look()
            assert not [copy for copy in one.keys._kept.values() if copy.tenant == life.tenant.pk], (
                "a refusal left a copy"
            )

    def disable(self, life: Life, *_: Any) -> None:
        life.customer.kms.disable_key(KeyId=life.customer.key_arn)
        life.disabled_at = life.disabled_at or time.time()

    def enable(self, life: Life, *_: Any) -> None:
        life.customer.kms.enable_key(KeyId=life.customer.key_arn)
        life.disabled_at = None

    def distrust(self, life: Life, *_: Any) -> None:
        life.customer.set_trust(DENY)
        life.distrusted_at = life.distrusted_at or time.time()

    def trust(self, life: Life, *_: Any) -> None:
        life.customer.set_trust(life.trust)
        life.distrusted_at = None

    def storm(self, *_: Any) -> None:
        self.aws.set_fault("throttling", operation="kms:Decrypt")

    def calm(self, *_: Any) -> None:
        self.aws.faults.clear()

    def suspend(self, life: Life, *_: Any) -> None:
        services.suspend(life.tenant, reason="x", actor=acting(life.owner))
        life.suspended_at = life.suspended_at or time.time()

    def resume(self, life: Life, *_: Any) -> None:
        if life.suspended_at is not None:
            services.resume(life.tenant, reason="x", actor=acting(life.owner))
            life.suspended_at = None

    def drop(self, life: Life, *_: Any) -> None:
        services.drop_caches(life.tenant, reason="x", actor=acting(life.owner))

    def probe(self, life: Life, *_: Any) -> None:
        registration = KeyRegistration.objects.of(life.tenant).serving().get()
        KeyHealth.objects.filter(registration=registration).update(next_probe_at=timezone.now())
        health.probe(registration.pk)

    def second(self, *_: Any) -> None:
        self.clock.shift(1)

    def minute(self, *_: Any) -> None:
        self.clock.shift(61)

    def minutes(self, *_: Any) -> None:
        self.clock.shift(290)


def held(process: Engine, life: Life) -> list[Unwrapped]:
    return [copy for copy in process.keys._kept.values() if copy.tenant == life.tenant.pk]


STEPS = st.sampled_from(
    [
        World.generate,
        World.generate,
        World.open,
        World.open,
        World.open,
        World.open_for_the_other,
        World.disable,
        World.enable,
        World.distrust,
        World.trust,
        World.storm,
        World.calm,
        World.suspend,
        World.resume,
        World.drop,
        World.probe,
        World.probe,
        World.second,
        World.minute,
        World.minutes,
    ]
)
ANY = st.lists(st.tuples(STEPS, st.integers(0, 1), st.integers(0, 2), st.integers(0, 9)), min_size=8, max_size=30)


def play(lives: list[Life], aws: LocalAws, steps: list[Any]) -> None:
    for life in lives:
        life.begin()
    sessions.forget_all()
    one_life = transaction.atomic()
    # the row of a use refuses to be written inside any other
    one_life._from_testcase = True  # type: ignore[attr-defined]
    try:
        with one_life, time_machine.travel(datetime.now(UTC), tick=False) as clock:
            world = World(lives, aws, clock)
            for step, whose, where, which in steps:
                step(world, lives[whose], world.processes[where], which)
            transaction.set_rollback(True)
    finally:
        aws.faults.clear()
        for life in lives:
            life.mend()


def test_a_few_lives(lives: list[Life], aws: LocalAws, settings: Any) -> None:
    settings.SNAPSHOT_SECONDS = 0.5

    @hypothesis_settings(
        max_examples=8,
        phases=[Phase.explicit, Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(ANY)
    def lived(steps: list[Any]) -> None:
        play(lives, aws, steps)

    lived()


@pytest.mark.slow
def test_many_lives(lives: list[Life], aws: LocalAws, settings: Any) -> None:
    settings.SNAPSHOT_SECONDS = 0.5

    @hypothesis_settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(ANY)
    def lived(steps: list[Any]) -> None:
        play(lives, aws, steps)

    lived()


def test_a_life_that_is_known_to_go_through_every_stop(lives: list[Life], aws: LocalAws, settings: Any) -> None:
    settings.SNAPSHOT_SECONDS = 0.5
    w = World
    told = [
        w.generate,
        w.open,
        w.open,
        w.open,
        w.disable,
        w.open,
        w.minutes,
        w.second,
        w.minute,
        w.open,
        w.enable,
        w.probe,
        w.minute,
        w.probe,
        w.open,
        w.suspend,
        w.open,
        w.second,
        w.second,
        w.open,
        w.resume,
        w.probe,
        w.second,
        w.probe,
        w.generate,
        w.distrust,
        w.open,
        w.minutes,
        w.open,
        w.minutes,
        w.open,
        w.minutes,
        w.minutes,
        w.open,
        w.trust,
        w.probe,
        w.second,
        w.probe,
        w.storm,
        w.generate,
        w.calm,
        w.generate,
        w.open_for_the_other,
    ]
    for at_once in (1, 3):  # in one process, in three by turns
        play(lives, aws, [(step, 0, number % at_once, 0) for number, step in enumerate(told)])
