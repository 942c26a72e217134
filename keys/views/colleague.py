"""What the link for a colleague who owns AWS opens: steps 1 to 4 of one organisation, without an account.

No people, tickets or log stand here, and nothing is changed from here: ARNs that come in wait for an owner or admin.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from byokportal import addresses, markdown
from byokportal.errors import RateLimited
from byokportal.translation import translate as _
from keys import services
from keys.forms import OutputsForm, PolicyForm
from keys.models import EncryptionTest, SetupLink
from keys.policies.documents import FILES, NAMES
from keys.views import guide, pasted, steps
from tenants import attempts, mailed_links, portal
from tenants.attempts import Limit

NAME = "setup-link"
LASTS = 8 * 3600  # seconds that a browser keeps the secret: a working day
BY_ADDRESS = Limit("setup-link", 120, 60)
View = Callable[..., HttpResponse]


def _linked(view: View) -> View:
    """Hand the open link of the browser's secret to a view; count who asks, and keep the page out of every cache."""

    @never_cache
    @wraps(view)
    def counted(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        address = addresses.group(request.META.get("REMOTE_ADDR", addresses.UNKNOWN))
        if attempts.count(BY_ADDRESS, address) > BY_ADDRESS.count:
            raise RateLimited(retry_after=BY_ADDRESS.seconds)
        link = services.link_by_secret(mailed_links.secret_of(request, NAME))
        # A page that was opened by another link must not go on with this one's organisation.
        if link is None or request.GET.get("link", str(link.pk)) != str(link.pk):
            return render(request, "portal/setup_link_over.html", {"is_another": link is not None}, status=404)
        return view(request, link, *args, **kwargs)

    return counted


@never_cache
@require_GET
def enter(request: HttpRequest, secret: str) -> HttpResponse:
    """Lead to the page without the secret in its address; uses nothing up."""
    return mailed_links.lead(NAME, secret, "portal:setup-link", lasts=LASTS)


@require_GET
@_linked
def page(request: HttpRequest, link: SetupLink) -> HttpResponse:
    """Show steps 1 to 4: values, documents, boxes, and what our test found."""
    services.note_opened(link)
    return _shown(request, link)


@require_POST
@_linked
def propose(request: HttpRequest, link: SetupLink) -> HttpResponse:
    """Keep ARNs until an owner or admin confirms them."""
    form = OutputsForm(request.POST)
    if form.is_valid():
        with portal.refusals_on(form):
            proposal = services.propose(link, text=form.cleaned_data["outputs"])
            arns = " and ".join(filter(None, (proposal.key_arn, proposal.role_arn)))
            messages.success(request, _("%(arns)s came in. An owner or admin confirms it.", arns=arns))
            return redirect("portal:setup-link")
    return _shown(request, link, outputs_form=form)


@require_http_methods(["GET", "POST"])
@_linked
def check_policy(request: HttpRequest, link: SetupLink) -> HttpResponse:
    """Read a policy that is pasted; nothing of it is kept."""
    form = PolicyForm(request.POST if request.method == "POST" else None)
    reading = None
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            kind, text = form.cleaned_data["kind"], form.cleaned_data["policy"]
            reading = pasted.shown(link.tenant, kind, text, services.check_policy(link.tenant, kind=kind, text=text))
    return render(
        request,
        "portal/setup_link_policy.html",
        {"form": form, "reading": reading, "link": link, "here": f"?link={link.pk}"},
    )


@require_GET
@_linked
def document(request: HttpRequest, link: SetupLink, name: str) -> HttpResponse:
    """Give one document as a file."""
    answer = HttpResponse(services.document(link.tenant, name), content_type="text/plain; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{FILES[name]}"'
    return answer


@require_GET
@_linked
def change_request(request: HttpRequest, link: SetupLink) -> HttpResponse:
    """Show the change request as a page to print."""
    text = markdown.to_html(services.change_request(link.tenant))
    url = reverse("portal:setup-link-change-request-file")
    return render(request, "portal/change_request.html", {"text": text, "markdown_url": url})


@require_GET
@_linked
def change_request_file(request: HttpRequest, link: SetupLink) -> HttpResponse:
    """Give the change request as a file."""
    return guide.as_markdown(services.change_request(link.tenant))


def _shown(request: HttpRequest, link: SetupLink, *, outputs_form: OutputsForm | None = None) -> HttpResponse:
    tenant = link.tenant
    registration = services.shown_registration(tenant)
    texts = services.texts_of(tenant, registration)
    test = (
        EncryptionTest.objects.of(tenant)
        .filter(registration=registration)
        .select_related("registration")
        .prefetch_related("checks")
        .first()
    )
    shown = [steps.document_of(texts, name) for name in NAMES]
    context = {
        "link": link,
        "here": f"?link={link.pk}",
        "organisation": tenant.name,
        "start": steps.start_of(tenant),
        "arns": steps.arns_of(registration),
        "documents": {each.name.replace("-", "_"): each for each in shown},
        "choices": texts.choices,
        "narrow": texts.narrow,
        "files": FILES,
        "commands": pasted.commands_of(tenant, registration),
        "outputs_form": outputs_form or OutputsForm(),
        "proposal": services.pending_proposal(tenant),
        "reading": services.read_test(test) if test else None,
    }
    return render(request, "portal/setup_link.html", context)
