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
from django.views.decorators.http import require_GET

from byokportal import markdown
from keys import services
from keys.errors import ArnsMissing
from tenants import access, portal
from tenants.models import Member

# In the order of the guide's JSON blocks.
BLOCKS = ("trust-policy", "permissions-policy", "key-policy-statement")
JSON_BLOCK = re.compile(r"```json\n.*?```", re.DOTALL)


@cache
def _text() -> str:
    return (settings.BASE_DIR / "docs" / "guide.md").read_text()


@require_GET
def guide(request: HttpRequest) -> HttpResponse:
    """Show the guide; who is in one organisation reads it with that one's values."""
    mine = Member.objects.filter(user_id=request.user.pk or 0).values_list("tenant", flat=True)[:2]
    if len(mine) == 1:
        return redirect("portal:tenant-guide", mine[0])
    return render(request, "portal/guide.html", {"guide": markdown.to_html(_text())})


@login_required
@require_GET
def tenant_guide(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the guide with the tenant's values in the place of its placeholders."""
    member = access.member_for(request, tenant)
    texts = services.texts_of(member.tenant, services.shown_registration(member.tenant))
    step_4 = reverse("portal:step", args=[member.tenant.pk, 4])
    filled = fill(_text(), texts, account=member.tenant.service_role.account_id, step_4=step_4)
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


def fill(text: str, texts: services.Texts, *, account: str, step_4: str) -> str:
    """Return the guide with what is known of the tenant; what is not given yet keeps its placeholder."""
    for old, new in replacements(texts, account=account, step_4=step_4).items():
        text = text.replace(old, new)
    blocks = iter(BLOCKS)
    return JSON_BLOCK.sub(lambda found: _document(texts, next(blocks), found[0]), text)


def replacements(texts: services.Texts, *, account: str, step_4: str) -> Mapping[str, str]:
    """Return words of the guide → the same with the tenant's values; a test finds each of them in the guide."""
    reach = texts.access
    found = {
        "`arn:aws:iam::<account-id>:role/<role-name>` (required": f"`{reach.service_role}` (required",
        "* **External ID**: A unique value": f"* **External ID**: `{reach.external_id}`. A unique value",
        "our AWS Account ID (provided via email or customer portal)": f"our AWS Account ID `{account}`",
        "## Step 5:": (
            "The first command runs as you, whom the trust policy does not name: AccessDenied is the good sign. "
            f"[Step 4]({step_4}) has these commands and more, and says what their output means.\n\n## Step 5:"
        ),
    }
    if reach.role:
        found["arn:aws:iam::<YOUR-ACCOUNT-ID>:role/<ROLE-NAME>"] = str(reach.role)
        found["from step 2 (e.g., `arn:aws:iam::<account-id>:role/<role-name>`)"] = f"from step 2: `{reach.role}`"
    if reach.key:
        found["<YOUR-CMK-ARN>"] = str(reach.key)
        found["<YOUR-REGION>"] = reach.key.region
        found["from step 1 (e.g., `arn:aws:kms:<region>:account-id>:key/<key-id>`)"] = f"from step 1: `{reach.key}`"
    return found


def _document(texts: services.Texts, name: str, otherwise: str) -> str:
    try:
        return f"```json\n{texts.document(name)}\n```"
    except ArnsMissing:
        return otherwise
