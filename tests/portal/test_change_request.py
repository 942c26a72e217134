"""The change request: one text with the exact documents, as a page to print, as a file and by the API."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

import pytest
from conftest import acting, save_draft
from django.test import Client

from keys import services
from keys.policies import documents
from keys.policies.choices import Choices
from tenants.models import Member, Tenant

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"


@pytest.mark.parametrize("makes_key", [False, True])
def test_it_holds_the_exact_documents_and_says_how_to_check_and_undo(
    alice: Member,
    tenant: Tenant,
    browser_of: Callable[[Member], Client],
    api_of: Callable[[Member], Client],
    makes_key: bool,
) -> None:
    browser, base = browser_of(alice), f"/tenants/{tenant.pk}/change-request"
    assert "give the CMK ARN" in browser.get(f"{base}/").content.decode()
    if makes_key:
        services.choose_documents(tenant, Choices(makes_key=True), actor=acting(alice))
    else:
        save_draft(tenant, key_arn=KEY, actor=acting(alice))
    file = browser.get(f"{base}.md")
    text = file.content.decode()
    assert "attachment" in file["Content-Disposition"]
    assert api_of(alice).get(f"/api/v1/tenants/{tenant.pk}/change-request").content.decode() == text
    for name in documents.SCRIPTS:
        assert services.document(tenant, name).strip() in text
    for heading in ("## What", "## Why", "## The exact documents", "## How to check", "## How to undo"):
        assert heading in text
    assert ('"AllowYourAppAccess"' in text) is True
    assert ("The key itself stays" in text) is makes_key
    page = html.unescape(browser.get(f"{base}/").content.decode())
    for name in documents.SCRIPTS:
        assert services.document(tenant, name).strip() in page
    assert "```" not in page
    assert "**" not in page.partition("<article")[2].partition("</article>")[0].replace("kms:*", "")


def test_a_name_with_signs_of_markdown_stays_a_name(
    alice: Member, tenant: Tenant, browser_of: Callable[[Member], Client]
) -> None:
    Tenant.objects.filter(pk=tenant.pk).update(name="# `A` <b>[x](https://evil.example)** & Co.")
    tenant.refresh_from_db()
    first = services.change_request(tenant).splitlines()[0]
    assert first == "# Change request: let Kore.ai use one KMS key of  A bx(https//evil.example) & Co."
    page = browser_of(alice).get(f"/tenants/{tenant.pk}/change-request/").content.decode()
    assert 'href="https://evil' not in page


def test_it_comes_in_german_with_the_same_commands_and_documents(client: Client, alice: Member) -> None:
    client.force_login(alice.user)
    save_draft(alice.tenant, key_arn=KEY, role_arn=ROLE, actor=acting(alice))
    path = f"/tenants/{alice.tenant.pk}/change-request.md"
    english = client.get(path).content.decode()
    german = client.get(path, headers={"accept-language": "de"}).content.decode()
    assert english.startswith("# Change request") and german.startswith("# Änderungsantrag")
    # what a reader puts in is said in the reader's language
    blocks = [
        [re.sub("<[a-zA-Z ]+-?[a-zA-Z -]*>", "<…>", one) for one in text.split("```")[1::2]]
        for text in (english, german)
    ]
    assert blocks[0] == blocks[1] and len(blocks[0]) >= 6
    assert english.count("\n## ") == german.count("\n## ") and english.count("`") == german.count("`")
