"""The language of pages: the person's choice, the browser's wish, and English for machines."""

from __future__ import annotations

import re
from typing import Any

import pytest
from conftest import PASSWORD, passkey_of
from django.conf import settings
from django.http import HttpResponse
from django.test import Client

from tenants.models import Member, PersonLanguage


def test_a_page_is_in_the_language_that_the_browser_asks_for(db: None, client: Client) -> None:
    page = client.get("/accounts/login/", headers={"accept-language": "de-AT,de;q=0.9,en;q=0.5"})
    assert page["Content-Language"] == "de"
    assert "Accept-Language" in page["Vary"]
    assert client.get("/accounts/login/")["Content-Language"] == "en", "nothing is left for the next request"


def test_a_choice_wins_over_the_browser(db: None, client: Client) -> None:
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = "de"
    assert client.get("/accounts/login/", headers={"accept-language": "en"})["Content-Language"] == "de"
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = "../../etc"
    assert client.get("/accounts/login/", headers={"accept-language": "en"})["Content-Language"] == "en"


@pytest.mark.parametrize("address", ["/api/v1/tenants", "/api/scim/v2/Users", "/docs/problems", "/admin/login/"])
def test_what_machines_and_staff_read_is_english_byte_for_byte(db: None, client: Client, address: str) -> None:
    ours, theirs = client.get(address), client.get(address, headers={"accept-language": "de"})
    if ours["Content-Type"].endswith("json"):
        hidden = lambda answer: answer.content.replace(answer["X-Request-ID"].encode(), b"")  # noqa: E731
        assert hidden(ours) == hidden(theirs)
    assert "Accept-Language" not in theirs.get("Vary", "")
    assert "Content-Language" not in theirs


def _choose(client: Client, language: str, **more: str) -> HttpResponse:
    return client.post("/language/", {"language": language, **more})


def test_the_switch_in_the_footer_holds_for_the_browser_and_comes_back_to_the_page(client: Client, db: None) -> None:
    page = client.get("/accounts/login/").content.decode()
    assert '<html lang="en">' in page
    assert '<button type="submit" name="language" value="de" lang="de"' in page
    done = _choose(client, "de", next="/accounts/login/?next=/tenants/")
    assert done["Location"] == "/accounts/login/?next=/tenants/"
    german = client.get("/accounts/login/").content.decode()
    assert '<html lang="de">' in german
    assert "Anmelden" in german
    assert "Sign in" not in german
    _choose(client, "en")
    assert '<html lang="en">' in client.get("/accounts/login/").content.decode()


@pytest.mark.parametrize("there", ["https://evil.example/", "//evil.example", "javascript:alert(1)", ""])
def test_the_switch_leads_nowhere_else(db: None, client: Client, there: str) -> None:
    assert _choose(client, "de", next=there)["Location"] == "/"


def test_another_language_is_refused_and_a_link_cannot_switch(db: None, client: Client) -> None:
    assert _choose(client, "fr").status_code == 400
    assert settings.LANGUAGE_COOKIE_NAME not in client.cookies
    assert client.get("/language/?language=de").status_code == 405


def test_a_choice_comes_to_every_browser_in_which_the_person_signs_in(alice: Member, browser_of: Any) -> None:
    _choose(browser_of(alice), "de")
    assert PersonLanguage.objects.get().user == alice.user
    elsewhere = Client()
    elsewhere.post("/accounts/login/", {"login": alice.user.email, "password": PASSWORD})
    assert elsewhere.cookies[settings.LANGUAGE_COOKIE_NAME].value == "de"
    assert elsewhere.cookies[settings.LANGUAGE_COOKIE_NAME]["httponly"]


def test_dates_and_plurals_are_those_of_the_language(alice: Member, browser_of: Any) -> None:
    passkey_of(alice)
    client = browser_of(alice)
    english = client.get("/accounts/2fa/").content.decode(), client.get("/accounts/2fa/webauthn/").content.decode()
    assert "You have 1 passkey." in english[0]
    _choose(client, "de")
    german = client.get("/accounts/2fa/").content.decode(), client.get("/accounts/2fa/webauthn/").content.decode()
    assert "Sie haben 1 Passkey." in german[0]
    assert re.search(r">\d\d\.\d\d\.\d{4}, \d\d:\d\d UTC</time>", german[1])
    assert re.search(r">\d{4}-\d\d-\d\d \d\d:\d\d UTC</time>", english[1])
