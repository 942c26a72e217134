"""Refuses a form of the portal or the back office that holds a secret, whatever the form;
nothing of it is shown again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django_htmx.http import HttpResponseClientRedirect

from byokportal import problems, secret_texts
from byokportal.errors import SecretPasted

# Fields whose secrets belong there: they are compared or hashed, never kept.
MEANT = {
    "csrfmiddlewaretoken",
    "password",
    "password1",
    "password2",
    "oldpassword",
    "code",
    "credential",
    "client_secret",
}
# Pages that read what is pasted, keep nothing, take secrets out before they show anything,
# and say more than we can here.
READERS = {"portal:check-output", "admin:explain_aws_error"}
# on the pages of the steps; their fields refuse secrets themselves, with more than we look for
ARNS = {
    "key_arn",
    "role_arn",
}


class SecretTextsMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        match = request.resolver_match
        if request.method != "POST" or request.path_info.startswith("/api/") or (match and match.view_name in READERS):
            return None
        fields = request.POST.keys() - MEANT - (ARNS if match and match.view_name == "portal:step" else set())
        try:
            secret_texts.refuse_in((name, text) for name in sorted(fields) for text in request.POST.getlist(name))
        except SecretPasted as error:
            if request.htmx:  # type: ignore[attr-defined]
                messages.error(request, error.in_full)
                there = request.htmx.current_url_abs_path or "/"  # type: ignore[attr-defined]
                answer: HttpResponse = HttpResponseClientRedirect(there)
                return answer
            return problems.on_a_page(request, error)
        return None
