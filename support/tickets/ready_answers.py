"""Ready answers to a ticket: what the newest test found, in the tenant's own values, with the document as it has to
read; a person changes and sends them."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.urls import reverse

from keys import services as key_services
from keys.models import EncryptionTest
from tenants import onboarding

# Characters of an answer; a longer document is on the page of the test.
LONGEST = 9_000
# Answers that are offered.
MOST = 6
CLOSING = (
    "Then press “I changed it: test again” on the set-up page. "
    "You need not share the ARNs again unless one of them changes."
)


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


def of(test: EncryptionTest | None) -> list[ReadyAnswer]:
    """Return the ready answers that a test gives, in the order of its remedies; none where nothing failed.

    Args:
        test: the newest of the tenant; its checks are read, and its registration.
    """
    if test is None:
        return []
    registration = test.registration
    page = settings.BASE_URL + reverse("portal:test", args=[test.tenant_id, test.pk])
    about = f"It is about your role {registration.role_arn} and your key {registration.key_arn}."
    whole = key_services.remedies_of(test, with_documents=True)
    short = key_services.remedies_of(test)
    found = []
    for number, (step, change) in enumerate(whole[:MOST], start=1):
        name = onboarding.BY_NUMBER[step].name
        text = _text(step, name, change, about, page)
        if len(text) > LONGEST:
            brief = "\n".join(one for at, one in short if at == step)[: LONGEST // 2]
            text = _text(step, name, f"{brief}\n\nThe whole document stands on the page of the test.", about, page)
        found.append(ReadyAnswer(str(number), f"Step {step}, {name}", text))
    return found


def _text(step: int, name: str, change: str, about: str, page: str) -> str:
    return "\n\n".join(
        [
            f"The encryption test found something to change in step {step}, {name}.",
            change,
            about,
            f"The page of the test has the document as it has to read, and what changes in it: {page}",
            CLOSING,
        ]
    )


def chosen(answers: list[ReadyAnswer], name: str) -> str:
    """Return the text of the one that was asked for, else of the first; "" where there is none."""
    return next((one.text for one in answers if one.name == name), answers[0].text if answers else "")
