"""Our way into AWS: whose credentials are used, what is kept, and when it is asked anew."""

from __future__ import annotations

import http.client
import http.server
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import REGION, Customer, acting

from byokportal.localaws import operations
from byokportal.localaws.testing import LocalAws
from keys import aws as keys_aws
from keys import errors, services
from keys.access import Access
from keys.arns import RoleArn
from keys.aws import clients, iam, regions, sessions
from keys.models import KeyRegistration
from tenants.models import Member, ServiceRole, Tenant

DEVELOPER = {
    "AWS_PROFILE": "a-profile-that-is-not-there",
    "AWS_ACCESS_KEY_ID": "AKIADEVELOPER0000000",
    "AWS_SECRET_ACCESS_KEY": "the-developers-own",
    "AWS_SESSION_TOKEN": "the-developers-own",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "AWS_STS_REGIONAL_ENDPOINTS": "legacy",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
}


@pytest.fixture
def developer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's shell with AWS credentials, a profile and a proxy of its own;
    every session is opened anew in it."""
    home = tmp_path / "home"
    (home / ".aws").mkdir(parents=True)
    (home / ".aws" / "config").write_text("[default]\nregion = us-west-2\nendpoint_url = http://127.0.0.1:9\n")
    (home / ".aws" / "credentials").write_text("[default]\naws_access_key_id = AKIAHOME\naws_secret_access_key = x\n")
    monkeypatch.setenv("HOME", str(home))
    for name, value in DEVELOPER.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(clients, "_boto3", {})
    sessions.forget_all()


def test_the_developers_own_aws_is_never_used(aws: LocalAws, developer: None, settings: Any) -> None:
    who = sessions.identity(None, REGION)
    assert who.account == settings.AWS_ACCOUNT_ID
    assert who.arn == iam.base_principal()


def test_what_is_known_of_aws_asks_for_no_profile(developer: None) -> None:
    regions._known.cache_clear()
    assert REGION in regions.of("aws")["aws"]
    operations.model.cache_clear()
    assert "Decrypt" in operations.model("kms").operation_names


def test_without_localaws_json_nothing_is_asked(developer: None, settings: Any, tmp_path: Path) -> None:
    for text in (None, "", "{}", '{"accounts": {}}'):
        settings.LOCALAWS_FILE = tmp_path / f"localaws-{len(text or '')}.json"
        if text is not None:
            settings.LOCALAWS_FILE.write_text(text)
        sessions.forget_all()
        with pytest.raises(errors.OwnAccessBroken, match=r"localaws.*json"):
            sessions.identity(None, REGION)


def test_an_account_that_is_not_in_localaws_json_is_named(aws: LocalAws) -> None:
    with pytest.raises(errors.OwnAccessBroken, match="121212121212"):
        clients.client("iam", "us-east-1", account="121212121212")


def test_a_local_aws_that_does_not_listen_is_unreachable_not_denied(
    service_role: ServiceRole, settings: Any, tmp_path: Path
) -> None:
    settings.LOCALAWS_FILE = tmp_path / "localaws.json"
    keys = {"access_key_id": "AKIA", "secret_access_key": "x"}
    settings.LOCALAWS_FILE.write_text(
        json.dumps({"endpoint": "http://127.0.0.1:9", "accounts": {settings.AWS_ACCOUNT_ID: keys}})
    )
    with pytest.raises(errors.AwsUnreachable) as unreachable:
        sessions.service_role(service_role.arn, REGION)
    assert unreachable.value.params["action"] == "sts:AssumeRole"


def test_a_session_is_kept_until_a_minute_before_its_end(service_role: ServiceRole, aws: LocalAws) -> None:
    first = sessions.service_role(service_role.arn, REGION)
    assert sessions.service_role(service_role.arn, REGION) is first
    old = replace(first, expires_at=datetime.now(UTC) + timedelta(seconds=59))
    sessions._cache.put(("service", service_role.arn, REGION), old)
    assert sessions.service_role(service_role.arn, REGION).access_key_id != first.access_key_id
    assert aws.calls.count(("sts", "AssumeRole", aws.gate.calls[0][2])) == 2


def test_sessions_are_dropped_when_the_local_aws_starts_anew(
    service_role: ServiceRole, settings: Any, tmp_path: Path
) -> None:
    first = sessions.service_role(service_role.arn, REGION)
    moved = tmp_path / "localaws.json"
    moved.write_bytes(settings.LOCALAWS_FILE.read_bytes())
    settings.LOCALAWS_FILE = moved
    assert sessions.service_role(service_role.arn, REGION).access_key_id != first.access_key_id


def test_the_service_role_is_who_tenants_trust(service_role: ServiceRole) -> None:
    credentials = sessions.service_role(service_role.arn, REGION)
    assert credentials.role_unique_id == service_role.unique_id
    who = sessions.identity(credentials, REGION)
    assert who.user_id.split(":")[0] == service_role.unique_id


def test_secrets_have_no_repr(service_role: ServiceRole) -> None:
    credentials = sessions.service_role(service_role.arn, REGION)
    for secret in (credentials.access_key_id, credentials.secret_access_key, credentials.token):
        assert secret not in repr(credentials)


def test_a_session_name_fits(tenant: Tenant) -> None:
    assert sessions.session_name("data-keys", str(tenant.pk)) == f"byok-data-keys-{tenant.pk}"
    assert len(sessions.session_name("p" * 60, str(tenant.pk))) == 64


def test_the_canary_tells_a_refusal_from_not_knowing(service_role: ServiceRole, aws: LocalAws) -> None:
    canary = Access.of_texts(
        tenant="ours",
        service_role_arn=service_role.arn,
        external_id=service_role.canary_external_id,
        role_arn=service_role.canary_role_arn,
    )

    def ask(external_id: str | None) -> sessions.AssumeOutcome:
        return sessions.probe(canary, external_id, region=REGION, session="byok-canary")

    right, without, wrong = ask(service_role.canary_external_id), ask(None), ask("byok-another")
    assert [right.allowed, without.allowed, wrong.allowed] == [True, False, False]
    assert wrong.aws_code == "AccessDenied"
    assert all(outcome.request_id for outcome in (right, without, wrong))
    assert ask("x").allowed is None  # botocore refuses it before AWS is asked: that is no refusal


def test_a_tenants_session_reaches_its_key_and_nothing_else(
    tenant: Tenant, alice: Member, customer: Customer, active: KeyRegistration
) -> None:
    other = customer.kms.create_key()["KeyMetadata"]["Arn"]
    services_statement = json.loads(services.document(tenant, "key-policy-statement"))
    second = replace(customer, key_arn=other)
    second.add_key_statement(services_statement)
    key = keys_aws.open_key(active.access(tenant), purpose="test")
    assert key.session_expires_at is not None
    assert key.session_expires_at <= datetime.now(UTC) + timedelta(seconds=sessions.SECONDS)
    key.generate({"tenant": str(tenant.pk)})
    with pytest.raises(errors.KeyAccessDenied):  # the session policy names one key, whatever the role may do
        keys_aws.KmsKey(other, key.client, key.session).generate({"tenant": str(tenant.pk)})
    assert acting(alice)


def test_a_session_that_aws_does_not_know_any_more_is_asked_for_anew(
    tenant: Tenant, aws: LocalAws, active: KeyRegistration
) -> None:
    def opened() -> Any:
        return keys_aws.open_key(
            active.access(tenant),
            purpose="x",
            keep=True,
        )

    key = opened()
    assert opened().session is key.session
    aws.gate.state.session_key = bytes(32)  # what AWS does when the role is deleted
    with pytest.raises(errors.OwnAccessBroken):
        key.generate({"tenant": str(tenant.pk)})
    with pytest.raises(errors.OwnAccessBroken):
        opened()  # the service role's own session is gone too
    assert opened().generate({"tenant": str(tenant.pk)}).plaintext


@pytest.mark.parametrize("member", ["KeyId", "SourceKeyId"])
def test_another_key_that_answers_is_refused(
    member: str, tenant: Tenant, customer: Customer, active: KeyRegistration
) -> None:
    """A key at an alias or a replica answers with its own ARN: not the one that was asked for."""
    key = keys_aws.open_key(
        active.access(tenant),
        purpose="test",
    )

    class Lying:
        def __getattr__(self, name: str) -> Callable[..., Any]:
            def call(**parameters: Any) -> Any:
                answer = getattr(key.client, name)(**parameters)
                return answer | {member: active.key_arn.replace("key/", "key/f")}

            return call

    context, lying = {"tenant": str(tenant.pk)}, keys_aws.KmsKey(active.key_arn, Lying(), key.session)
    blob = key.generate(context).ciphertext
    calls: list[Callable[[], Any]] = [lambda: lying.re_encrypt(blob, context, context)]
    if member == "KeyId":
        calls += [lambda: lying.generate(context), lambda: lying.decrypt(blob, context)]
        calls += [lambda: lying.generate_wrapped(context), lambda: lying.encrypt(b"x", context)]
    for call in calls:
        with pytest.raises(errors.WrongKeyAnswered):
            call()
    assert customer.key_arn == active.key_arn


class Between:
    """A server between us and the local AWS that changes what AssumeRole answers: `change` gets the answer."""

    def __init__(self, aws: LocalAws) -> None:
        self.change: Callable[[bytes], bytes] = lambda body: body
        between = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = self.rfile.read(int(self.headers["Content-Length"]))
                way = http.client.HTTPConnection(aws.endpoint.removeprefix("http://"))
                way.request("POST", self.path, asked, dict(self.headers.items()))  # Host too: it is signed
                answer = way.getresponse()
                body = between.change(answer.read()) if b"Action=AssumeRole" in asked else answer.read()
                way.close()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing is printed."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def between(aws: LocalAws, service_role: ServiceRole, settings: Any, tmp_path: Path) -> Iterator[Between]:
    made = Between(aws)
    found = json.loads(settings.LOCALAWS_FILE.read_text())
    settings.LOCALAWS_FILE = tmp_path / "localaws.json"
    settings.LOCALAWS_FILE.write_text(json.dumps(found | {"endpoint": f"http://127.0.0.1:{made.server.server_port}"}))
    yield made
    made.server.shutdown()
    made.server.server_close()
    sessions.forget_all()


ANOTHER_ROLE: dict[str, Callable[[bytes], bytes]] = {
    "name": lambda body: re.sub(rb"(:assumed-role/)[^/]+", rb"\1AnotherRole", body),
    "account": lambda body: re.sub(rb"(<Arn>arn:aws:sts::)\d+", rb"\g<1>999999999999", body),
    "the role itself": lambda body: body.replace(b":sts::", b":iam::").replace(b":assumed-role/", b":role/"),
    "no ARN": lambda body: re.sub(rb"<Arn>.*?</Arn>", b"", body),
    "nobody": lambda body: re.sub(rb"<AssumedRoleUser>.*</AssumedRoleUser>", b"", body, flags=re.DOTALL),
}


@pytest.mark.parametrize("change", ANOTHER_ROLE.values(), ids=ANOTHER_ROLE)
def test_a_session_of_another_role_than_was_asked_for_is_refused(
    between: Between, tenant: Tenant, active: KeyRegistration, change: Callable[[bytes], bytes]
) -> None:
    """boto3's client becomes our service role, the one of the hot paths the tenant's."""

    def become() -> clients.Credentials:
        return sessions.tenant_role(
            active.access(tenant),
            purpose="data-keys",
            keep=True,
        )

    assert become().access_key_id
    sessions.forget_role(active.role_arn)
    between.change = change
    for source in ("hot", "boto3"):
        if source == "boto3":
            sessions.forget_all()
        with pytest.raises(errors.AwsSurprise) as refused:
            become()
        assert refused.value.params["action"] == "sts:AssumeRole"
    outcome = sessions.probe(active.access(tenant), None, region=REGION, session="byok-test")
    assert outcome.allowed is None
    between.change = lambda body: body
    assert become().access_key_id


def test_a_role_below_a_path_is_the_one_that_answers(aws: LocalAws, customer: Customer) -> None:
    trust = {"Effect": "Allow", "Principal": {"AWS": iam.base_principal()}, "Action": "sts:AssumeRole"}
    role = customer.iam.create_role(
        RoleName="Below",
        Path="/kore/byok/",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )["Role"]
    assert sessions.attempt(None, RoleArn.parse(role["Arn"]), None, region=REGION, session="byok-test")[0].allowed
