"""The cast, the local AWS and the work of the workers: what every scenario starts from."""

from __future__ import annotations

import json
import os
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import emptied_database
import prepared_database
import pytest
import worlds
from allauth.mfa.models import Authenticator
from cryptography.hazmat.primitives.asymmetric import ec
from django import conf
from django.contrib.auth.models import Group, User
from django.test import Client, TransactionTestCase
from django.urls import resolve
from django.utils import timezone
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import Aaguid, AttestationObject, AttestedCredentialData, AuthenticatorData

from byokportal import clock, database, schema
from byokportal.localaws.testing import LocalAws
from keys import branchkeys, datakeys, health, retirement, services
from keys.arns import KeyArn, RoleArn
from keys.aws import sessions
from keys.configuration import apply, opening
from keys.datakeys import admission
from keys.models import BranchKey, EncryptionTest, KeyHealth, KeyRegistration, RoleConfiguration, ServingProcess
from keys.proof.encryption_test import runner
from support import follow
from support import services as support_services
from support.models import WebhookDelivery, WebhookEndpoint
from tenants import attempts, audit, fresh, roles, tokens
from tenants import services as tenant_services
from tenants.audit import Actor
from tenants.models import (
    Approval,
    AuditEvent,
    Invitation,
    LogStream,
    Member,
    Role,
    ServiceAccount,
    ServiceRole,
    Tenant,
)

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # playwright runs a loop in the test's own thread

CUSTOMER = "111122223333"
OTHER_CUSTOMER = "444455556666"
REGION = "eu-central-1"
PASSWORD = "a long passphrase of tests"


# --- the second run, on PostgreSQL and Redis -------------------------------------------------------------


SHARE = 8  # of the tests that run on servers one in so many runs beside them too, on SQLite


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--on-servers", action="store_true", help="leave out what asks neither database nor broker")
    parser.addoption(
        "--beside-servers",
        action="store_true",
        help=f"leave out what --on-servers runs, but for one in {SHARE}: always the same ones",
    )


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name after its argument what is another one in each process: workers that collect other names run nothing.

    Those are bytes (compressed ones hold the second in which they were made) and names of temporary folders.
    """
    is_temporary = isinstance(val, str) and str(conf.settings.VAR_DIR) in val
    return argname if isinstance(val, bytes) or is_temporary else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run on servers, or beside them, what belongs there: each test is in one of the two runs at least."""
    if config.getoption("--on-servers"):
        kept = [item for item in items if _asks_servers(item)]
    elif config.getoption("--beside-servers"):
        kept = [item for item in items if not _is_run_on_servers(item) or _is_for_sqlite_too(item)]
    else:
        return
    chosen = {item.nodeid for item in kept}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in chosen])
    items[:] = kept


def _asks_servers(item: pytest.Item) -> bool:
    """Tell whether a test asks a database or a broker, or says so; pages in a browser are left out."""
    fixtures = set(getattr(item, "fixturenames", ()))
    asks = item.get_closest_marker("django_db") or fixtures & {"db", "transactional_db"} or "servers" in item.keywords
    return bool(asks) and "page" not in fixtures


def _is_run_on_servers(item: pytest.Item) -> bool:
    """Tell whether tests/on_servers.py runs a test: long ones only where they say so."""
    return _asks_servers(item) and ("slow" not in item.keywords or "servers" in item.keywords)


def _is_for_sqlite_too(item: pytest.Item) -> bool:
    return "sqlite" in item.keywords or zlib.crc32(item.nodeid.encode()) % SHARE == 0


# --- the database ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def django_db_keepdb(request: pytest.FixtureRequest, django_db_modify_db_settings: None) -> bool:
    """Start from a file that is migrated already, where there is one: pytest-django then keeps what it finds."""
    return prepared_database.copy() or bool(request.config.getvalue("reuse_db"))


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_keepdb: bool, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        if not django_db_keepdb:
            prepared_database.keep()
        emptied_database.remember()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", emptied_database.after_each_test())
        yield


# --- the local AWS ---------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _local_aws() -> Iterator[LocalAws]:
    from django.conf import settings

    with LocalAws(var_dir=settings.VAR_DIR) as aws:
        yield aws


@pytest.fixture
def aws(_local_aws: LocalAws) -> LocalAws:
    """The local AWS with fresh accounts; our own caches of sessions forget the last test."""
    _local_aws.reset()
    sessions.forget_all()
    datakeys.start_anew()
    return _local_aws


@dataclass
class Customer:
    """The customer's engineer in the AWS console: acts with the customer account's own credentials."""

    aws: LocalAws
    account: str = CUSTOMER
    role_name: str = "AIforWorkByokAccessRole"
    key_arn: str = ""
    role_arn: str = ""

    @property
    def iam(self) -> Any:
        return self.aws.client(self.account, "iam", "us-east-1")

    @property
    def kms(self) -> Any:
        return self.aws.client(self.account, "kms", REGION)

    def create_key(self, **options: Any) -> str:
        self.key_arn = self.kms.create_key(**options)["KeyMetadata"]["Arn"]
        return self.key_arn

    def create_role(self, trust: str, permissions: str = "") -> str:
        self.role_arn = self.iam.create_role(RoleName=self.role_name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        if permissions:
            policy = self.iam.create_policy(
                PolicyName=f"AIforWorkKMSPolicy-{self.role_name}", PolicyDocument=permissions
            )
            self.iam.attach_role_policy(RoleName=self.role_name, PolicyArn=policy["Policy"]["Arn"])
        return self.role_arn

    def set_trust(self, trust: str) -> None:
        self.iam.update_assume_role_policy(RoleName=self.role_name, PolicyDocument=trust)

    def add_key_statement(self, statement: dict[str, Any]) -> None:
        policy = json.loads(self.kms.get_key_policy(KeyId=self.key_arn, PolicyName="default")["Policy"])
        policy["Statement"] = [s for s in policy["Statement"] if s.get("Sid") != statement["Sid"]] + [statement]
        self.kms.put_key_policy(KeyId=self.key_arn, PolicyName="default", Policy=json.dumps(policy))

    def follow_the_guide(self, tenant: Tenant, actor: Actor, *, trust: str = "") -> None:
        """Steps 1 to 3 with the documents as we render them; the ARNs are saved as drafts."""
        save_draft(tenant, key_arn=self.create_key(), actor=actor)
        self.create_role(
            trust or services.document(tenant, "trust-policy"), services.document(tenant, "permissions-policy")
        )
        save_draft(tenant, role_arn=self.role_arn, actor=actor)
        self.add_key_statement(json.loads(services.document(tenant, "key-policy-statement")))


@pytest.fixture
def customer(aws: LocalAws) -> Customer:
    return Customer(aws)  # `active` gives it key and role


@pytest.fixture(autouse=True)
def _heads_of_another_test(settings: Any) -> None:
    """Publish to a folder of one's own: beside the heads of another test this database would be one of before them."""
    heads = Path(settings.VAR_DIR) / f"heads-{uuid.uuid4()}"
    heads.mkdir(parents=True)
    settings.SEAL_HEADS_DIR = str(heads)


@pytest.fixture(autouse=True)
def _nobody_has_tried_anything() -> None:
    attempts.forget_all()


@pytest.fixture(autouse=True)
def _a_page_waits_for_a_loaded_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a page wait longer for the database than it may in production; tests of that bound set their own."""
    monkeypatch.setattr(database, "SECONDS", 120.0)


# --- the cast ------------------------------------------------------------------------------------------------


# Where a test may begin: the last fixture that is made there already, and what that is made from. A test that has one
# of these of its own does not begin behind it.
BEGINNINGS = (
    ("active", ("service_role", "tenant", "alice", "customer", "work", "active")),
    ("alice", ("service_role", "tenant", "alice")),
    ("tenant", ("service_role", "tenant")),
)


@pytest.fixture
def _world(request: pytest.FixtureRequest, db: None, aws: LocalAws) -> None:
    """Begin with a service role, and with all that is wanted of Acme Bank: the organisation, its owner, its key in
    service (`worlds`)."""
    if request.node.get_closest_marker("anew") is not None:
        _open()
        return
    holders = (request.module, request.cls)
    for name, made_from in BEGINNINGS:
        if name in request.fixturenames and not any(hasattr(one, part) for one in holders for part in made_from):
            worlds.put_back(name, partial(_begin_with, name, aws), aws)
            break
    else:
        worlds.put_back("role", _open, aws)
    sessions.forget_all()
    datakeys.start_anew()


@pytest.fixture(autouse=True)
def _world_comes_first(request: pytest.FixtureRequest) -> None:
    """Put a world back into an empty database, whatever else a test asks for before it: a row that is there already
    may have the id of one of its rows."""
    if "_world" in request.fixturenames:
        request.getfixturevalue("_world")


def _open() -> None:
    opening.open_service_role()


def _begin_with(name: str, aws: LocalAws) -> None:
    _open()
    tenant = tenant_services.create_tenant("Acme Bank", owner_email="alice@acme.example", actor=audit.COMMAND)
    if name == "tenant":
        return
    owner = owner_of(tenant)
    if name == "active":
        _through_the_six_steps(tenant, owner, Customer(aws), _work_until_quiet)


@pytest.fixture
def service_role(_world: None) -> ServiceRole:
    return ServiceRole.objects.get()


@pytest.fixture
def tenant(service_role: ServiceRole) -> Tenant:
    """Alice's organisation."""
    found = Tenant.objects.filter(name="Acme Bank").select_related("service_role").first()
    return found or tenant_services.create_tenant("Acme Bank", owner_email="alice@acme.example", actor=audit.COMMAND)


def join(invitation: Invitation) -> Member:
    """Accept an invitation as the person who got the mail."""
    return tenant_services.accept_invitation(tenant_services.new_link(invitation), password=PASSWORD)


def owner_of(tenant: Tenant) -> Member:
    """Return the first owner of an organisation, who accepts the invitation now."""
    return join(tenant.invitations.get())


def invited(tenant: Tenant, email: str, role: str) -> Member:
    """Invite a person, who accepts."""
    owner = tenant.members.filter(role=Role.OWNER).first() or owner_of(tenant)
    return join(tenant_services.invite(tenant, email=email, role=role, actor=acting(owner)))


def a_former_member(owner: Member) -> Member:
    """Somebody who was in for a while."""
    gone = invited(owner.tenant, "gone@acme.example", Role.AUDITOR)
    tenant_services.remove_member(gone, reason="left", actor=acting(owner))
    return gone


@pytest.fixture
def alice(tenant: Tenant) -> Member:
    """Owner of Acme Bank."""
    return tenant.members.filter(role=Role.OWNER).first() or owner_of(tenant)


@pytest.fixture
def bob(tenant: Tenant) -> Member:
    """Auditor of Acme Bank: reads only."""
    return invited(tenant, "bob@acme.example", Role.AUDITOR)


@pytest.fixture
def mallory(service_role: ServiceRole) -> Member:
    """Owner of another organisation."""
    other = tenant_services.create_tenant("Mallory Ltd", owner_email="mallory@evil.example", actor=audit.COMMAND)
    return owner_of(other)


@pytest.fixture
def sam(db: None) -> User:
    """Support lead at Kore.ai."""
    user = User.objects.create_user("sam@kore.example", "sam@kore.example", "sam-password-of-tests", is_staff=True)
    user.groups.add(Group.objects.get(name="Support lead"))
    return user


@pytest.fixture
def service(tenant: Tenant) -> ServiceAccount:
    """A platform service that may do everything for Acme Bank, and nothing for others."""
    account, _ = tenant_services.create_service_account(
        "search", tenants=[tenant], scopes=roles.SCOPES, actor=audit.COMMAND
    )
    return account


def lines_by(label: str, name: str) -> list[AuditEvent]:
    """Return the lines of an event, in whatever log, that an actor of this label wrote; people by their names."""
    return [one for one in AuditEvent.objects.filter(name=name) if audit.actor_of(one) == label]


def acting(member: Member) -> Actor:
    """Return the member as the actor of an operation."""
    return Actor.of_member(member, via="portal", signed_in_at=clock.now())


def save_draft(tenant: Tenant, *, key_arn: str = "", role_arn: str = "", actor: Actor) -> KeyRegistration:
    """Save what a person typed, as a form or the API does; "" is an ARN that is not given."""
    given: dict[str, Any] = {"key_arn": KeyArn.parse(key_arn)} if key_arn else {}
    given |= {"role_arn": RoleArn.parse(role_arn)} if role_arn else {}
    return services.save_draft(tenant, **given, actor=actor)


def an_approval(member: Member) -> Approval:
    """Write down that a member asks a second person for a longer latency."""
    return Approval.objects.create(
        tenant=member.tenant,
        operation="keys.set_latency",
        arguments='{"seconds": 900}',
        sentence="Raise the revocation latency to 900 seconds",
        reason="a slow night",
        requested_by=member,
        via="portal",
        expires_at=clock.now() + timedelta(hours=24),
    )


def a_webhook(member: Member) -> WebhookEndpoint:
    """Add a webhook that nobody answers, with one delivery that was given up."""
    webhook, _ = support_services.add_webhook(
        member.tenant,
        format="standard",
        address="https://hooks.acme.example/byok",
        description="SIEM",
        kinds=["key"],
        actor=acting(member),
    )
    event = AuditEvent.objects.filter(tenant=member.tenant).earliest("pk")
    WebhookDelivery.objects.create(tenant=member.tenant, endpoint=webhook, event=event, status="dead", why="gone")
    return webhook


def a_log_stream(member: Member, *, actor: Actor | None = None) -> LogStream:
    """Stream the log to a receiver that nobody answers, and that took a line long ago."""
    stream, _ = tenant_services.add_log_stream(
        member.tenant,
        format="webhook",
        address="https://siem.acme.example/byok",
        description="SIEM",
        actor=actor or acting(member),
    )
    LogStream.objects.filter(pk=stream.pk).update(acknowledged=1)
    return stream


def acting_staff(user: User) -> Actor:
    """Return one of Kore.ai's staff, signed in a moment ago, as the actor."""
    return Actor.staff(user, signed_in_at=clock.now())


def let_in(lead: User, *, by: Actor) -> None:
    """Let one lead have given another one their groups: the two are no two for what needs a second lead."""
    facts = {"email": lead.email, "groups": "Support lead", "reason": "r"}
    audit.record("tenants.staff.regrouped", tenant=None, actor=by, target=lead, **facts)


@pytest.fixture
def browser_of() -> Callable[..., Client]:
    """Return a test client of a person who has just signed in; `is_fresh=False`: who signed in some time ago."""

    def sign_in(person: Member | User, *, is_fresh: bool = True) -> Client:
        client, user = Client(), person.user if isinstance(person, Member) else person
        client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
        if is_fresh:
            session = client.session
            session[fresh.KEY] = {"user": str(user.pk), "at": clock.now().timestamp()}
            session.save()
        return client

    return sign_in


def passkey_of(member: Member) -> Authenticator:
    """Store a passkey as a browser makes it."""
    public = ES256.from_cryptography_key(ec.generate_private_key(ec.SECP256R1()).public_key())
    made = AttestedCredentialData.create(Aaguid.NONE, b"one", public)
    data = AuthenticatorData.create(b"r" * 32, AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.AT, 0, made)
    response = {
        "attestationObject": websafe_encode(bytes(AttestationObject.create("none", data, {}))),
        "clientDataJSON": websafe_encode(
            b'{"type": "webauthn.create", "challenge": "eA", "origin": "http://testserver"}'
        ),
    }
    credential = {
        "id": websafe_encode(b"one"),
        "rawId": websafe_encode(b"one"),
        "type": "public-key",
        "response": response,
    }
    return Authenticator.objects.create(
        user=member.user, type="webauthn", data={"name": "Laptop", "credential": credential}
    )


class DocumentedClient(Client):
    """A client that takes no problem which the OpenAPI does not name for that address."""

    def request(self, **request: Any) -> Any:
        answer = super().request(**request)
        view = getattr(resolve(request["PATH_INFO"]).func, "cls", None)  # None: beside the API, as mail gateways' is
        is_problem = answer.get("Content-Type") == "application/problem+json"
        if view is not None and is_problem and answer.json()["code"] != "bug":
            code = answer.json()["code"]
            named = schema.codes_of(view) | (schema.IDEMPOTENT if "HTTP_IDEMPOTENCY_KEY" in request else set())
            assert code in named, f"{view.__name__} answers {code}, which its `problems` do not name"
        return answer


@pytest.fixture
def api_of() -> Callable[[Member | ServiceAccount], Client]:
    """Return an API client that carries a bearer token of a member or a service account."""

    def with_token(caller: Member | ServiceAccount) -> Client:
        if isinstance(caller, Member):
            permissions = set(roles.TOKEN_PERMISSIONS) - (set() if caller.role == Role.OWNER else {roles.PEOPLE})
            _, raw = tenant_services.mint_token(
                caller, name="tests", permissions=permissions, days=30, may_change_serving_key=True, actor=audit.COMMAND
            )
        else:
            _, raw = tokens.issue(caller, scopes=caller.scopes)
        return DocumentedClient(headers={"authorization": f"Bearer {raw}", "accept": "application/json"})

    return with_token


@pytest.fixture
def exported(tenant: Tenant, bob: Member, api_of: Callable[[Any], Client], tmp_path: Path) -> Callable[[], Path]:
    """Return a function that exports the log as it stands, as the organisation's auditor does."""
    client = api_of(bob)

    def export() -> Path:
        answer = client.get(f"/api/v1/tenants/{tenant.pk}/events/export")
        file = tmp_path / "log.jsonl"
        file.write_bytes(b"".join(answer.streaming_content))
        return file

    return export


# --- the workers --------------------------------------------------------------------------------------------


def _work_until_quiet() -> None:
    """Do all due work until nothing is due: what the worker and beat do."""
    for _ in range(60):
        now = timezone.now()
        configurations = list(RoleConfiguration.objects.due(now))
        tests = list(EncryptionTest.objects.due(now))
        branch_keys = list(BranchKey.objects.due(now))
        for branch_key in branch_keys:
            branchkeys.attend(str(branch_key.pk))
        for registration in retirement.unneeded():
            retirement.retire(registration)
        for configuration in configurations:
            apply.apply(str(configuration.pk))
        for test in tests:
            runner.run(str(test.pk))
        if not configurations and not tests and not branch_keys and not follow.follow():
            return
    raise AssertionError("the work never ends")


@pytest.fixture
def work() -> Callable[[], None]:
    """Return a function that does all due work until nothing is due."""
    return _work_until_quiet


def health_of(registration: KeyRegistration) -> KeyHealth:
    """Return what the probes of a registration's key have found, as the database has it, with this registration."""
    row = KeyHealth.objects.get(registration=registration)
    row.registration = registration
    return row


def with_health(registration: KeyRegistration, **facts: Any) -> KeyRegistration:
    """Give a registration that a test put in service itself the row that activation makes."""
    KeyHealth.objects.create(
        tenant_id=registration.tenant_id, registration=registration, region="eu-central-1", **facts
    )
    return registration


@pytest.fixture
def probe_now() -> Callable[[KeyRegistration], KeyRegistration]:
    """Return a function that probes a registration now, whenever it would be due, and reloads it."""

    def probe(registration: KeyRegistration) -> KeyRegistration:
        KeyHealth.objects.filter(registration=registration).update(next_probe_at=timezone.now())
        health.probe(str(registration.pk))
        registration.refresh_from_db()
        return registration

    return probe


def heartbeat(*processes: ServingProcess) -> None:
    """Let these processes write, as `keys.datakeys.snapshots` does, that they have read now what has changed."""
    seen = admission.ask()
    rows = ServingProcess.objects.filter(pk__in=[process.pk for process in processes])
    rows.update(seen_at=clock.now(), seen_snapshot=seen.snapshot)


@pytest.fixture
def active(tenant: Tenant, alice: Member, customer: Customer, work: Callable[[], None]) -> KeyRegistration:
    """Acme Bank with its key in service, by the six steps."""
    registration = KeyRegistration.objects.filter(tenant=tenant).select_related("tenant__service_role").first()
    if registration is None:
        _through_the_six_steps(tenant, alice, customer, work)
        registration = KeyRegistration.objects.get(tenant=tenant)
    customer.key_arn, customer.role_arn = registration.key_arn, registration.role_arn
    assert registration.status == KeyRegistration.Status.ACTIVE, registration.reason
    return registration


def _through_the_six_steps(tenant: Tenant, owner: Member, customer: Customer, work: Callable[[], None]) -> None:
    customer.follow_the_guide(tenant, acting(owner))
    services.submit_registration(tenant, actor=acting(owner))
    work()
