"""The narrower variant of the actions: chosen, told, proven and kept to, from the set-up to the way back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from conftest import CUSTOMER, REGION, Customer, acting, health_of, save_draft
from django.test import Client

from byokportal.localaws.engineer import Engineer
from byokportal.localaws.mistakes import MISTAKES
from byokportal.localaws.mistakes.definition import Values
from byokportal.localaws.testing import LocalAws
from keys import actions, datakeys, errors, services
from keys.aws import sessions
from keys.models import BranchKey, CheckResult, EncryptionTest, KeyRegistration
from keys.policies import documents
from keys.policies.choices import Choices
from tenants.models import AuditEvent, Member, Tenant

Status = KeyRegistration.Status
Work = Callable[[], None]
NARROW = {"Decrypt", "GenerateDataKeyWithoutPlaintext", "DescribeKey"}
# The two questions of the test that a right role is refused: whether it may do more than its documents say.
HYGIENE = {"CreateGrant", "GetKeyRotationStatus"}
ITEM = {"object": "1"}


def calls_of(aws: LocalAws, *, but: set[str] = HYGIENE) -> set[str]:
    """Return what our sessions asked KMS for, as CloudTrail of the customer's account has it."""
    trail, found, more = aws.client(CUSTOMER, "cloudtrail", REGION), set[str](), {}
    while True:
        answer = trail.lookup_events(**more)
        for each in answer["Events"]:
            event = json.loads(each["CloudTrailEvent"])
            ours = "/byok-" in event["userIdentity"].get("arn", "")
            if ours and event["eventSource"] == "kms.amazonaws.com":
                found.add(event["eventName"])
        if "NextToken" not in answer:
            return found - but
        more = {"NextToken": answer["NextToken"]}


def generate(tenant: Tenant) -> datakeys.NewDataKey:
    (made,) = datakeys.generate(tenant, [ITEM], caller="tests", request_id="r")
    return made


def opens(tenant: Tenant, wrapped: bytes, plaintext: bytes) -> bool:
    (opened,) = datakeys.open_wrapped(tenant, [(wrapped, ITEM)], caller="tests", request_id="r")
    return isinstance(opened, datakeys.OpenedDataKey) and opened.plaintext == plaintext


def choose(tenant: Tenant, member: Member, variant: str = "narrow") -> None:
    services.choose_documents(tenant, Choices.read(actions=variant), actor=acting(member))


def checks_of(tenant: Tenant) -> dict[str, str]:
    newest = EncryptionTest.objects.of(tenant).order_by("-created_at").first()
    return dict(CheckResult.objects.filter(test=newest).values_list("code", "verdict"))


def serving(tenant: Tenant) -> KeyRegistration:
    return KeyRegistration.objects.of(tenant).serving().get()


@pytest.fixture
def narrow(tenant: Tenant, alice: Member, customer: Customer, work: Work) -> KeyRegistration:
    """Acme Bank with its key in service, by the narrower documents."""
    choose(tenant, alice)
    customer.follow_the_guide(tenant, acting(alice))
    services.submit_registration(tenant, actor=acting(alice))
    work()
    return serving(tenant)


def new_key(tenant: Tenant, alice: Member, customer: Customer, aws: LocalAws, *, role: bool = False) -> str:
    """Make another key, let the role, or another role, at it as the documents say; return it."""
    arn: str = customer.kms.create_key()["KeyMetadata"]["Arn"]
    save_draft(tenant, key_arn=arn, actor=acting(alice))
    if role:
        other = Customer(aws, role_name="SecondRole", key_arn=arn)
        save_draft(tenant, role_arn=customer.role_arn.replace(customer.role_name, "SecondRole"), actor=acting(alice))
        other.create_role(services.document(tenant, "trust-policy"), services.document(tenant, "permissions-policy"))
    else:
        customer.iam.create_policy_version(
            PolicyArn=f"arn:aws:iam::{CUSTOMER}:policy/AIforWorkKMSPolicy-{customer.role_name}",
            PolicyDocument=services.document(tenant, "permissions-policy"),
            SetAsDefault=True,
        )
    Customer(aws, key_arn=arn).add_key_statement(json.loads(services.document(tenant, "key-policy-statement")))
    return arn


# --- it works ---------------------------------------------------------------------------------------------------------


def test_everything_that_serves_works_with_three_actions_and_calls_no_other(
    narrow: KeyRegistration,
    tenant: Tenant,
    alice: Member,
    customer: Customer,
    aws: LocalAws,
    work: Work,
    probe_now: Callable[[KeyRegistration], KeyRegistration],
) -> None:
    assert (narrow.status, narrow.actions) == (Status.ACTIVE, "narrow")
    assert probe_now(narrow).status == Status.ACTIVE  # there is no branch key yet
    made = generate(tenant)
    assert opens(tenant, made.wrapped_key, made.plaintext)
    services.rotate_branch_key(tenant, reason="an exercise", actor=acting(alice))
    work()
    (moved,) = datakeys.rewrap(tenant, [(made.wrapped_key, ITEM)], caller="tests", request_id="r")
    assert isinstance(moved, bytes)
    assert opens(tenant, moved, made.plaintext) and opens(tenant, made.wrapped_key, made.plaintext)
    assert probe_now(narrow).status == Status.ACTIVE
    services.suspend(tenant, reason="an incident", actor=acting(alice))
    probe_now(narrow)
    services.resume(tenant, reason="over", actor=acting(alice))
    for _ in range(3):
        probe_now(narrow)
    assert serving(tenant).status == Status.ACTIVE, health_of(narrow).reason
    datakeys.start_anew()
    sessions.forget_all()
    assert opens(tenant, moved, made.plaintext)
    services.start_test(tenant, actor=acting(alice))
    work()
    assert set(checks_of(tenant).values()) == {"pass"}
    assert calls_of(aws) == NARROW


def test_the_test_asks_only_what_the_documents_allow(narrow: KeyRegistration, tenant: Tenant) -> None:
    checks = checks_of(tenant)
    assert not set(checks) & {"use.generate_data_key", "use.encrypt", "use.re_encrypt"}
    assert set(checks) >= {
        "use.describe",
        "use.generate_data_key_without_plaintext",
        "use.decrypt",
        "use.context_is_bound",
    }
    report = services.read_test(EncryptionTest.objects.of(tenant).get())
    assert (report.passed, report.total) == (15 + 2, 15 + 2)
    assert report.headline == "Every check passed"
    assert [link.state for link in report.chain.links] == ["works"] * 4


def test_every_document_holds_the_narrow_actions_and_no_other(
    narrow: KeyRegistration, tenant: Tenant, alice: Member
) -> None:
    wanted = list(actions.NARROW)
    assert json.loads(services.document(tenant, "permissions-policy"))["Statement"][0]["Action"] == wanted
    assert json.loads(services.document(tenant, "key-policy-statement"))["Action"] == wanted
    assert services.facts_of(tenant).actions == actions.NARROW
    texts = {name: services.document(tenant, name) for name in documents.SCRIPTS}
    texts |= {control.name: control.text for control in services.facts_of(tenant).controls[:3]}
    texts |= {"change request": services.change_request(tenant)}
    for name, text in texts.items():
        assert not re.search(r"kms:(Encrypt(?!ion)|ReEncrypt|GenerateDataKey(?!W))", text), name
    services.choose_documents(tenant, Choices.read(actions="narrow", makes_key=True), actor=acting(alice))
    for name in documents.SCRIPTS:
        made = services.document(tenant, name)
        assert "kms:GenerateDataKeyWithoutPlaintext" in made and "kms:Encrypt" not in made, name


def test_no_session_allows_more_than_the_registration(narrow: KeyRegistration, tenant: Tenant, aws: LocalAws) -> None:
    """The role has been given everything by mistake: our sessions have the three actions all the same."""
    policy = documents.render(documents.permissions_policy(narrow.key_arn, (), ["kms:*"]))
    aws.client(CUSTOMER, "iam", "us-east-1").create_policy_version(
        PolicyArn=f"arn:aws:iam::{CUSTOMER}:policy/AIforWorkKMSPolicy-AIforWorkByokAccessRole",
        PolicyDocument=policy,
        SetAsDefault=True,
    )
    from keys import aws as keys_aws

    for purpose in sessions.PURPOSES:
        key = keys_aws.open_key(narrow.access(tenant), purpose=purpose)
        wrapped = key.generate_wrapped({"a": "b"})
        assert key.decrypt(wrapped.ciphertext, {"a": "b"}).plaintext
        for refused in (
            lambda key=key: key.encrypt(b"x", {"a": "b"}),
            lambda key=key: key.generate({"a": "b"}),
            lambda key=key, wrapped=wrapped: key.re_encrypt(wrapped.ciphertext, {"a": "b"}, {"a": "c"}),
        ):
            with pytest.raises(errors.KeyAccessDenied):
                refused()


def test_sessions_that_serve_have_the_three_actions_for_everybody(active: KeyRegistration, tenant: Tenant) -> None:
    from keys import aws as keys_aws

    assert active.actions == "guide"
    with pytest.raises(errors.KeyAccessDenied):
        keys_aws.open_key(active.access(tenant), purpose="data-keys").encrypt(b"x", {"a": "b"})
    assert keys_aws.open_key(active.access(tenant), purpose="test").encrypt(b"x", {"a": "b"}).ciphertext


# --- replacing and leaving --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [False, True])
def test_another_key_needs_encrypt_is_told_so_and_works_with_it(
    narrow: KeyRegistration, tenant: Tenant, alice: Member, customer: Customer, aws: LocalAws, work: Work, role: bool
) -> None:
    made = generate(tenant)
    arn = new_key(tenant, alice, customer, aws, role=role)
    statement = json.loads(services.document(tenant, "key-policy-statement"))
    assert statement["Action"] == list(actions.NARROW_WITH_ENCRYPT)
    assert services.texts_of(tenant, services.shown_registration(tenant)).narrow == "moving"
    services.submit_registration(tenant, actor=acting(alice))
    work()
    now = serving(tenant)
    assert (now.key_arn, now.actions) == (arn, "narrow")
    assert checks_of(tenant)["use.encrypt"] == "pass"
    assert BranchKey.objects.of(tenant).get().key_arn == arn
    assert opens(tenant, made.wrapped_key, made.plaintext)
    assert calls_of(aws) == NARROW | {"Encrypt"}
    # everything has moved: the documents leave it out again, and so does the test
    assert json.loads(services.document(tenant, "key-policy-statement"))["Action"] == list(actions.NARROW)
    report = services.read_test(EncryptionTest.objects.of(tenant).order_by("-created_at")[0])
    assert (report.passed, report.total) == (18, 18)
    services.start_test(tenant, actor=acting(alice))
    work()
    assert "use.encrypt" not in checks_of(tenant)


def test_another_key_without_encrypt_stays_out_and_the_old_one_goes_on(
    narrow: KeyRegistration, tenant: Tenant, alice: Member, customer: Customer, aws: LocalAws, work: Work, settings: Any
) -> None:
    settings.PROPAGATION_WINDOW = 0
    made = generate(tenant)
    arn = new_key(tenant, alice, customer, aws)
    Customer(aws, key_arn=arn).kms.put_key_policy(
        KeyId=arn, PolicyName="default", Policy=_strict(arn, customer.role_arn, actions.NARROW)
    )
    services.submit_registration(tenant, actor=acting(alice))
    work()
    assert serving(tenant).pk == narrow.pk
    rejected = KeyRegistration.objects.of(tenant).in_preparation().get()
    assert rejected.status == Status.REJECTED
    row = CheckResult.objects.filter(test__registration=rejected, code="use.encrypt").get()
    assert row.verdict == "fail" and "kms:Encrypt" in row.remedy and '"kms:Encrypt"' in row.corrected
    assert opens(tenant, made.wrapped_key, made.plaintext)


def _strict(key_arn: str, role_arn: str, allowed: tuple[str, ...]) -> str:
    """Return a key policy that leaves nothing to the IAM policies of roles."""
    root = {
        "Sid": "Admin",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{CUSTOMER}:root"},
        "Action": "kms:*",
        "Resource": "*",
        "Condition": {"StringLike": {"aws:PrincipalArn": f"arn:aws:iam::{CUSTOMER}:user/*"}},
    }
    ours = documents.key_policy_statement(role_arn, (), allowed)
    return json.dumps({"Version": "2012-10-17", "Statement": [root, ours]})


def test_a_key_by_the_guide_moves_to_a_narrow_one_and_back_by_decrypt_and_encrypt(
    active: KeyRegistration, tenant: Tenant, alice: Member, customer: Customer, aws: LocalAws, work: Work
) -> None:
    made = generate(tenant)
    choose(tenant, alice)
    active.refresh_from_db()
    assert active.actions == "guide"  # what serves keeps its own
    assert json.loads(services.document(tenant, "key-policy-statement"))["Action"] == list(actions.GUIDE)
    for variant in ("narrow", "guide"):
        choose(tenant, alice, variant)
        arn = new_key(tenant, alice, customer, aws)
        services.submit_registration(tenant, actor=acting(alice))
        aws.calls.clear()
        work()
        assert (serving(tenant).key_arn, serving(tenant).actions) == (arn, variant)
        assert BranchKey.objects.of(tenant).get().key_arn == arn
        asked = [operation for service, operation, _ in aws.calls if operation == "ReEncrypt"]
        assert len(asked) == (0 if variant == "narrow" else 1)  # the test's own
        assert opens(tenant, made.wrapped_key, made.plaintext)


def test_the_same_key_and_role_are_narrowed_by_sharing_them_again(
    active: KeyRegistration,
    tenant: Tenant,
    alice: Member,
    customer: Customer,
    work: Work,
    browser_of: Callable[[Member], Client],
) -> None:
    made = generate(tenant)
    choose(tenant, alice)
    page = browser_of(alice).get(f"/tenants/{tenant.pk}/steps/3/").content.decode()
    assert "You chose other actions than your registration has" in page
    save_draft(tenant, key_arn=active.key_arn, role_arn=active.role_arn, actor=acting(alice))
    assert services.texts_of(tenant, services.shown_registration(tenant)).narrow == "moving"
    for allowed in (actions.NARROW_WITH_ENCRYPT, actions.NARROW):
        statement = json.loads(services.document(tenant, "key-policy-statement"))
        assert statement["Action"] == list(allowed)
        customer.add_key_statement(statement)
        customer.iam.create_policy_version(
            PolicyArn=f"arn:aws:iam::{CUSTOMER}:policy/AIforWorkKMSPolicy-{customer.role_name}",
            PolicyDocument=services.document(tenant, "permissions-policy"),
            SetAsDefault=True,
        )
        if allowed != actions.NARROW:
            services.submit_registration(tenant, actor=acting(alice))
        work()
        sessions.forget_all()
        datakeys.start_anew()
        assert (serving(tenant).actions, serving(tenant).status) == ("narrow", Status.ACTIVE)
        assert opens(tenant, made.wrapped_key, made.plaintext)
    active.refresh_from_db()
    assert active.status == Status.RETIRED
    services.start_test(tenant, actor=acting(alice))
    work()
    assert set(checks_of(tenant).values()) == {"pass"}


def test_coming_from_our_key_needs_encrypt_and_leaving_to_it_does_not(
    tenant: Tenant, alice: Member, customer: Customer, aws: LocalAws, work: Work, settings: Any
) -> None:
    settings.PLATFORM_KEY_ARN = aws.client(settings.AWS_ACCOUNT_ID, "kms", REGION).create_key()["KeyMetadata"]["Arn"]
    made = generate(tenant)
    choose(tenant, alice)
    customer.follow_the_guide(tenant, acting(alice))
    assert services.facts_of(tenant).actions == actions.NARROW_WITH_ENCRYPT
    services.submit_registration(tenant, actor=acting(alice))
    work()
    assert BranchKey.objects.of(tenant).get().key_arn == customer.key_arn
    assert services.facts_of(tenant).actions == actions.NARROW
    customer.add_key_statement(json.loads(services.document(tenant, "key-policy-statement")))
    customer.iam.create_policy_version(
        PolicyArn=f"arn:aws:iam::{CUSTOMER}:policy/AIforWorkKMSPolicy-{customer.role_name}",
        PolicyDocument=services.document(tenant, "permissions-policy"),
        SetAsDefault=True,
    )
    services.leave(tenant, reason="we outsource it", actor=acting(alice))
    work()
    assert BranchKey.objects.of(tenant).get().key_arn == settings.PLATFORM_KEY_ARN
    assert opens(tenant, made.wrapped_key, made.plaintext)


# --- done wrong -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "broken", "check", "named"),
    [
        (3, "key-policy-without-Decrypt", "use.decrypt", "kms:Decrypt"),
        (
            3,
            "key-policy-without-GenerateDataKey",
            "use.generate_data_key_without_plaintext",
            "kms:GenerateDataKeyWithoutPlaintext",
        ),
        (3, "key-policy-without-DescribeKey", "use.describe", "kms:DescribeKey"),
    ],
)
def test_an_action_that_is_missing_fails_the_check_that_names_it(
    tenant: Tenant,
    alice: Member,
    aws: LocalAws,
    work: Work,
    settings: Any,
    step: int,
    broken: str,
    check: str,
    named: str,
) -> None:
    settings.PROPAGATION_WINDOW = 0
    choose(tenant, alice)
    engineer = Engineer(aws.session(CUSTOMER), aws.endpoint, CUSTOMER)
    save_draft(tenant, key_arn=engineer.create_key(), actor=acting(alice))
    role_arn = engineer.create_role(
        trust=services.document(tenant, "trust-policy"),
        permissions=services.document(tenant, "permissions-policy"),
        external_id=tenant.external_id,
    )
    registration = save_draft(tenant, role_arn=role_arn, actor=acting(alice))
    statement = services.document(tenant, "key-policy-statement")
    engineer.grant(key_arn=registration.key_arn, statement=statement, broken=broken)
    services.submit_registration(tenant, actor=acting(alice))
    work()
    assert checks_of(tenant)[check] == "fail"
    row = CheckResult.objects.get(test__tenant=tenant, code=check)
    assert named in row.remedy
    assert json.loads(row.corrected)["Action"] == list(actions.NARROW)
    engineer.grant(key_arn=registration.key_arn, statement=statement)
    services.start_test(tenant, actor=acting(alice))
    work()
    assert serving(tenant).actions == "narrow"


@pytest.mark.parametrize("name", ["permissions-without-GenerateDataKey", "permissions-without-Decrypt"])
def test_the_local_aws_makes_its_mistakes_in_narrow_documents_too(name: str) -> None:
    policy = documents.permissions_policy("arn:key", (), actions.NARROW)
    change = MISTAKES[name].change
    assert change is not None
    change(policy, Values("", "", ""))
    assert len(policy["Statement"][0]["Action"]) == 2


def test_the_guides_documents_are_wider_than_needed_and_not_unsafe(narrow: KeyRegistration, tenant: Tenant) -> None:
    root = {"AWS": f"arn:aws:iam::{CUSTOMER}:root"}
    admin = {"Sid": "Root", "Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"}
    wide = {
        "permissions": documents.permissions_policy(narrow.key_arn),
        "key": {"Version": "2012-10-17", "Statement": [admin, documents.key_policy_statement(narrow.role_arn)]},
    }
    right = {
        "permissions": documents.permissions_policy(narrow.key_arn, (), actions.NARROW),
        "key": {
            "Version": "2012-10-17",
            "Statement": [admin, documents.key_policy_statement(narrow.role_arn, (), actions.NARROW)],
        },
    }
    for kind in wide:
        reading = services.check_policy(tenant, kind=kind, text=documents.render(wide[kind]))
        assert (reading.verdict, [each.code for each in reading.findings]) == ("ok", ["wider_than_needed"]), kind
        given = services.granted_by_policy(tenant, kind=kind, text=documents.render(wide[kind]))
        assert given == dict.fromkeys(actions.NARROW, "given")
        reading = services.check_policy(tenant, kind=kind, text=documents.render(right[kind]))
        assert (reading.verdict, reading.findings) == ("ok", []), kind
        lacks = documents.render(right[kind]).replace('"kms:GenerateDataKeyWithoutPlaintext",', "")
        reading = services.check_policy(tenant, kind=kind, text=lacks)
        assert reading.verdict == "incomplete"
        assert any("kms:GenerateDataKeyWithoutPlaintext" in each.fix for each in reading.findings)
        assert "kms:Encrypt" not in reading.corrected


def test_the_simulation_of_step_4_asks_for_the_three(
    narrow: KeyRegistration, tenant: Tenant, alice: Member, browser_of: Callable[[Member], Client]
) -> None:
    page = browser_of(alice).get(f"/tenants/{tenant.pk}/steps/4/").content.decode()
    assert "--action-names kms:Decrypt kms:GenerateDataKeyWithoutPlaintext kms:DescribeKey --resource-arns" in page
    assert "each of the three actions" in page
    results = [
        {"EvalActionName": action, "EvalDecision": "allowed", "EvalResourceName": narrow.key_arn}
        for action in actions.NARROW
    ]
    read = services.read_output(tenant, text=json.dumps({"EvaluationResults": results}))
    assert {point.verdict for point in read.points} == {"good"}


# --- choosing ---------------------------------------------------------------------------------------------------------


def test_the_api_chooses_tells_and_refuses(
    tenant: Tenant, alice: Member, customer: Customer, api_of: Callable[[Member], Client]
) -> None:
    api, path = api_of(alice), f"/api/v1/tenants/{tenant.pk}/document-choices"
    assert api.get(path).json()["actions"] == "guide"
    assert api.put(path, {"actions": "narrow"}, content_type="application/json").json()["actions"] == "narrow"
    for wrong in ("", "wide", 7, ["narrow"], None):
        answer = api.put(path, {"actions": wrong}, content_type="application/json")
        assert (answer.status_code, set(answer.json()["errors"])) == (400, {"actions"}), wrong
    customer.follow_the_guide(tenant, acting(alice))
    registration = api.get(f"/api/v1/tenants/{tenant.pk}/registration").json()
    assert registration["actions"] == "narrow"
    assert api.put(path, {}, content_type="application/json").status_code == 200  # a draft follows the choice
    assert KeyRegistration.objects.of(tenant).get().actions == "guide"
    services.submit_registration(tenant, actor=acting(alice))
    submitted = json.loads(AuditEvent.objects.get(name="keys.registration.submitted").payload)
    assert submitted["data"]["actions"] == "guide"
    answer = api.put(path, {"actions": "narrow"}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (409, "registration_busy")
    assert api.get(path).json()["actions"] == "guide"
    assert api.put(path, {"role_path": "/a/"}, content_type="application/json").status_code == 200


def test_the_page_chooses_and_says_what_it_costs(
    tenant: Tenant, alice: Member, browser_of: Callable[[Member], Client]
) -> None:
    portal = browser_of(alice)
    page = portal.get(f"/tenants/{tenant.pk}/steps/2/").content.decode()
    assert "Replacing the key needs kms:Encrypt" in page
    portal.post(f"/tenants/{tenant.pk}/document-choices/", {"actions": "narrow"})
    page = portal.get(f"/tenants/{tenant.pk}/steps/2/").content.decode()
    assert "and nothing else" in page and "kms:ReEncrypt" not in page
    assert portal.post(f"/tenants/{tenant.pk}/document-choices/", {"actions": "wide"}).context["choices_form"].errors
