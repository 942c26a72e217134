"""The documents of steps 2 and 3: what is chosen for them stands in every one,
and what their deployment printed fills both ARNs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.test.utils import override_settings

from keys import services
from keys.models import DocumentChoices, KeyRegistration
from keys.policies import documents
from tenants.models import AuditEvent, Member, OnboardingStep, Tenant

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/security/AIforWorkByokAccessRole"
BOUNDARY = "arn:aws:iam::111122223333:policy/Boundary"
CHOSEN = {
    "role_path": "/security/",
    "permissions_boundary": BOUNDARY,
    "tags": "team=security\n cost centre = 4 2 \nrule=a=b\nempty=",
}
TEMPLATE_URL = "https://templates.s3.eu-central-1.amazonaws.com/byok-access.json"


@pytest.fixture
def portal(alice: Member, browser_of: Callable[[Member], Client]) -> Client:
    return browser_of(alice)


def _text(client: Client, tenant: Tenant, name: str) -> str:
    answer = client.get(f"/tenants/{tenant.pk}/documents/{name}")
    assert answer.status_code == 200, answer.content
    return answer.content.decode()


def test_what_is_chosen_stands_in_every_document_of_code_and_in_the_log(portal: Client, tenant: Tenant) -> None:
    portal.post(f"/tenants/{tenant.pk}/steps/1/", {"key_arn": KEY})
    answer = portal.post(f"/tenants/{tenant.pk}/document-choices/", CHOSEN)
    assert answer["Location"] == f"/tenants/{tenant.pk}/steps/2/"
    for name in ("cloudformation", "terraform", "cli"):
        text = _text(portal, tenant, name)
        for value in ("/security/", BOUNDARY, "team", "security", "cost centre", "4 2", "a=b", "empty"):
            assert value in text, (name, value)
    event = AuditEvent.objects.get(name="keys.documents.chosen")
    assert "team=security" in event.payload
    page = portal.get(f"/tenants/{tenant.pk}/steps/2/")
    initial = page.context["choices_form"].initial
    assert initial["tags"] == "team=security\ncost centre=4 2\nrule=a=b\nempty="
    # Everything back to the default.
    portal.post(f"/tenants/{tenant.pk}/document-choices/", {})
    assert BOUNDARY not in _text(portal, tenant, "cloudformation")


def test_a_document_that_makes_the_key_needs_none(portal: Client, tenant: Tenant) -> None:
    assert portal.get(f"/tenants/{tenant.pk}/documents/cloudformation").status_code == 409
    portal.post(f"/tenants/{tenant.pk}/document-choices/", {"makes_key": "on"})
    for name in ("cloudformation", "terraform", "cli"):
        assert tenant.external_id in _text(portal, tenant, name)
    template = json.loads(_text(portal, tenant, "cloudformation"))
    assert template["Resources"]["Key"]["DeletionPolicy"] == "Retain"
    assert portal.get(f"/tenants/{tenant.pk}/documents/permissions-policy").status_code == 409
    done = portal.post(f"/tenants/{tenant.pk}/outputs/", {"outputs": json.dumps({"RoleArn": ROLE, "KeyArn": KEY})})
    assert done["Location"] == f"/tenants/{tenant.pk}/steps/6/"  # the key was made with its policy


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("role_path", "security"),
        ("role_path", "/a"),
        ("role_path", "/*/"),
        ("role_path", "/$(id)/"),
        ("role_path", "/" + "x" * 520 + "/"),
        ("permissions_boundary", "Boundary"),
        ("permissions_boundary", "arn:aws:iam::111122223333:role/Boundary"),
        ("permissions_boundary", 'arn:aws:iam::111122223333:policy/B"; rm -rf /'),
        ("permissions_boundary", "arn:aws-cn:iam::111122223333:policy/Boundary"),
        ("tags", "team"),
        ("tags", "=security"),
        ("tags", "aws:x=y"),
        ("tags", "AWS:x=y"),
        ("tags", "a=${b}"),
        ("tags", "a=$(id)"),
        ("tags", "a='b'"),
        ("tags", "a=`b`"),
        ("tags", 'a="b"'),
        ("tags", "a=b\\"),
        ("tags", "a=\u202eb"),
        ("tags", "Team=a\nteam=b"),
        ("tags", "k" * 129 + "=v"),
        ("tags", "k=" + "v" * 257),
        ("tags", "\n".join(f"k{number}=v" for number in range(51))),
    ],
)
def test_what_aws_would_not_take_or_a_shell_would_is_refused_on_its_field(
    portal: Client, tenant: Tenant, field: str, typed: str
) -> None:
    page = portal.post(f"/tenants/{tenant.pk}/document-choices/", {field: typed})
    assert page.status_code == 200
    assert page.context["choices_form"].errors[field]
    assert not DocumentChoices.objects.exists()
    assert not AuditEvent.objects.filter(name="keys.documents.chosen").exists()


def test_the_api_chooses_and_tells(alice: Member, tenant: Tenant, api_of: Callable[[Member], Client]) -> None:
    api, path = api_of(alice), f"/api/v1/tenants/{tenant.pk}/document-choices"
    default = {"role_path": "/", "permissions_boundary": "", "tags": {}, "makes_key": False, "actions": "guide"}
    assert api.get(path).json() == default
    chosen = {
        "role_path": "/a/",
        "permissions_boundary": BOUNDARY,
        "tags": {"team": "x"},
        "makes_key": True,
        "actions": "narrow",
    }
    assert api.put(path, chosen, content_type="application/json").json() == chosen
    assert api.get(path).json() == chosen
    refused = api.put(path, {"tags": {"a": "`b`"}, "role_path": "x"}, content_type="application/json")
    assert refused.status_code == 400
    assert set(refused.json()["errors"]) == {"tags", "role_path"}
    assert api.get(path).json() == chosen
    assert api.put(path, {}, content_type="application/json").json() == default


def test_an_auditor_reads_the_documents_and_chooses_nothing(
    bob: Member, tenant: Tenant, browser_of: Callable[[Member], Client], api_of: Callable[[Member], Client]
) -> None:
    reader = browser_of(bob)
    assert reader.post(f"/tenants/{tenant.pk}/document-choices/", CHOSEN).status_code == 403
    assert reader.post(f"/tenants/{tenant.pk}/outputs/", {"outputs": ROLE}).status_code == 403
    page = reader.get(f"/tenants/{tenant.pk}/steps/2/").content.decode()
    assert "/document-choices/" not in page
    assert "/outputs/" not in page
    api = api_of(bob)
    for path, body in (("document-choices", {}), ("registration/outputs", {"outputs": ROLE})):
        answer = api.put(f"/api/v1/tenants/{tenant.pk}/{path}", body, content_type="application/json")
        assert answer.status_code == 403
    assert not KeyRegistration.objects.exists()
    assert not DocumentChoices.objects.exists()


# --- the outputs ------------------------------------------------------------------------------------------------------


def test_one_paste_fills_both_arns_and_leads_on(portal: Client, tenant: Tenant) -> None:
    text = json.dumps({"role_arn": {"type": "string", "value": ROLE}, "key_arn": {"type": "string", "value": KEY}})
    answer = portal.post(f"/tenants/{tenant.pk}/outputs/", {"outputs": text})
    assert answer["Location"] == f"/tenants/{tenant.pk}/steps/3/"
    registration = KeyRegistration.objects.get(tenant=tenant)
    assert (registration.key_arn, registration.role_arn, registration.status) == (KEY, ROLE, "draft")
    statuses = dict(OnboardingStep.objects.filter(tenant=tenant).values_list("number", "status"))
    assert (statuses[1], statuses[2], statuses[6]) == ("done", "done", "waiting_for_tenant")
    assert ROLE in portal.get(answer["Location"]).content.decode()


@pytest.mark.parametrize(
    ("outputs", "about"),
    [
        ("", "Paste what it printed"),
        ("nothing", "no Role ARN"),
        (f"{ROLE} {ROLE}x", "More than one role"),
        ("arn:aws:iam::999900001111:role/theirs", "own account"),
        (json.dumps({"role_arn": {"value": "arn:aws:iam::111122223333:role/*"}}), "About the role"),
    ],
)
def test_what_names_no_usable_arn_is_refused_beside_the_box(
    portal: Client, tenant: Tenant, outputs: str, about: str
) -> None:
    page = portal.post(f"/tenants/{tenant.pk}/outputs/", {"outputs": outputs})
    assert page.status_code == 200
    assert about in str(page.context["outputs_form"].errors)
    assert page.context["step"].number == 2
    assert not KeyRegistration.objects.exists()


def test_the_api_takes_outputs_and_does_twice_what_it_does_once(
    alice: Member, tenant: Tenant, api_of: Callable[[Member], Client]
) -> None:
    api, path = api_of(alice), f"/api/v1/tenants/{tenant.pk}/registration/outputs"
    stack = {"Stacks": [{"Outputs": [{"OutputKey": "RoleArn", "OutputValue": ROLE}]}]}
    for _ in range(2):
        answer = api.put(path, {"outputs": json.dumps(stack)}, content_type="application/json")
        assert answer.status_code == 200
        assert (answer.json()["role_arn"], answer.json()["key_arn"]) == (ROLE, "")
    assert api.put(path, {"outputs": "{}"}, content_type="application/json").status_code == 400
    assert KeyRegistration.objects.count() == 1


# --- the link ---------------------------------------------------------------------------------------------------------


def test_the_quick_create_link_is_there_where_a_template_is_hosted(portal: Client, tenant: Tenant) -> None:
    step = f"/tenants/{tenant.pk}/steps/2/"
    portal.post(f"/tenants/{tenant.pk}/steps/1/", {"key_arn": KEY})
    assert "stacks/create/review" not in portal.get(step).content.decode()
    with override_settings(CFN_TEMPLATE_URL=TEMPLATE_URL):
        page = portal.get(step).content.decode()
    assert "console.aws.amazon.com/cloudformation/home?region=eu-central-1#/stacks/create/review" in page
    assert f"param_ExternalId={tenant.external_id}" in page
    assert "The address carries your External ID" in page


# --- beside a key that serves -----------------------------------------------------------------------------------------


def test_a_key_that_is_made_stands_beside_the_one_that_serves(
    tenant: Tenant, active: KeyRegistration, portal: Client
) -> None:
    """The role that serves must not lose its key to a document that names the new one alone."""
    portal.post(f"/tenants/{tenant.pk}/document-choices/", {"makes_key": "on"})
    template: dict[str, Any] = json.loads(_text(portal, tenant, "cloudformation"))
    resource = template["Resources"]["KmsPolicy"]["Properties"]["PolicyDocument"]["Statement"][0]["Resource"]
    assert active.key_arn in resource
    with override_settings(CFN_TEMPLATE_URL=TEMPLATE_URL):
        assert services.texts_of(tenant, active).quick_create_link == ""


def test_each_document_has_a_name_as_a_file(portal: Client, tenant: Tenant) -> None:
    portal.post(f"/tenants/{tenant.pk}/steps/1/", {"key_arn": KEY})
    portal.post(f"/tenants/{tenant.pk}/steps/2/", {"role_arn": ROLE})
    for name in documents.NAMES:
        answer = portal.get(f"/tenants/{tenant.pk}/documents/{name}")
        assert documents.FILES[name] in answer["Content-Disposition"]
