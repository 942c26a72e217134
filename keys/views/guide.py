"""The customer guide and the change request as pages, with a tenant's values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import get_language
from django.views.decorators.http import require_GET

from byokportal import markdown
from keys import services
from keys.errors import ArnsMissing
from tenants import access, portal
from tenants.models import Member

# In the order of the guide's JSON blocks.
BLOCKS = ("trust-policy", "permissions-policy", "key-policy-statement")
JSON_BLOCK = re.compile(r"```json\n.*?```", re.DOTALL)
FILES = {"en": "guide.md", "de": "guide.de.md"}
# What stands in the guide of each language for a value → the same around `{value}`; a test finds each of them there.
PLACES = {
    "en": {
        "service_role": ("`arn:aws:iam::<account-id>:role/<role-name>` (required", "`{value}` (required"),
        "external_id": ("* **External ID**: A unique value", "* **External ID**: `{value}`. A unique value"),
        "account": ("our AWS Account ID (provided via email or customer portal)", "our AWS Account ID `{value}`"),
        "step_4": (
            "## Step 5:",
            "The first command runs as you, whom the trust policy does not name: AccessDenied is the good sign. "
            "[Step 4]({value}) has these commands and more, and says what their output means.\n\n## Step 5:",
        ),
        "role": ("from step 2 (e.g., `arn:aws:iam::<account-id>:role/<role-name>`)", "from step 2: `{value}`"),
        "key": ("from step 1 (e.g., `arn:aws:kms:<region>:account-id>:key/<key-id>`)", "from step 1: `{value}`"),
    },
    "de": {
        "service_role": ("`arn:aws:iam::<account-id>:role/<role-name>` (erforderlich", "`{value}` (erforderlich"),
        "external_id": ("* **External ID**: Ein eindeutiger", "* **External ID**: `{value}`. Ein eindeutiger"),
        "account": (
            "unsere AWS-Konto-ID ein (Sie erhalten sie per E-Mail oder im Kundenportal)",
            "unsere AWS-Konto-ID ein: `{value}`",
        ),
        "step_4": (
            "## Schritt 5:",
            "Der erste Befehl läuft als Sie, und Sie nennt die Trust Policy nicht: AccessDenied ist das gute Zeichen. "
            "[Schritt 4]({value}) hat diese Befehle und weitere und sagt, was ihre Ausgabe bedeutet.\n\n"
            "## Schritt 5:",
        ),
        "role": ("aus Schritt 2 (z. B. `arn:aws:iam::<account-id>:role/<role-name>`)", "aus Schritt 2: `{value}`"),
        "key": ("aus Schritt 1 (z. B. `arn:aws:kms:<region>:<account-id>:key/<key-id>`)", "aus Schritt 1: `{value}`"),
    },
}


def _language() -> str:
    reader = (get_language() or "").partition("-")[0]
    return reader if reader in FILES else "en"


@cache
def _text(language: str) -> str:
    return (settings.BASE_DIR / "docs" / FILES[language]).read_text()


@require_GET
def guide(request: HttpRequest) -> HttpResponse:
    """Show the guide; who is in one organisation reads it with that one's values."""
    mine = Member.objects.filter(user_id=request.user.pk or 0).values_list("tenant", flat=True)[:2]
    if len(mine) == 1:
        return redirect("portal:tenant-guide", mine[0])
    return render(request, "portal/guide.html", {"guide": markdown.to_html(_text(_language()))})


@login_required
@require_GET
def tenant_guide(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the guide with the tenant's values in the place of its placeholders."""
    member = access.member_for(request, tenant)
    texts = services.texts_of(member.tenant, services.shown_registration(member.tenant))
    step_4 = reverse("portal:step", args=[member.tenant.pk, 4])
    filled = fill(_language(), texts, account=member.tenant.service_role.account_id, step_4=step_4)
    return render(request, "portal/guide.html", portal.page(member, guide=markdown.to_html(filled)))


@login_required
@require_GET
def change_request(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the change request as a page to print."""
    member = access.member_for(request, tenant)
    text = markdown.to_html(services.change_request(member.tenant))
    url = reverse("portal:change-request-file", args=[member.tenant.pk])
    return render(request, "portal/change_request.html", portal.page(member, text=text, markdown_url=url))


@login_required
@require_GET
def change_request_file(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Give the change request as a file."""
    return as_markdown(services.change_request(access.member_for(request, tenant).tenant))


def as_markdown(text: str) -> HttpResponse:
    """Return a change request as a file."""
    answer = HttpResponse(text, content_type="text/markdown; charset=utf-8")
    answer["Content-Disposition"] = 'attachment; filename="byok-change-request.md"'
    answer["Cache-Control"] = "no-store"
    return answer


def fill(language: str, texts: services.Texts, *, account: str, step_4: str) -> str:
    """Return the guide with what is known of the tenant; what is not given yet keeps its placeholder."""
    text = _text(language)
    for old, new in replacements(language, texts, account=account, step_4=step_4).items():
        text = text.replace(old, new)
    blocks = iter(BLOCKS)
    return JSON_BLOCK.sub(lambda found: _document(texts, next(blocks), found[0]), text)


def replacements(language: str, texts: services.Texts, *, account: str, step_4: str) -> Mapping[str, str]:
    """Return words of the guide → the same with the tenant's values; a test finds each of them in the guide."""
    reach = texts.access
    values = {
        "service_role": str(reach.service_role),
        "external_id": reach.external_id,
        "account": account,
        "step_4": step_4,
    }
    found = {}
    if reach.role:
        found["arn:aws:iam::<YOUR-ACCOUNT-ID>:role/<ROLE-NAME>"] = values["role"] = str(reach.role)
    if reach.key:
        found["<YOUR-CMK-ARN>"] = values["key"] = str(reach.key)
        found["<YOUR-REGION>"] = reach.key.region
    places = PLACES[language]
    return found | {places[name][0]: places[name][1].replace("{value}", value) for name, value in values.items()}


def _document(texts: services.Texts, name: str, otherwise: str) -> str:
    try:
        return f"```json\n{texts.document(name)}\n```"
    except ArnsMissing:
        return otherwise
