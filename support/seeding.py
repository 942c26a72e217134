"""Makes a believable fleet for pages, benchmarks and demonstrations: tenants at all steps, in all states; bulk inserts.

Nothing here is known to AWS, so nothing of it is due: no worker probes, tests or configures what was seeded.
"""

from __future__ import annotations

import itertools
import random
import uuid
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Max, Model

from byokportal import clock
from keys.models import (
    BranchKey,
    EncryptionTest,
    KeyHealth,
    KeyRegistration,
    RegistrationMove,
    RoleConfiguration,
    ServiceRolePolicy,
)
from keys.proof.encryption_test import CHECKS
from support.fleet import counting, projection
from support.models import FleetFigures, Ticket, TicketMessage
from support.seed_stories import NOT_YET, STORIES, WAITING
from support.tickets import clocks
from tenants import audit, persons
from tenants.models import AuditEvent, Member, OnboardingMove, OnboardingStep, PersonName, Role, ServiceRole, Tenant

# Tenants that are made and inserted at once; tenants of one service role.
CHUNK, PINNED = 2_000, 790
USES_EACH = 80
OUR_ACCOUNT = "999900001111"
REGIONS = ("eu-central-1", "eu-west-1", "us-east-1", "us-west-2", "ap-south-1", "ap-southeast-2")
FIRST = (
    "Acme",
    "Bellows",
    "Contoso",
    "Fabrikam",
    "Litware",
    "Margie",
    "Northwind",
    "Proseware",
    "Relecloud",
    "Tailspin",
)
SECOND = (
    "Bank",
    "Insurance",
    "Clearing",
    "Trust",
    "Payments",
    "Credit Union",
    "Custody",
    "Broking",
    "Mutual",
    "Leasing",
)
QUESTIONS = (
    "Is our key policy right?",
    "Which account do we name?",
    "We move to another Region",
    "The test still fails",
)
SERVING = frozenset(KeyRegistration.SERVING)


def seed(tenants: int, *, uses_each: int = USES_EACH, seed_of_chance: int = 1) -> dict[str, int]:
    """Make that many tenants with all that belongs to them; returns how many rows of what there are now.

    Args:
        uses_each: rows of `KeyUse` for each tenant whose key serves.
        seed_of_chance: the same number makes the same fleet, ids apart.
    """
    chance = random.Random(seed_of_chance)  # noqa: S311  a fleet for show
    before, now = Tenant.objects.count(), clock.now()
    roles = _service_roles(before, tenants)
    made: list[uuid.UUID] = []
    for start in range(0, tenants, CHUNK):
        numbers = range(before + start, before + min(start + CHUNK, tenants))
        chunk = [_Made(number, roles[number // PINNED], chance, now) for number in numbers]
        with transaction.atomic():
            _insert(chunk)
            _checks(chunk)
            _uses([one.tenant.pk for one in chunk], uses_each)
        made += [one.tenant.pk for one in chunk]
    _policies(roles)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    projection.refresh(made)
    newest = AuditEvent.objects.aggregate(newest=Max("pk"))["newest"] or 0
    FleetFigures.objects.get_or_create(pk=1)
    FleetFigures.objects.filter(pk=1).update(through=newest)
    counting.count()
    counted: tuple[type[Model], ...] = (Tenant, OnboardingMove, EncryptionTest, Ticket, AuditEvent)
    return {model._meta.model_name or "": model._default_manager.count() for model in counted}


class _Made:
    """One tenant with its rows, not saved."""

    def __init__(self, number: int, role: ServiceRole, chance: random.Random, now: datetime) -> None:
        self.story = chance.choices(STORIES, [story.weight for story in STORIES])[0]
        self.at = now - timedelta(days=chance.uniform(0.2, 400 if self.story.status in SERVING else 60))
        self.now, self.chance, self.number = now, chance, number
        name = f"{chance.choice(FIRST)} {chance.choice(SECOND)} {number:06d}"
        self.tenant = Tenant(name=name, service_role=role, created_at=self.at, key_changed_at=self.at)
        email = f"owner-{number}@tenant-{number}.example"
        self.user = User(username=email, email=email, password=make_password(None), date_joined=self.at)
        self.events: list[AuditEvent] = []
        self.name = persons.new_name(email, self.tenant)
        self.moves: list[OnboardingMove] = []
        self._record("tenants.tenant.created", self.at, "kore:command line", name=name)
        self._record(
            "tenants.member.joined",
            self.at,
            email=persons.reference(self.name),
            role="owner",
            invited_by="kore:command line",
        )
        self._steps()
        self.registration, self.health, self.branch_key = self._registration()
        self.registration_moves = self._registration_moves()
        self.test = self._test()
        self.configuration = self._configuration()
        self.ticket, self.messages = self._ticket()

    def _record(self, name: str, at: datetime, actor: str = "", target: object = "", /, **data: object) -> None:
        actor = actor or f"member:{persons.reference(self.name)}"
        payload = audit.canonical(
            {"name": name, "tenant": str(self.tenant.pk), "actor": actor, "via": "portal", "target": str(target)}
            | {"at": at.isoformat(), "data": data}
        )
        self.events.append(
            AuditEvent(
                tenant=self.tenant,
                name=name,
                actor=actor,
                payload=payload,
                at=at,
                followed_at=at,
                request_id=uuid.UUID(int=self.chance.getrandbits(128)).hex,
            )
        )

    def _steps(self) -> None:
        at, self.steps = self.at, []
        for number in (1, 2, 3, 4, 6, 5):
            status = self.story.steps[number - 1]
            step = OnboardingStep(tenant=self.tenant, number=number, status=status, since=at)
            self.steps.append(step)
            if status in {NOT_YET, "skipped"}:
                continue
            self._step_moved(step, NOT_YET, WAITING, at)
            if status != WAITING:
                at = min(at + timedelta(minutes=self.chance.lognormvariate(3, 2)), self.now)
                self._step_moved(step, WAITING, status, at)
            step.since = at
        self.settled_at = at

    def _step_moved(self, step: OnboardingStep, old: str, new: str, at: datetime) -> None:
        actor = f"member:{self.user.email}"
        self.moves.append(
            OnboardingMove(tenant=self.tenant, step=step, old_status=old, new_status=new, actor=actor, at=at)
        )
        self._record("tenants.step.changed", at, step=step.number, old=old, new=new, reason="")

    def _registration(self) -> tuple[KeyRegistration | None, KeyHealth | None, BranchKey | None]:
        story = self.story
        if not story.status:
            return None, None, None
        account, region = f"{300_000_000_000 + self.number:012d}", self.chance.choice(REGIONS)
        key = f"arn:aws:kms:{region}:{account}:key/{uuid.UUID(int=self.chance.getrandbits(128), version=4)}"
        serves = story.status in SERVING
        moved = max(self.settled_at, self.now - timedelta(days=self.chance.uniform(0, 5))) if story.reason else None
        registration = KeyRegistration(
            tenant=self.tenant, key_arn=key, status=story.status, reason=story.reason, suspended_by=story.suspended_by,
            role_arn=f"arn:aws:iam::{account}:role/AIforWorkByokAccessRole" if story.has_role else "",
            role_claim=f"{account}/aiforworkbyokaccessrole" if serves else None, created_at=self.at,
            moved_at=moved or self.settled_at, changed_at=self.settled_at,
            submitted_at=self.settled_at if story.status != "draft" else None,
            activated_at=self.settled_at if serves else None,
            tenant_suspended_at=moved if story.suspended_by == "tenant" else None,
        )  # fmt: skip
        if not serves:
            return registration, None, None
        deletion = (self.now + timedelta(days=story.deletes_in)).isoformat()
        health = KeyHealth(
            tenant=self.tenant, registration=registration, region=region, last_probe_at=self.now,
            next_probe_at=self.now + timedelta(days=3_650),
            key_facts={"deletion_at": deletion} if story.deletes_in else {},
        )  # fmt: skip
        branch_key = BranchKey(
            tenant=self.tenant, registration=registration, key_arn=key, wrapped=b"seeded", created_at=self.settled_at
        )
        return registration, health, branch_key

    def _registration_moves(self) -> list[RegistrationMove]:
        registration, found = self.registration, []
        if registration is None or registration.status == "draft":
            return []
        way = ["draft", "submitted", "configuring", "testing"]
        if registration.status in SERVING:
            way.append("active")
        if registration.status not in way:
            way.append(registration.status)
        way.index(registration.status)
        for old, new in itertools.pairwise(way):
            at = registration.moved_at if new == registration.status else self.settled_at
            found.append(
                RegistrationMove(
                    tenant=self.tenant,
                    registration=registration,
                    old_status=old,
                    new_status=new,
                    actor="system",
                    at=at,
                    reason=registration.reason if new == registration.status else "",
                )
            )
            self._record("keys.registration.moved", at, "system", registration.pk, old=old, new=new, reason="")
        return found

    def _test(self) -> EncryptionTest | None:
        if not self.story.verdict or self.registration is None:
            return None
        is_over = self.story.verdict != "unknown"
        at = max(self.settled_at, self.now - timedelta(days=self.chance.uniform(0, 30)))
        return EncryptionTest(
            tenant=self.tenant, registration=self.registration, requested_by=f"member:{self.user.email}",
            status="finished" if is_over else "waiting", verdict=self.story.verdict, created_at=at, started_at=at,
            finished_at=at + timedelta(seconds=self.chance.uniform(1, 70)) if is_over else None, due_at=None,
        )  # fmt: skip

    def _configuration(self) -> RoleConfiguration | None:
        if self.registration is None or self.registration.status == "draft":
            return None
        waits = self.registration.status == "configuring"
        evidence = {} if waits else {"version": "v3", "request_id": str(uuid.UUID(int=self.chance.getrandbits(128)))}
        return RoleConfiguration(
            tenant=self.tenant, registration=self.registration, service_role=self.tenant.service_role, action="add",
            role_arn=self.registration.role_arn, status="waiting_for_approval" if waits else "done", due_at=None,
            created_at=self.settled_at, finished_at=None if waits else self.settled_at, evidence=evidence,
        )  # fmt: skip

    def _ticket(self) -> tuple[Ticket | None, list[TicketMessage]]:
        if self.chance.random() * 100 > self.story.ticket:
            return None, []
        at = self.now - timedelta(hours=self.chance.expovariate(1 / 30))
        status = self.chance.choices(["waiting_for_kore", "waiting_for_tenant", "closed"], [1, 6, 12])[0]
        ticket = Ticket(
            tenant=self.tenant, subject=self.chance.choice(QUESTIONS), status=status, since=at, created_at=at,
            opened_by=f"member:{self.user.email}", closed_at=at if status == "closed" else None,
        )  # fmt: skip
        clocks.ask(ticket, at)
        if status != "waiting_for_kore":
            clocks.answer(ticket, at + timedelta(hours=1))
        clocks.start(ticket, at)
        text = "We pasted your statement as it is. The test still says that Decrypt is refused."
        messages = [TicketMessage(tenant=self.tenant, ticket=ticket, author=ticket.opened_by, text=text, at=at)]
        self._record("support.ticket.opened", at, "", ticket.pk, subject=ticket.subject)
        return ticket, messages


def _insert(made: list[_Made]) -> None:
    def every(name: str) -> list[Any]:
        found = [getattr(one, name) for one in made]
        return [row for row in found if row is not None]

    def all_of(name: str) -> Iterator[Any]:
        return (row for one in made for row in getattr(one, name))

    Tenant.objects.bulk_create(every("tenant"), batch_size=CHUNK)
    users = User.objects.bulk_create(every("user"), batch_size=CHUNK)
    Member.objects.bulk_create(
        [
            Member(tenant=one.tenant, user=user, role=Role.OWNER, created_at=one.at, role_since=one.at)
            for one, user in zip(made, users, strict=True)
        ]
    )
    OnboardingStep.objects.bulk_create(all_of("steps"), batch_size=CHUNK)
    OnboardingMove.objects.bulk_create(all_of("moves"), batch_size=CHUNK)
    KeyRegistration.objects.bulk_create(every("registration"), batch_size=CHUNK)
    for model, name in (
        (KeyHealth, "health"),
        (BranchKey, "branch_key"),
        (EncryptionTest, "test"),
        (RoleConfiguration, "configuration"),
        (Ticket, "ticket"),
    ):
        model._default_manager.bulk_create(every(name), batch_size=CHUNK)
    RegistrationMove.objects.bulk_create(all_of("registration_moves"), batch_size=CHUNK)
    TicketMessage.objects.bulk_create(all_of("messages"), batch_size=CHUNK)
    PersonName.objects.bulk_create(every("name"), batch_size=CHUNK)
    AuditEvent.objects.bulk_create(all_of("events"), batch_size=CHUNK)


def _service_roles(before: int, tenants: int) -> dict[int, ServiceRole]:
    """Return the service role of each block of tenants; those that are missing are made."""
    needed = range(before // PINNED, (before + tenants - 1) // PINNED + 1)
    names = {number: f"byok-seeded-{number:03d}" for number in needed}
    known = ServiceRole.objects.in_bulk(list(names.values()), field_name="name")
    new = [
        ServiceRole(
            name=name, arn=f"arn:aws:iam::{OUR_ACCOUNT}:role/{name}", unique_id=f"AROASEEDED{number:011d}",
            is_open=number == needed[-1],
        )
        for number, name in names.items()
        if name not in known
    ]  # fmt: skip
    known |= {role.name: role for role in ServiceRole.objects.bulk_create(new)}
    return {number: known[name] for number, name in names.items()}


def _policies(roles: dict[int, ServiceRole]) -> None:
    """Write down which policy names which role, as the configuration worker would have packed them."""
    for role in roles.values():
        if ServiceRolePolicy.objects.filter(service_role=role).exists():
            continue
        named = KeyRegistration.objects.filter(tenant__service_role=role).exclude(role_arn="").exclude(status="draft")
        arns = list(named.order_by("role_arn").values_list("role_arn", flat=True))
        each = max(1, -(-len(arns) // 10))
        ServiceRolePolicy.objects.bulk_create(
            ServiceRolePolicy(service_role=role, slot=slot, role_arns=arns[slot * each : (slot + 1) * each])
            for slot in range(10)
        )


def _checks(made: list[_Made]) -> None:
    """Give each test its checks; the database writes the rows itself, one statement for each check of each story."""
    groups: dict[tuple[str, str, str], list[uuid.UUID]] = defaultdict(list)
    for one in made:
        if one.test is not None:
            groups[(one.story.verdict, *one.story.failed)].append(one.test.pk)
    is_sqlite = connection.vendor == "sqlite"
    with connection.cursor() as cursor:
        for (verdict, failing, document), tests in groups.items():
            ids = [pk.hex if is_sqlite else str(pk) for pk in tests]
            statement = CHECK.format(tests=",".join(["%s"] * len(ids)), evidence=_evidence())
            for position, check in enumerate(CHECKS):
                failed = check.code == failing
                of_check = "fail" if failed else "unknown" if verdict == "unknown" and position > 4 else "pass"
                facts: list[Any] = [position, check.code, check.title, check.step, of_check, document if failed else ""]
                cursor.execute(statement, [*facts, *ids])


CHECK = """
INSERT INTO keys_checkresult
  (tenant_id, test_id, position, code, title, step, verdict, document, causes, evidence, remedy, corrected, believed,
   decide, at)
SELECT tenant_id, id, %s, %s, %s, %s, %s, %s, '[]', {evidence}, '', '', '', '', created_at
FROM keys_encryptiontest WHERE id IN ({tests})
"""


def _evidence() -> str:
    if connection.vendor == "postgresql":
        return "jsonb_build_object('request_id', gen_random_uuid()::text)"
    return "json_object('request_id', lower(hex(randomblob(16))))"


def _uses(tenants: list[uuid.UUID], each: int) -> None:
    """Write down that many uses of each key in service, spread over the last ninety days."""
    is_sqlite = connection.vendor == "sqlite"
    ids = [pk.hex if is_sqlite else str(pk) for pk in tenants]
    if not each or not ids:
        return
    with connection.cursor() as cursor:
        text = (USES_SQLITE if is_sqlite else USES_POSTGRESQL).format(tenants=",".join(["%s"] * len(ids)))
        cursor.execute(text, [each, *ids] if is_sqlite else [*ids, each])


USES_POSTGRESQL = """
INSERT INTO keys_keyuse (tenant_id, operation, count, caller, context_digest, request_id, data_scope, at)
SELECT r.tenant_id, CASE WHEN n % 4 = 0 THEN 'generate' ELSE 'decrypt' END, 1, 'service:search', repeat('0', 64), '',
  'default', now() - random() * interval '90 days'
FROM (SELECT tenant_id FROM keys_keyregistration WHERE status = 'active' AND tenant_id IN ({tenants})) AS r,
  generate_series(1, %s) AS n
""".replace("n % 4", "n %% 4")
USES_SQLITE = """
INSERT INTO keys_keyuse (tenant_id, operation, count, caller, context_digest, request_id, data_scope, at)
WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < %s)
SELECT r.tenant_id, CASE WHEN n % 4 = 0 THEN 'generate' ELSE 'decrypt' END, 1, 'service:search', hex(zeroblob(32)), '',
  'default', strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || (abs(random()) % 7776000) || ' seconds')
FROM keys_keyregistration AS r, c WHERE r.status = 'active' AND r.tenant_id IN ({tenants})
""".replace("%", "%%").replace("< %%s", "< %s")
