"""Support pastes an AWS error and reads what it means, whose turn it is, and an answer to send."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tenants.models import Member

PATH = "/admin/explain-aws-error/"
DENIED = (
    "An error occurred (AccessDenied) when calling the AssumeRole operation: User: "
    "arn:aws:sts::999900001111:assumed-role/kore/byok is not authorized to perform: sts:AssumeRole on resource: "
    "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"
)
ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SESSION_TOKEN = "IQoJb3JpZ2luX2VjE" + "Ab3/" * 60
IDENTITY_TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzYW0ifQ.c2lnbmF0dXJl"


@pytest.fixture
def desk(sam: User, browser_of: Callable[[User], Client]) -> Client:
    return browser_of(sam)


def test_a_refused_assume_role_names_what_reads_alike_and_what_decides(desk: Client) -> None:
    page = desk.post(PATH, {"text": DENIED}).content.decode()
    for words in (
        "external_id_mismatch",
        "role_not_found",
        "our_identity_policy_missing_assume_role",
        "Step 2, trust policy",
        "Ours first.",
        "aws iam get-role --role-name AIforWorkByokAccessRole",
        "AWS refused sts:AssumeRole.",
        "We are checking our own side.",
        "arn:aws:sts::999900001111:assumed-role/kore/byok",
        "AWS does not say which policy",
    ):
        assert words in page


def test_the_answer_for_the_customer_says_step_document_and_change(desk: Client) -> None:
    text = (
        "DisabledException: arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab is disabled."
    )
    page = desk.post(PATH, {"text": text}).content.decode()
    answer = re.search(r'<pre id="answer"[^>]*>(.*?)</pre>', page, re.DOTALL)
    assert answer
    assert "- Step 1: Enable the key" in answer[1]
    assert "start the encryption test again" in answer[1]
    assert "The customer&#x27;s: something in their AWS account" in page


def test_an_engineer_who_may_not_edit_the_key_policy_is_told_whom_to_ask(desk: Client) -> None:
    text = (
        "An error occurred (AccessDeniedException) when calling the PutKeyPolicy operation: User: arn:aws:sts::"
        "111122223333:assumed-role/AWSReservedSSO_PowerUser_0123456789abcdef/engineer@example.org is not authorized to "
        "perform: kms:PutKeyPolicy on resource: "
        "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab "
        "because no resource-based policy allows the kms:PutKeyPolicy action"
    )
    page = desk.post(PATH, {"text": text}).content.decode()
    answer = re.search(r'<pre id="answer"[^>]*>(.*?)</pre>', page, re.DOTALL)
    assert answer
    assert "Step 3, your administrator" in answer[1]
    assert "must not get it" in answer[1]
    assert "caller_not_allowed" in page
    assert "Add kms:PutKeyPolicy" not in page


def test_our_own_fault_is_not_put_on_the_customer(desk: Client) -> None:
    text = (
        "An error occurred (SignatureDoesNotMatch) when calling the AssumeRole operation: Signature expired: "
        "1 is now earlier than 2"
    )
    page = desk.post(PATH, {"text": text}).content.decode()
    assert "Ours: nothing in the customer" in page
    assert "This is on our side, and you need do nothing." in page


SECRETS = [
    ACCESS_KEY,
    SECRET_KEY,
    SESSION_TOKEN,
    IDENTITY_TOKEN,
    f"aws_secret_access_key = {SECRET_KEY[:20]}",
    f'"SessionToken": "{SESSION_TOKEN[:40]}"',
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQ==\n-----END RSA PRIVATE KEY-----",
    "Authorization: Bearer abcdefghijklmnopqrstuvwxyz",
]
PLACES = [
    "{} " + DENIED,
    DENIED + "\n{}",
    DENIED.replace(" is not", " {} is not"),
    DENIED.replace(": User", ": {} User"),
    "{} " + "x" * 20000,
]


def test_a_secret_is_neither_shown_again_nor_logged_nor_stored(desk: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    desk.get(PATH)
    for secret, place in itertools.product(SECRETS, PLACES):
        with CaptureQueriesContext(connection) as queries:
            answer = desk.post(PATH, {"text": place.format(secret), "operation": secret[:100]})
        page = answer.content.decode()
        core = max(secret.replace('"', " ").split(), key=len)
        assert core not in page, (secret, place)
        assert "rotate it" in page, (secret, place)
        assert core not in caplog.text
        assert answer.headers["Cache-Control"].startswith("max-age=0")
        assert not [query["sql"] for query in queries if query["sql"].startswith(("INSERT", "UPDATE"))]


def test_any_text_gets_a_page(desk: Client) -> None:
    for text, says in (
        ("", "This field is required."),
        ("é" * 9000, "This is longer than 16 KB."),
        ("Good morning, it does not work.", "We cannot read this error."),
        ("key <script>alert(1)</script> is disabled.", "Step 1: Enable the key"),
        ("a\x00b is disabled", "Null characters are not allowed."),
        ("\u202e\U0001f511 " * 900, "We cannot read this error."),
    ):
        answer = desk.post(PATH, {"text": text})
        assert answer.status_code == 200, text
        assert says in answer.content.decode(), text
        assert "<script>alert" not in answer.content.decode()


def test_it_stands_on_the_first_page_for_those_who_may(desk: Client) -> None:
    assert PATH in desk.get("/admin/").content.decode()


def test_only_staff_who_read_tickets_may(
    alice: Member, browser_of: Callable[[Member | User], Client], desk: Client
) -> None:
    stranger = User.objects.create_user("new@kore.example", "new@kore.example", is_staff=True)
    browser = browser_of(stranger)
    assert browser.post(PATH, {"text": DENIED}).status_code == 403
    assert PATH not in browser.get("/admin/").content.decode()
    assert browser_of(alice).get(PATH, follow=True).status_code == 403
    assert Client().get(PATH)["Location"].startswith("/accounts/login/") or Client().get(PATH).status_code == 302
    auditor = User.objects.create_user("audit@kore.example", "audit@kore.example", is_staff=True)
    auditor.groups.add(Group.objects.get(name="Auditor"))
    assert browser_of(auditor).get(PATH).status_code == 200
