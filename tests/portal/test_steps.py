"""The six steps in the portal: what each page shows, saves and refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import lines_by
from django.test import Client

from keys.models import KeyRegistration, RoleConfiguration
from tenants import onboarding
from tenants.models import AuditEvent, Member, OnboardingStep, Tenant

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"
ACCESS_KEY = "AKIA" + "IOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY"


@pytest.fixture
def portal(alice: Member, browser_of: Callable[[Member], Client]) -> Client:
    return browser_of(alice)


def _step(tenant: Tenant, number: int) -> str:
    return f"/tenants/{tenant.pk}/steps/{number}/"


def _status(tenant: Tenant, number: int) -> str:
    return str(OnboardingStep.objects.get(tenant=tenant, number=number).status)


def test_home_leads_to_the_tracker_with_the_values_of_step_0(portal: Client, tenant: Tenant) -> None:
    page = portal.get("/", follow=True)
    assert page.redirect_chain[-1][0] == f"/tenants/{tenant.pk}/"
    text = page.content.decode()
    for value in (tenant.external_id, tenant.service_role.arn, tenant.service_role.account_id):
        assert value in text
    for step in onboarding.STEPS:
        assert step.title in text


def test_the_six_steps_end_with_both_arns_shared(portal: Client, tenant: Tenant) -> None:
    answer = portal.post(_step(tenant, 1), {"key_arn": KEY})
    assert answer["Location"] == _step(tenant, 2)
    assert KEY in portal.get(_step(tenant, 1)).content.decode()  # the draft survives closing the page
    answer = portal.post(_step(tenant, 2), {"role_arn": f"  {ROLE} "})
    assert answer["Location"] == _step(tenant, 3)
    assert portal.post(_step(tenant, 4), {"outcome": "skipped"})["Location"] == _step(tenant, 5)
    assert _status(tenant, 4) == "skipped"
    answer = portal.post(_step(tenant, 6))
    assert answer["Location"] == f"/tenants/{tenant.pk}/"
    registration = KeyRegistration.objects.get(tenant=tenant)
    assert (registration.status, registration.key_arn, registration.role_arn) == ("configuring", KEY, ROLE)
    assert RoleConfiguration.objects.get().status == "queued"
    assert _status(tenant, 6) == "done"
    assert _status(tenant, 5) == "in_progress"
    assert len(lines_by("member:alice@acme.example", "keys.registration.submitted")) == 1


def test_documents_are_filled_in_on_their_pages_and_as_files(portal: Client, tenant: Tenant) -> None:
    page = portal.get(_step(tenant, 2)).content.decode()
    assert tenant.external_id in page
    assert portal.get(f"/tenants/{tenant.pk}/documents/permissions-policy").status_code == 409
    portal.post(_step(tenant, 1), {"key_arn": KEY})
    portal.post(_step(tenant, 2), {"role_arn": ROLE})
    page = portal.get(_step(tenant, 2)).content.decode()
    assert KEY in page
    assert "AllowKMSActions" in page
    page = portal.get(_step(tenant, 3)).content.decode()
    assert ROLE in page
    assert "AllowYourAppAccess" in page
    for name in ("trust-policy", "permissions-policy", "key-policy-statement", "cloudformation", "terraform", "cli"):
        file = portal.get(f"/tenants/{tenant.pk}/documents/{name}")
        assert file.status_code == 200
        assert "attachment" in file["Content-Disposition"]
    assert portal.get(f"/tenants/{tenant.pk}/documents/nonsense").status_code == 404


@pytest.mark.parametrize("number", range(1, 7))
def test_every_step_has_its_page_with_the_guides_title_and_help(
    portal: Client, tenant: Tenant, number: int, settings: object
) -> None:
    page = portal.get(_step(tenant, number))
    assert page.status_code == 200
    text = page.content.decode()
    assert onboarding.BY_NUMBER[number].title in text
    assert settings.SUPPORT_URL in text  # type: ignore[attr-defined]


@pytest.mark.parametrize("number", [0, 7, 99])
def test_there_are_six_steps(portal: Client, tenant: Tenant, number: int) -> None:
    assert portal.get(_step(tenant, number)).status_code == 404


@pytest.mark.parametrize("number", [3, 5])
def test_what_has_no_form_takes_no_post(portal: Client, tenant: Tenant, number: int) -> None:
    assert portal.post(_step(tenant, number)).status_code == 404


@pytest.mark.parametrize(
    ("number", "field", "typed"),
    [
        (1, "key_arn", ""),
        (1, "key_arn", "arn:aws:kms:eu-central-1:111122223333:alias/mine"),
        (1, "key_arn", "arn:aws:kms:us-east-1.evil.com/#:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"),
        (1, "key_arn", "arn:aws:kms:eu-central-1:１１１１22223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"),
        (1, "key_arn", KEY + "\u200b"),
        (1, "key_arn", KEY + "\x00"),
        (1, "key_arn", "x" * 100_000),
        (2, "role_arn", "arn:aws:iam::111122223333:role/*"),
        (2, "role_arn", "arn:aws:iam::111122223333:role/${aws:username}"),
        (2, "role_arn", "arn:aws:iam::111122223333:user/alice"),
        (2, "role_arn", "arn:aws:sts::111122223333:assumed-role/R/s"),
        (2, "role_arn", "arn:aws:iam::999900001111:role/ours"),
    ],
)
def test_an_arn_that_cannot_be_used_is_refused_on_its_field_and_nothing_is_saved(
    portal: Client, tenant: Tenant, number: int, field: str, typed: str
) -> None:
    page = portal.post(_step(tenant, number), {field: typed})
    assert page.status_code == 200
    assert page.context["form"].errors[field]
    assert not KeyRegistration.objects.exists()
    assert _status(tenant, number) == ("waiting_for_tenant" if number == 1 else "not_started")


@pytest.mark.parametrize(
    "typed",
    [
        ACCESS_KEY,
        SECRET_KEY,
        f"{ACCESS_KEY}\n{SECRET_KEY}",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7example\n-----END RSA PRIVATE KEY-----",
        f"arn:aws:iam::111122223333:role/{ACCESS_KEY} {SECRET_KEY}",
        f"{SECRET_KEY}\x00",
    ],
)
@pytest.mark.parametrize(("number", "field"), [(1, "key_arn"), (2, "role_arn")])
def test_a_secret_pasted_by_mistake_is_not_shown_stored_or_logged(
    portal: Client, tenant: Tenant, number: int, field: str, typed: str, caplog: pytest.LogCaptureFixture
) -> None:
    page = portal.post(_step(tenant, number), {field: typed})
    assert page.status_code == 200
    kept = (
        page.content.decode()
        + caplog.text
        + str(list(AuditEvent.objects.values_list("payload", flat=True)))
        + str(dict(portal.session))
    )
    for piece in (ACCESS_KEY, SECRET_KEY, "MIIEowIBAAKCAQEA7example"):
        assert piece not in kept
    assert not KeyRegistration.objects.exists()


def test_a_pasted_access_key_is_told_to_be_rotated(portal: Client, tenant: Tenant) -> None:
    assert "rotate it now" in portal.post(_step(tenant, 1), {"key_arn": ACCESS_KEY}).content.decode()


def test_sharing_too_early_says_what_is_missing(portal: Client, tenant: Tenant) -> None:
    page = portal.post(_step(tenant, 6))
    assert page.status_code == 200
    assert page.context["form"].non_field_errors()
    portal.post(_step(tenant, 1), {"key_arn": KEY})
    assert "role_arn" in str(portal.post(_step(tenant, 6)).context["form"].non_field_errors())
    assert not RoleConfiguration.objects.exists()


def test_sharing_twice_asks_for_one_configuration(portal: Client, tenant: Tenant) -> None:
    portal.post(_step(tenant, 1), {"key_arn": KEY})
    portal.post(_step(tenant, 2), {"role_arn": ROLE})
    portal.post(_step(tenant, 6))
    assert portal.post(_step(tenant, 6)).context["form"].non_field_errors()
    assert RoleConfiguration.objects.count() == 1


def test_an_auditor_reads_every_step_and_changes_none(
    bob: Member, tenant: Tenant, browser_of: Callable[[Member], Client]
) -> None:
    reader = browser_of(bob)
    for number in range(1, 7):
        assert reader.get(_step(tenant, number)).status_code == 200
    for number, data in ((1, {"key_arn": KEY}), (2, {"role_arn": ROLE}), (4, {"outcome": "done"}), (6, {})):
        assert reader.post(_step(tenant, number), data).status_code == 403
    assert not KeyRegistration.objects.exists()
    assert _status(tenant, 4) == "not_started"


def test_the_paste_box_reads_a_policy_as_page_and_as_fragment(portal: Client, tenant: Tenant) -> None:
    path = f"/tenants/{tenant.pk}/check-policy/"
    policy = portal.get(f"/tenants/{tenant.pk}/documents/trust-policy").content.decode()
    page = portal.post(path, {"kind": "trust", "policy": policy})
    assert page.status_code == 200
    assert b"<html" in page.content
    fragment = portal.post(path, {"kind": "trust", "policy": policy}, headers={"HX-Request": "true"})
    assert fragment.status_code == 200
    assert b"<html" not in fragment.content
    assert fragment.context["reading"] is not None
    for bad in (
        {"kind": "nonsense", "policy": policy},
        {"kind": "trust", "policy": ""},
        {"kind": "trust", "policy": "x" * 70_000},
    ):
        assert portal.post(path, bad).context["form"].errors


def test_a_private_key_in_the_paste_box_is_not_shown_again(portal: Client, tenant: Tenant) -> None:
    page = portal.post(f"/tenants/{tenant.pk}/check-policy/", {"kind": "trust", "policy": f"{{}} {ACCESS_KEY}"})
    assert ACCESS_KEY not in page.content.decode()
    assert "rotate it now" in page.content.decode()


def test_a_reading_stands_beside_the_lines_and_shows_what_changes(portal: Client, tenant: Tenant) -> None:
    path = f"/tenants/{tenant.pk}/check-policy/"
    policy = portal.get(f"/tenants/{tenant.pk}/documents/trust-policy").content.decode()
    wide = policy.replace(tenant.external_id, "*").replace("StringEquals", "StringLike")
    fragment = portal.post(path, {"kind": "trust", "policy": wide}, headers={"HX-Request": "true"})
    text = fragment.content.decode()
    assert 'id="trust-line-12" class="error"' in text
    assert "<del>" in text
    assert "<ins>" in text
    assert tenant.external_id in text
    assert "no-store" in fragment["Cache-Control"]
    right = portal.post(path, {"kind": "trust", "policy": policy}).content.decode()
    assert "<del>" not in right.split("<main")[1]
    assert "Right" in right
    hostile = portal.post(
        path, {"kind": "key", "policy": '{"Statement": "<script>alert(1)</script>"}'}
    ).content.decode()
    assert "<script>alert" not in hostile


SESSION = (
    '{"Credentials": {"AccessKeyId": "ASIA'
    + 'IOSFODNN7EXAMPLE", "SecretAccessKey": "'
    + SECRET_KEY
    + (
        '", "SessionToken": "FwoGZXIvYXdzEBYaDHqa"}, "AssumedRoleUser": {"Arn": '
        '"arn:aws:sts::111122223333:assumed-role/AIforWorkByokAccessRole/x"}}'
    )
)


def test_step_4_has_its_commands_filled_in_and_reads_their_output(portal: Client, tenant: Tenant) -> None:
    assert "Give the" in portal.get(_step(tenant, 4)).content.decode()
    portal.post(_step(tenant, 1), {"key_arn": KEY})
    portal.post(_step(tenant, 2), {"role_arn": ROLE})
    page = portal.get(_step(tenant, 4)).content.decode()
    for command in ("assume-role", "describe-key", "get-role", "simulate-principal-policy", "get-key-policy"):
        assert f"aws {'sts' if command == 'assume-role' else 'kms' if 'key' in command else 'iam'} {command} " in page
    assert "AccessDenied is the good sign" in page
    path = f"/tenants/{tenant.pk}/check-output/"
    trust = portal.get(f"/tenants/{tenant.pk}/documents/trust-policy").content.decode()
    for output, said in (
        (
            (
                "An error occurred (AccessDenied) when calling the AssumeRole operation: "
                "User is not authorized to perform: sts:AssumeRole on resource: "
            )
            + ROLE,
            "As it should be",
        ),
        (trust, "As it should be"),
        (trust.replace(tenant.external_id, "byok-x"), "External ID"),
        ('{"KeyMetadata": {"Arn": "' + KEY + '", "KeyState": "Disabled"}}', "The key is disabled"),
        ("", "This field is required"),
    ):
        for headers in ({}, {"HX-Request": "true"}):
            answer = portal.post(path, {"output": output}, headers=headers)
            assert answer.status_code == 200
            assert said in answer.content.decode()


def test_credentials_in_an_output_are_not_shown_again_nor_kept(
    portal: Client, tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    path = f"/tenants/{tenant.pk}/check-output/"
    for output in (SESSION, SESSION + "x" * 70_000, f"SecretAccessKey {SECRET_KEY}"):
        for headers in ({}, {"HX-Request": "true"}):
            answer = portal.post(path, {"output": output}, headers=headers)
            kept = (
                answer.content.decode() + caplog.text + str(list(AuditEvent.objects.values_list("payload", flat=True)))
            )
            for piece in (SECRET_KEY, "ASIA" + "IOSFODNN7EXAMPLE", "FwoGZXIvYXdzEBYaDHqa"):
                assert piece not in kept
    text = portal.post(path, {"output": SESSION}).content.decode()
    assert "it should not have" in text
    assert "end by themselves" in text


def test_when_all_is_done_nothing_says_that_something_is_under_way(
    portal: Client, tenant: Tenant, alice: Member, active: KeyRegistration, api_of: Callable[[Member], Client]
) -> None:
    assert {step.status for step in onboarding.overview(tenant)} <= {"done", "skipped"}
    words = {step.next for step in onboarding.overview(tenant)}
    assert words == {"Nothing to do."}
    shown = "".join(
        portal.get(f"/tenants/{tenant.pk}/{page}").content.decode() for page in ("", "preparing/", "steps/5/", "key/")
    )
    for word in ("being configured", "It takes about a minute", 'hx-trigger="every 2s"'):
        assert word not in shown
    assert {
        step["next"] for step in api_of(alice).get(f"/api/v1/tenants/{tenant.pk}/onboarding").json()["steps"]
    } == words
