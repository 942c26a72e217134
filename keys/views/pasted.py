"""Portal pages that read what people paste: a policy, the output of a command. Nothing of it is kept or logged."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys import services
from keys.arns import KeyArn, RoleArn
from keys.forms import OutputForm, PolicyForm
from keys.models import KeyRegistration
from keys.policies import difference
from keys.proof import pasted
from keys.proof.pasted.outputs import commands
from tenants import access, portal
from tenants.models import Tenant

VERDICTS = {
    "ok": (lazy("Right"), lazy("This says what the guide asks for, and lets nobody else in.")),
    "incomplete": (lazy("Not yet right"), lazy("With this we cannot use your key. What to correct stands below.")),
    "unsafe": (lazy("Too wide"), lazy("This lets others in. Correct it before you go on.")),
    "unreadable": (lazy("AWS would not save this"), lazy("AWS takes only strict JSON with the elements of a policy.")),
}
UNSEEN = lazy(
    "Nothing that we can see is wrong with this. It has a condition that only AWS can decide: go on, "
    "and the encryption test will tell."
)
# Where the corrected document goes in the AWS console.
PLACES = {
    "trust": lazy("IAM > Roles > Your role > Trust relationships > Edit trust policy"),
    "permissions": lazy("IAM > Policies > Your policy > Edit > JSON"),
    "key": lazy("KMS > Customer managed keys > Your key > Key policy > Edit"),
}
WHOLE = lazy(
    "This stands alone: it could not be merged with what you pasted. "
    "Do not put it in the place of a key policy that holds more."
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the pasted text with what is said of it."""

    number: int
    text: str
    findings: list[pasted.Finding]

    @property
    def severity(self) -> str:
        """The gravest of its findings, "" when there are none."""
        return next(
            (grave for grave in ("error", "warning", "info") if any(each.severity == grave for each in self.findings)),
            "",
        )


@dataclass(frozen=True, slots=True)
class Shown:
    """A reading of a policy as a page shows it."""

    kind: str
    verdict: str
    title: str
    lead: str
    grants: list[tuple[str, str]]  # what the guide asks for, and whether it is `given`, `unseen` or `missing`
    findings: list[pasted.Finding]
    lines: list[Line]
    difference: list[difference.Line]
    corrected: str
    place: str
    warning: str
    is_alone: bool  # `corrected` is the bare statement to add


def shown(tenant: Tenant, kind: str, text: str, reading: pasted.PastedPolicy) -> Shown:
    """Return a reading beside the lines that it speaks of, and what changes."""
    granted = services.granted_by_policy(tenant, kind=kind, text=text)
    by_line: dict[int, list[pasted.Finding]] = {}
    for finding in reading.findings:
        by_line.setdefault(finding.line, []).append(finding)
    texts = pasted.json_document.split_lines(text)
    lines = [Line(number, each, by_line.get(number, [])) for number, each in enumerate(texts, start=1)]
    changes = reading.corrected != reading.before
    title, lead = map(_, VERDICTS[reading.verdict])
    if reading.verdict == "ok" and any(each.code == "condition_unseen" for each in reading.findings):
        lead = _(UNSEEN)
    is_alone = any(each.code == "statement_alone" for each in reading.findings)
    return Shown(
        kind,
        reading.verdict,
        title,
        lead,
        list(granted.items()),
        reading.findings,
        lines if reading.findings else [],
        difference.lines(reading.before, reading.corrected) if changes and reading.before else [],
        reading.corrected if changes else "",
        _(PLACES[kind]),
        _(WHOLE) if kind == "key" and not reading.before and not is_alone else "",
        is_alone,
    )


def commands_of(tenant: Tenant, registration: KeyRegistration | None) -> list[commands.Command]:
    """Return the commands of step 4, as soon as both ARNs are given."""
    if registration is None or not registration.role_arn or not registration.key_arn:
        return []
    allowed = services.access_of(tenant, registration).actions
    return commands.of(RoleArn.parse(registration.role_arn), KeyArn.parse(registration.key_arn), allowed)


@login_required
@require_http_methods(["GET", "POST"])
def check_policy(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Read a policy that the tenant pastes: a fragment for htmx, a page without it."""
    member = access.member_for(request, tenant)
    form = PolicyForm(request.POST if request.method == "POST" else None)
    reading = None
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            kind, text = form.cleaned_data["kind"], form.cleaned_data["policy"]
            reading = shown(member.tenant, kind, text, services.check_policy(member.tenant, kind=kind, text=text))
    is_part = bool(request.htmx)  # type: ignore[attr-defined]
    template = "portal/parts/policy_reading.html" if is_part else "portal/policy.html"
    return _never_kept(render(request, template, portal.page(member, form=form, reading=reading)))


@login_required
@require_http_methods(["GET", "POST"])
def check_output(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Read what a command of step 4 printed: a fragment for htmx, a page without it."""
    member = access.member_for(request, tenant)
    form = OutputForm(request.POST if request.method == "POST" else None)
    reading = policy = None
    if request.method == "POST" and form.is_valid():
        text = form.cleaned_data["output"]
        reading = services.read_output(member.tenant, text=text)
        if reading.policy is not None:
            policy = shown(member.tenant, reading.policy_kind, text, reading.policy)
        if reading.has_secret:
            form.forget()
    is_part = bool(request.htmx)  # type: ignore[attr-defined]
    template = "portal/parts/output_reading.html" if is_part else "portal/output.html"
    return _never_kept(render(request, template, portal.page(member, form=form, output=reading, reading=policy)))


def _never_kept(answer: HttpResponse) -> HttpResponse:
    answer["Cache-Control"] = "no-store"  # what was pasted stays out of the browser's cache too
    return answer
