"""The switch of languages, in the footer and on the account page."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from byokportal import errors, languages
from tenants import return_page, services


@require_POST
def choose(request: HttpRequest) -> HttpResponse:
    """Take another language, for the account too where somebody is signed in, and go back to the page."""
    language = request.POST.get("language", "")
    if language not in dict(settings.LANGUAGES):
        raise errors.InvalidInput(errors={"language": [_("Choose one of the languages that stand there.")]})
    if request.user.is_authenticated:
        services.choose_language(request.user, language)
    languages.remember(request, language)
    there = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(there, {request.get_host()}, require_https=request.is_secure())
    # not `redirect`, which takes a word without a slash for the name of a view
    return HttpResponseRedirect(there if is_ours else return_page.of(request))
