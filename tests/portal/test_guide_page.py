"""The guide as a page, with the tenant's values, and the renderer of our own Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import acting, invited, save_draft
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from byokportal import markdown
from keys import services
from keys.views import guide
from tenants.models import Member, Tenant

GUIDES = {name: (Path(__file__).parents[2] / "docs" / file).read_text() for name, file in guide.FILES.items()}
GUIDE = GUIDES["en"]
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"


def test_anybody_reads_the_guide_and_a_member_reads_it_with_their_values(
    alice: Member, tenant: Tenant, browser_of: Callable[[Member], Client]
) -> None:
    plain = Client().get("/guide")
    assert plain.status_code == 200
    assert tenant.external_id not in plain.content.decode()
    assert "&lt;Provided-External-ID&gt;" in plain.content.decode()
    page = browser_of(alice).get("/guide", follow=True)
    assert page.redirect_chain == [(f"/tenants/{tenant.pk}/guide/", 302)]
    text = html.unescape(page.content.decode())
    assert text.count(tenant.external_id) == 2  # among the prerequisites, and in the trust policy
    assert "<Provided-External-ID>" not in text
    assert "<your-cmk-arn>" in text  # not given yet
    save_draft(tenant, key_arn=KEY, role_arn=ROLE, actor=acting(alice))
    text = html.unescape(browser_of(alice).get("/guide", follow=True).content.decode())
    for placeholder in ("<your-cmk-arn>", "<YOUR-CMK-ARN>", "<YOUR-REGION>", "<ROLE-NAME>", "<Provided"):
        assert placeholder not in text
    assert "AccessDenied is the good sign" in text


def test_a_member_of_two_organisations_reads_the_guide_as_it_is(
    alice: Member, mallory: Member, browser_of: Callable[[Member], Client]
) -> None:
    Member.objects.create(tenant=mallory.tenant, user=alice.user, role="auditor")
    assert browser_of(alice).get("/guide").status_code == 200


@pytest.mark.parametrize("language", guide.FILES)
def test_every_word_that_a_value_replaces_stands_in_the_guide(alice: Member, tenant: Tenant, language: str) -> None:
    save_draft(tenant, key_arn=KEY, role_arn=ROLE, actor=acting(alice))
    texts = services.texts_of(tenant, services.shown_registration(tenant))
    for old in guide.replacements(language, texts, account="1", step_4="/x"):
        assert old in GUIDES[language], old


def test_the_german_guide_has_the_same_steps_and_blocks() -> None:
    german = GUIDES["de"]
    assert re.findall(r"```.*?```", german, re.DOTALL) == re.findall(r"```.*?```", GUIDE, re.DOTALL)
    assert [line[:3] for line in german.splitlines() if line.startswith("#")] == [
        line[:3] for line in GUIDE.splitlines() if line.startswith("#")
    ]
    assert re.findall(r"^\d\.", german, re.MULTILINE) == re.findall(r"^\d\.", GUIDE, re.MULTILINE)


def test_who_reads_german_reads_the_guide_in_german(
    alice: Member, tenant: Tenant, browser_of: Callable[[Member], Client]
) -> None:
    browser = browser_of(alice)
    save_draft(tenant, key_arn=KEY, role_arn=ROLE, actor=acting(alice))
    page = browser.get("/guide", follow=True, headers={"accept-language": "de"})
    text = html.unescape(page.content.decode())
    assert "AccessDenied ist das gute Zeichen" in text
    assert text.count(tenant.external_id) == 2
    assert "Schritt 5: Konfiguration auf unserer Seite" in html.unescape(
        Client().get("/guide", headers={"accept-language": "de"}).content.decode()
    )


def test_the_pages_say_what_each_value_is_for_and_what_to_have_ready(
    alice: Member, tenant: Tenant, browser_of: Callable[[Member], Client]
) -> None:
    browser = browser_of(alice)
    for path in ("", "steps/2/"):
        page = browser.get(f"/tenants/{tenant.pk}/{path}").content.decode()
        for what in ("service-role-arn", "aws-account-id", "external-id"):
            assert f'data-copy="{what}"' in page
        assert "Without it your role has to refuse even us" in page
    tracker = browser.get(f"/tenants/{tenant.pk}/").content.decode()
    assert "Have ready" in tracker
    assert "kms:PutKeyPolicy" in tracker
    step_4 = browser.get(f"/tenants/{tenant.pk}/steps/4/").content.decode()
    assert "AccessDenied is the good sign" in step_4


def test_the_guide_is_rendered_whole() -> None:
    page = markdown.to_html(GUIDE)
    assert page.count("<pre") == GUIDE.count("```") // 2
    assert page.count("<h2>") == sum(line.startswith("## ") for line in GUIDE.splitlines())
    assert '<a href="https://support.kore.ai/" rel="noreferrer">Kore.ai support</a>' in page
    assert "```" not in page
    assert "**" not in page


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# A `b`", "<h1>A <code>b</code></h1>"),
        ("a\nb\n\nc", "<p>a b</p>\n<p>c</p>"),
        ("* a\n  more\n* **b**", "<ul><li>a more</li><li><strong>b</strong></li></ul>"),
        ("3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'),
        ("words:\n1. a", '<p>words:</p>\n<ol start="1"><li>a</li></ol>'),
        ("```json\n{\n\n# <b>\n```", '<pre tabindex="0"><code>{\n\n# &lt;b&gt;</code></pre>'),
        ("[a](javascript:alert(1))", "<p>[a](javascript:alert(1))</p>"),
        ("<script>", "<p>&lt;script&gt;</p>"),
        ("", ""),
    ],
)
def test_markdown_becomes_html(text: str, expected: str) -> None:
    assert markdown.to_html(text) == expected


@given(st.text(st.sampled_from("ab<>&\"'`*[]()#1.- \n/:")))
def test_no_markdown_writes_html_of_its_own(text: str) -> None:
    page = markdown.to_html(text)
    for tag in ("<script", "<b>", "<a>", "onload"):
        assert tag not in page.replace('<a href="', "")
    for sign in ("<", ">"):  # as many of one as of the other: only our own tags are left
        assert page.count("<") == page.count(">"), sign


def test_a_colleague_reads_it_too(alice: Member, tenant: Tenant, browser_of: Callable[[Member], Client]) -> None:
    reader = invited(tenant, "rita@acme.example", "auditor")
    assert browser_of(reader).get(f"/tenants/{tenant.pk}/guide/").status_code == 200
