"""Ready answers to a ticket: what the newest test found, in the tenant's own values, with the document as it has to
read; a person changes and sends them."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _

from keys import services as key_services
from keys.models import EncryptionTest
from tenants import onboarding

# Characters of an answer; a longer document is on the page of the test.
LONGEST = 9_000
# Answers that are offered.
MOST = 6


@dataclass(frozen=True, slots=True)
class ReadyAnswer:
    """One text that can be sent.

    Attributes:
        name: what it is chosen by.
        title: what the button says.
    """

    name: str
    title: str
    text: str


def of(test: EncryptionTest | None, *, language: str = settings.LANGUAGE_CODE) -> list[ReadyAnswer]:
    """Return the ready answers that a test gives, in the order of its remedies; none where nothing failed.

    Args:
        test: the newest of the tenant; its checks are read, and its registration.
        language: of whoever reads the answer; where it is not ours, each comes in it too, behind those in ours.
    """
    if test is None:
        return []
    with translation.override(settings.LANGUAGE_CODE):
        whole, short = key_services.remedies_of(test, with_documents=True), key_services.remedies_of(test)
    found = []
    for spoken in dict.fromkeys((settings.LANGUAGE_CODE, language)):
        for number, (step, change) in enumerate(whole[:MOST], start=1):
            name, title = str(number), f"Step {step}, {onboarding.BY_NUMBER[step].name}"
            if spoken != settings.LANGUAGE_CODE:
                name = f"{number}-{spoken}"
                title = f"{title}, in {translation.get_language_info(spoken)['name']}"
            brief = "\n".join(one for at, one in short if at == step)[: LONGEST // 2]
            with translation.override(spoken):
                found.append(ReadyAnswer(name, title, _fitting(test, step, change, brief)))
    return found


def _fitting(test: EncryptionTest, step: int, change: str, brief: str) -> str:
    """Return the answer with the document, or without one that is too long for it."""
    text = _text(test, step, key_services.say_again(change))
    if len(text) <= LONGEST:
        return text
    rest = _("The whole document stands on the page of the test.")
    return _text(test, step, f"{key_services.say_again(brief)}\n\n{rest}")


def _text(test: EncryptionTest, step: int, change: str) -> str:
    registration = test.registration
    page = settings.BASE_URL + reverse("portal:test", args=[test.tenant_id, test.pk])
    return "\n\n".join(
        [
            _("The encryption test found something to change in step {step}, {name}.").format(
                step=step, name=_(onboarding.BY_NUMBER[step].name)
            ),
            change,
            _("It is about your role {role_arn} and your key {key_arn}.").format(
                role_arn=registration.role_arn, key_arn=registration.key_arn
            ),
            _("The page of the test has the document as it has to read, and what changes in it: {page}").format(
                page=page
            ),
            _(
                "Then press “I changed it: test again” on the set-up page. "
                "You need not share the ARNs again unless one of them changes."
            ),
        ]
    )


def chosen(answers: list[ReadyAnswer], name: str) -> str:
    """Return the text of the one that was asked for, else of the first; "" where there is none."""
    return next((one.text for one in answers if one.name == name), answers[0].text if answers else "")
