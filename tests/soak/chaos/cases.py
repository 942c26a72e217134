"""The faults, each by its name: does it, lets it last, and ends it.

Two kinds of kills: at a point, because another transaction holds the table that the process writes next
(`System.kill_at`) or because AWS lets it wait; and at random moments of the right kind of work, in rounds.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.soak.chaos.load import Load
from tests.soak.chaos.system import WEBS, WORKERS, System

LASTS = float(os.environ.get("CHAOS_SECONDS", "20"))  # that a server is stopped, paused or full
AWS_LASTS = float(os.environ.get("CHAOS_AWS_SECONDS", "600"))  # that every fifth call to AWS fails
ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "6"))  # kills at random moments
HOUR_BACK = "-3600"


@dataclass(frozen=True)
class Case:
    """One fault. `does` returns when it is over."""

    name: str
    does: Callable[[System, Load], None]
    what: str


def _stop_and_start(part: str) -> Callable[[System, Load], None]:
    def case(system: System, load: Load) -> None:
        server = getattr(system, part)
        server.stop()
        system.rest(LASTS)
        server.start()

    return case


def _kill_and_start(part: str) -> Callable[[System, Load], None]:
    def case(system: System, load: Load) -> None:
        server = getattr(system, part)
        server.kill()
        system.rest(3)
        server.start()

    return case


def _pause(part: str) -> Callable[[System, Load], None]:
    def case(system: System, load: Load) -> None:
        server = getattr(system, part)
        server.pause()
        system.rest(LASTS)
        server.go_on()

    return case


def _fill(part: str) -> Callable[[System, Load], None]:
    def case(system: System, load: Load) -> None:
        server = getattr(system, part)
        server.disk.fill()
        try:
            system.rest(LASTS)
        finally:
            server.disk.empty()
        if not server.is_up():  # PostgreSQL ends itself when it cannot write its WAL
            server.start()

    return case


def redis_flushed(system: System, load: Load) -> None:
    for _ in range(5):
        system.redis.ask("FLUSHALL")
        system.rest(2)


def redis_lost(system: System, load: Load) -> None:
    system.redis.lose()
    system.rest(3)
    system.redis.start()


def redis_memory_full(system: System, load: Load) -> None:
    """Redis at its `maxmemory` refuses every write and answers every read."""
    system.redis.ask("CONFIG", "SET", "maxmemory", "1")
    system.rest(LASTS)
    system.redis.ask("CONFIG", "SET", "maxmemory", "0")


def redis_read_only(system: System, load: Load) -> None:
    """A Redis that was made a replica of another one, as in the middle of a failover."""
    system.redis.ask("REPLICAOF", "127.0.0.1", "1")
    system.rest(LASTS)
    system.redis.ask("REPLICAOF", "NO", "ONE")


def backend_killed(system: System, load: Load) -> None:
    """`kill -9` of one backend: PostgreSQL ends all others too, and recovers by itself."""
    for name in (*WEBS, "checks"):
        system.wait("a database", system.postgresql.answers, 30)
        rows = system.ask("SELECT pid FROM pg_stat_activity WHERE application_name = %s", name)
        if rows:
            os.kill(random.choice(rows)[0], 9)
        system.rest(3)


def connections_ended(system: System, load: Load) -> None:
    for _ in range(5):
        system.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name NOT IN ('drill', '')")
        system.rest(1)


# --- kills at a point -------------------------------------------------------------------------------------------------


def _killed_at(
    table: str, *names: str, children: bool = False, onboarding: bool = False
) -> Callable[[System, Load], None]:
    """Kill whichever of the processes stands before a write to the table, its transaction half done."""

    def case(system: System, load: Load) -> None:
        if onboarding:
            load.onboard()
        system.kill_at(table, *names, kill=system.kill_children if children else system.kill)

    return case


def _killed_while_aws_thinks(name: str, operation: str, *, onboarding: bool = False) -> Callable[[System, Load], None]:
    """Kill a worker whose question AWS does not answer: its claim and its lease are left behind."""

    def case(system: System, load: Load) -> None:
        times = 20
        system.fault(fault="latency", value=4, operation=operation, times=times)
        try:
            if onboarding:
                load.onboard()
            system.wait(f"a call of {operation}", lambda: system.has_met(times), 60)
            system.rest(1)
            system.kill(name)
        finally:
            system.end_faults()

    return case


def _killed_at_random(*names: str, children: bool = False, onboarding: bool = False) -> Callable[[System, Load], None]:
    """Kill processes at random moments while they work."""

    def case(system: System, load: Load) -> None:
        for number in range(ROUNDS):
            if onboarding and number % 3 == 0:
                load.onboard()
            system.rest(random.uniform(0.5, 6.0))
            name = names[number % len(names)]
            system.wait(f"{name} up", lambda name=name: system.is_up(name), 30)  # type: ignore[misc]
            (system.kill_children if children else system.kill)(name)

    return case


# --- clocks -----------------------------------------------------------------------------------------------------------


def _clock_back(*names: str) -> Callable[[System, Load], None]:
    """Set the clock of running processes back an hour, and right again."""

    def case(system: System, load: Load) -> None:
        for name in names:
            system.dress(name, system.wears(name))
        system.rest(1)
        system.wait("the processes", system.is_ready, 60)
        system.rest(10)
        for name in names:
            system.set_clock(name, HOUR_BACK)
        system.rest(LASTS + 15)
        for name in names:
            system.set_clock(name, "+0")

    def undressed(system: System, load: Load) -> None:
        try:
            case(system, load)
        finally:
            for name in names:
                system.dress(name, None)

    return undressed


def clock_postgresql(system: System, load: Load) -> None:
    """The clock by which all processes go falls back an hour, and is set right again."""
    system.postgresql.stop()
    system.postgresql.start(system.wears("postgresql"))
    system.rest(10)
    system.set_clock("postgresql", HOUR_BACK)
    system.rest(LASTS)
    system.set_clock("postgresql", "+0")
    system.rest(2)
    system.postgresql.stop()
    system.postgresql.start()


# --- AWS --------------------------------------------------------------------------------------------------------------


def aws_errors(system: System, load: Load) -> None:
    system.fault(fault="error", value=503, share=0.1)
    system.fault(fault="throttling", share=0.1)
    end, began = time.monotonic() + AWS_LASTS, 0.0
    while time.monotonic() < end:
        if time.monotonic() - began > 60:
            load.onboard()
            began = time.monotonic()
        system.rest(min(5.0, max(0.1, end - time.monotonic())))
    system.end_faults()


def aws_silent(system: System, load: Load) -> None:
    """No call to AWS gets an answer."""
    system.fault(fault="timeout", value=30)
    system.rest(LASTS)
    system.end_faults()


CASES = [
    Case("postgresql-stopped", _stop_and_start("postgresql"), "PostgreSQL is stopped and started"),
    Case("postgresql-killed", _kill_and_start("postgresql"), "kill -9 of PostgreSQL with all its processes"),
    Case("postgresql-paused", _pause("postgresql"), "PostgreSQL answers nothing"),
    Case("postgresql-disk-full", _fill("postgresql"), "no room for tables or WAL"),
    Case("postgresql-backend-killed", backend_killed, "kill -9 of single backends"),
    Case("postgresql-connections-ended", connections_ended, "every connection is ended, five times"),
    Case("redis-stopped", _stop_and_start("redis"), "Redis is stopped and started"),
    Case("redis-killed", _kill_and_start("redis"), "kill -9 of Redis"),
    Case("redis-paused", _pause("redis"), "Redis answers nothing"),
    Case("redis-flushed", redis_flushed, "FLUSHALL, five times"),
    Case("redis-lost", redis_lost, "Redis comes back without its data"),
    Case("redis-disk-full", _fill("redis"), "no room for the append-only file"),
    Case("redis-memory-full", redis_memory_full, "every write is refused: maxmemory"),
    Case("redis-read-only", redis_read_only, "every write is refused: a replica"),
    Case("kill-web-at-key-use", _killed_at("keys_keyuse", *WEBS), "before the row of a data key"),
    Case(
        "kill-web-in-operation", _killed_at("tenants_auditevent", *WEBS), "within the transaction of Suspend or Resume"
    ),
    Case(
        "kill-web-at-idempotency", _killed_at("tenants_idempotentrequest", *WEBS), "before an Idempotency-Key is kept"
    ),
    Case("kill-web-at-random", _killed_at_random(*WEBS), "web processes, in turn"),
    Case(
        "kill-configuration-after-aws",
        _killed_at("keys_encryptiontest", "configuration", onboarding=True),
        "after IAM was changed, before the row says so",
    ),
    Case(
        "kill-configuration-at-aws",
        _killed_while_aws_thinks("configuration", "iam:CreatePolicyVersion", onboarding=True),
        "while IAM is asked, the lease held",
    ),
    Case(
        "kill-configuration-at-random", _killed_at_random("configuration", onboarding=True), "the configuration worker"
    ),
    Case("kill-test-at-results", _killed_at("keys_checkresult", "checks"), "after AWS answered, before a result"),
    Case("kill-test-at-aws", _killed_while_aws_thinks("checks", "kms:ReEncrypt"), "while AWS is asked"),
    Case(
        "kill-test-at-activation",
        _killed_at("keys_registrationmove", "checks", onboarding=True),
        "within the transaction that activates",
    ),
    Case("kill-sealer", _killed_at("tenants_logtree", "checks"), "rows sealed, their tree not written"),
    Case("kill-checks-at-random", _killed_at_random("checks"), "the worker of people's work and tests"),
    Case("kill-checks-children", _killed_at_random("checks", children=True), "its processes, as when memory is short"),
    Case("kill-probes-at-aws", _killed_while_aws_thinks("probes", "kms:Decrypt"), "while AWS is asked"),
    Case("kill-probes-at-random", _killed_at_random("probes"), "the worker of the probes"),
    Case("kill-roll-up", _killed_at("keys_keyusehour", "bulk"), "while uses are added up"),
    Case(
        "kill-follow",
        _killed_at("support_notice", "checks", "bulk", onboarding=True),
        "while a line of the log is followed",
    ),
    Case("kill-head", _killed_at("tenants_loghead", "bulk"), "while a head is signed and published"),
    Case("kill-bulk-at-random", _killed_at_random("bulk", "webhooks"), "the workers that nobody waits for"),
    Case("kill-beat", _killed_at_random("beat"), "beat"),
    Case("kill-everything", _killed_at_random(*WEBS, *WORKERS, "beat"), "all in turn"),
    Case("clock-web", _clock_back("web-1"), "one web process is an hour behind"),
    Case("clock-workers", _clock_back("checks", "probes", "configuration"), "three workers are an hour behind"),
    Case("clock-beat", _clock_back("beat", "bulk"), "beat and a worker are an hour behind"),
    Case("clock-postgresql", clock_postgresql, "the database is an hour behind"),
    Case("aws-silent", aws_silent, "AWS answers nothing"),
    Case("aws-errors", aws_errors, "every fifth call to AWS fails"),
]
