"""Explain an AWS error: what a customer's AWS said, what may be wrong, whose turn it is, and an answer to send;
nothing is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from keys.proof.diagnosis import advice, causes, parsing, redaction
from keys.proof.diagnosis.parsing import ParsedError
from support.admin import explained_answers
from support.forms import AwsErrorForm

TURNS = {
    "tenant": "The customer's: something in their AWS account has to change.",
    "kore": "Ours: nothing in the customer's account changes this.",
    "both": (
        "Ours first. AWS says the same when our side is at fault: look at the last encryption test of the tenant, "
        "whose first checks are our own identity, the canary role and our policy. "
        "If they passed, it is the customer's turn."
    ),
    "nobody": "Nobody's: it passes by itself or nothing is wrong.",
}
LAYERS = {
    "identity": "an identity-based policy of the caller",
    "resource": "the resource's own policy (the key policy)",
    "trust": "the role's trust policy",
    "boundary": "a permissions boundary",
    "session": "a session policy",
    "scp": "a service control policy of the organisation",
    "rcp": "a resource control policy of the organisation",
    "endpoint": "the policy of a VPC endpoint",
}


@dataclass(frozen=True, slots=True)
class Possible:
    """A cause still possible, with its remedy and where that lies."""

    label: str
    where: str
    remedy: str


@never_cache
@sensitive_post_parameters()
def page(request: HttpRequest, context: Mapping[str, Any]) -> HttpResponse:
    """Show the form and, of a text that was posted, what it means.

    Secrets are taken out before anything reads the text, so that no part of one can come back as a name or a resource.
    """
    form = AwsErrorForm(request.POST if request.method == "POST" else None)
    shown: dict[str, Any] = {"title": "Explain an AWS error", "form": form, **explained_answers.offer(request)}
    if request.method == "POST":
        text, in_text = redaction.removed(request.POST.get("text", ""))
        operation, in_operation = redaction.removed(request.POST.get("operation", ""))
        if form.is_valid():
            shown |= _explained(parsing.read(text, operation=operation))
        # A bound form would put the text back into the page as it came.
        again = AwsErrorForm(initial={"text": text, "operation": operation})
        shown |= {"form": again, "errors": form.errors, "secrets": dict.fromkeys((*in_text, *in_operation))}
    return TemplateResponse(request, "admin/explain.html", {**context, **shown})


def _explained(found: ParsedError) -> dict[str, Any]:
    error = found.error
    possible = [
        Possible(label, advice.where(label, causes.step_of(label, error)), advice.remedy_of(label, error))
        for label in found.causes
    ]
    fields = {
        "Code": ", ".join(parsing.known_codes(error)),
        "Operation": error.operation,
        "Who": error.principal,
        "On what": error.resource,
        "What decided": _decided(found),
        "That policy": error.policy_arn,
    }
    return {
        "found": found,
        "fields": {name: value for name, value in fields.items() if value},
        "possible": possible,
        "turn": TURNS[advice.turn_of(found.steps)] if found.causes else "",
    }


def _decided(found: ParsedError) -> str:
    denial = found.error.denial
    if not found.error.is_refusal:
        return ""
    if denial.is_hidden:
        return "AWS hides it: the key is in another account, and its absence, its policy and a Deny read alike"
    layer = LAYERS.get(denial.layer, "AWS does not say which policy")
    via = f", through {LAYERS[found.error.via]}" if found.error.via else ""
    return f"{layer}{via}: {'a Deny' if denial.is_explicit else 'no Allow'}"
