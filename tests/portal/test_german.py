"""What Python says to people is said in their language; what machines read is English whatever they ask for."""

from __future__ import annotations

import json
from collections.abc import Callable
from string import Formatter
from typing import Any

import pytest
from conftest import acting, save_draft
from django.test import Client
from django.utils import translation

from byokportal import errors, problems, words
from byokportal.errors import DomainError
from keys import lifecycle
from keys.arns import KeyArn
from keys.errors import ArnRefused, RegistrationBusy
from keys.models import KeyRegistration
from tenants import audit, audit_events, onboarding
from tenants.models import AuditEvent, Member, OnboardingStep, Tenant

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
GERMAN = {"accept-language": "de"}
JSON = "application/json"


def vocabulary() -> list[type[DomainError]]:
    found, todo = [], [DomainError]
    while todo:
        error = todo.pop()
        todo += error.__subclasses__()
        if "code" in vars(error):
            found.append(error)
    return sorted(found, key=lambda error: error.code)


@pytest.mark.parametrize("kind", vocabulary(), ids=lambda error: error.code)
def test_every_refusal_is_german_on_a_page_and_english_in_the_api(kind: type[DomainError]) -> None:
    names = [name for _, name, _, _ in Formatter().parse(kind.detail) if name]
    error = kind(**{name: f"<{name}>" for name in names})
    english = problems.json_text(error, "1")
    with translation.override("de"):
        assert problems.json_text(error, "1") == english
        assert str(error) == kind.detail.format(**{name: f"<{name}>" for name in names})
        assert error.heading != kind.title
        if kind.detail != "{why}":
            assert error.sentence != str(error)
        assert all(f"<{name}>" in error.sentence for name in names)
    assert (error.heading, error.sentence) == (kind.title, str(error))


def test_the_api_answers_every_kind_of_error_in_english(
    db: None, client: Client, api_of: Callable[..., Client], tenant: Tenant, alice: Member, bob: Member
) -> None:
    """Byte for byte but for the request id; what is wrong in the body is said under its field."""
    here = f"/api/v1/tenants/{tenant.pk}"
    owner, auditor = (Client(HTTP_AUTHORIZATION=api_of(one).defaults["HTTP_AUTHORIZATION"]) for one in (alice, bob))
    asked: list[tuple[int, Client, str, str, str, str]] = [
        (401, client, "get", f"{here}/setup", "", JSON),
        (404, owner, "get", "/api/v1/tenants/00000000-0000-0000-0000-000000000000/setup", "", JSON),
        (405, owner, "delete", f"{here}/setup", "", JSON),
        (400, owner, "post", f"{here}/policy-checks", "{", JSON),
        (415, owner, "post", f"{here}/policy-checks", "a=b", "text/plain"),
        (400, owner, "post", f"{here}/policy-checks", json.dumps({"kind": "trust"}), JSON),
        (400, owner, "put", f"{here}/registration", json.dumps({"key_arn": "arn:aws:kms:x"}), JSON),
        (400, owner, "put", f"{here}/registration", json.dumps({"role_arn": "AKIA" + "A" * 16}), JSON),
        (403, auditor, "put", f"{here}/registration", json.dumps({"key_arn": KEY}), JSON),
        (409, owner, "post", f"{here}/registration/submit", "{}", JSON),
        (400, owner, "get", f"{here}/events?from=never", "", JSON),
    ]
    met = set()
    for status, who, method, address, body, content_type in asked:
        answers = []
        for headers in ({}, GERMAN):
            answer = (
                getattr(who, method)(address, data=body, content_type=content_type, headers=headers)
                if body
                else (getattr(who, method)(address, headers=headers))
            )
            answers.append(answer.content.replace(answer["X-Request-ID"].encode(), b""))
            met.add(answer.status_code)
            assert answer["Content-Type"].startswith("application/problem+json"), address
        assert answers[0] == answers[1], address
        assert status == answer.status_code, (address, answer.content)
    assert met == {400, 401, 403, 404, 405, 409, 415}


def test_a_form_refuses_an_arn_in_the_readers_language(
    db: None, browser_of: Callable[..., Client], alice: Member
) -> None:
    browser, step = browser_of(alice), f"/tenants/{alice.tenant_id}/steps/1/"
    page = browser.post(step, {"key_arn": "arn:aws:kms:eu-central-1:111122223333:alias/mine"}, headers=GERMAN)
    assert "Ein Alias kann jederzeit auf einen anderen Schlüssel zeigen" in page.content.decode()
    with pytest.raises(ArnRefused) as refused:
        KeyArn.parse("arn:aws:kms:eu-central-1:111122223333:alias/mine")
    assert "An alias can be pointed at another key" in refused.value.errors["key_arn"][0]


def test_a_page_says_a_refusal_without_a_form_in_german(
    db: None, browser_of: Callable[..., Client], tenant: Tenant, alice: Member
) -> None:
    registration = save_draft(tenant, key_arn=KEY, actor=acting(alice))
    with pytest.raises(RegistrationBusy) as refused:
        lifecycle.move(registration, KeyRegistration.Status.ACTIVE, actor=acting(alice), reason="")
    with translation.override("de"):
        assert refused.value.heading == "Die Registrierung ist in einem anderen Zustand"
        assert "„Entwurf“" in refused.value.sentence


def test_every_event_has_its_sentence_in_german_with_every_place() -> None:
    with translation.override("de"):
        for name, sentence in audit_events.EVENTS.items():
            said = translation.gettext(sentence)
            places = lambda text: {found for _, found, _, _ in Formatter().parse(text) if found}  # noqa: E731
            assert said != sentence, name
            assert places(said) == places(sentence), name


def test_the_log_is_read_in_german_and_leaves_in_english(
    db: None, browser_of: Callable[..., Client], api_of: Callable[..., Client], tenant: Tenant, alice: Member
) -> None:
    audit.record("tenants.step.changed", tenant=tenant, actor=acting(alice), step=1, old="not_started", new="failed")
    audit.record(
        "tenants.member.role_changed", tenant=tenant, actor=acting(alice), email="b@acme.example", role="owner"
    )
    browser, api = browser_of(alice), api_of(alice)
    page = browser.get(f"/tenants/{tenant.pk}/log/", headers=GERMAN).content.decode()
    assert "Schritt 1 ging von „nicht begonnen“ zu „braucht eine Änderung“." in page
    assert "b@acme.example hat jetzt die Rolle Eigentümer." in page
    found = browser.get(f"/tenants/{tenant.pk}/log/?q=Schritt", headers=GERMAN).content.decode()
    assert "braucht eine Änderung" in found, "what one reads can be searched for"
    machine = api.get(f"/api/v1/tenants/{tenant.pk}/events", headers=GERMAN).content.decode()
    assert "Step 1 went from" in machine
    assert "Schritt" not in machine
    file = browser.get(f"/tenants/{tenant.pk}/log/export.csv?q=Schritt", headers=GERMAN)
    text = b"".join(file.streaming_content).decode()  # type: ignore[attr-defined]
    assert "Step 1 went from “not started” to “needs a change”." in text
    assert "Schritt" not in text


def test_what_somebody_does_on_a_german_page_is_kept_in_english(
    db: None, browser_of: Callable[..., Client], tenant: Tenant, alice: Member
) -> None:
    browser = browser_of(alice)
    browser.post(f"/tenants/{tenant.pk}/people/", {"email": "new@acme.example", "role": "admin"}, headers=GERMAN)
    kept = AuditEvent.objects.filter(name="tenants.member.invited").latest("pk")
    assert audit.data_of(kept)["role"] == "admin"


def test_a_persons_own_words_are_never_translated(db: None, tenant: Tenant, alice: Member) -> None:
    audit.record("tenants.member.removed", tenant=tenant, actor=acting(alice), email="b@acme.example", reason="Done")
    with translation.override("de"):
        assert audit.sentence(AuditEvent.objects.latest("pk")) == "b@acme.example wurde entfernt: Done"


def test_the_steps_say_what_is_next_in_german(db: None, tenant: Tenant) -> None:
    with translation.override("de"):
        steps = onboarding.overview(tenant)
        assert steps[0].next == "Geben Sie die CMK ARN an."
        assert steps[0].label == "Wartet auf Sie"
        OnboardingStep.objects.filter(tenant=tenant, number=5).update(status="in_progress")
        OnboardingStep.objects.filter(tenant=tenant, number=2).update(evidence={"expected": change()})
        changed = onboarding.overview(tenant)
    assert changed[4].next == "Sehen Sie zuerst Schritt 2 an.", "nobody is told that there is nothing to do"


def change() -> dict[str, Any]:
    return {
        "why": "AWS refused us.",
        "what": "the trust policy",
        "step": 2,
        "counts_at": "2026-11-29T14:00:00+00:00",
        "test": "1",
        "causes": [],
    }


def test_codes_have_german_words_where_they_have_english_ones() -> None:
    with translation.override("de"):
        assert words.of("suspended") == errors_of("suspended").heading == "Der Schlüssel ist gesperrt"
        assert words.of("insecure_trust").startswith("Die Rolle")
        assert words.person("kore:x") == "Support von Kore.ai"


def errors_of(code: str) -> DomainError:
    kind = next(one for one in vocabulary() if one.code == code)
    return kind(**{name: "" for _, name, _, _ in Formatter().parse(kind.detail) if name})


def test_a_refusal_of_the_portal_is_shown_with_its_values_translated() -> None:
    error = errors.NotAllowed(permission="keys.suspend")
    with translation.override("de"):
        assert "keys.suspend" in error.in_full
