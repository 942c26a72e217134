"""Whose doing is a refusal? AWS's words, the canary, how many at once, other tenants of the service role,
our policy in IAM (design.md 8)."""

from __future__ import annotations

import math
import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max, Q, QuerySet

from byokportal import clock
from byokportal.errors import DomainError
from keys import errors, lifecycle
from keys.access import Access
from keys.arns import KeyArn
from keys.aws import faults, sessions
from keys.configuration import read_back
from keys.errors import RegistrationBusy
from keys.health import asking, questions
from keys.models import Incident, KeyHealth, KeyRegistration, ServiceRolePolicy
from keys.proof.diagnosis import error_grammar
from tenants import audit, transactions
from tenants.models import ServiceRole

log = structlog.get_logger(__name__)
Status = KeyRegistration.Status

# Refusals that our own policies can cause as well as the tenant's. All others say what happened to the key itself.
DOUBTFUL: tuple[type[DomainError], ...] = (errors.RoleNotAssumable, errors.KeyAccessDenied, errors.KeyNotFound)
DOUBTFUL_CODES = tuple(error.code for error in DOUBTFUL)
# The kinds of policy that stand on our side of a call, where AWS names the one that decided: of AssumeRole the
# caller is our service role; of a KMS call it is the tenant's role, in a session that we narrowed (IAM guide,
# "Troubleshoot access denied error messages").
OUR_LAYERS: dict[type[DomainError], frozenset[str]] = {
    errors.RoleNotAssumable: frozenset({"identity", "boundary", "scp", "session", "endpoint"}),
    errors.KeyAccessDenied: frozenset({"session", "endpoint"}),
}
WITNESSES = 3  # other tenants that are asked, at most
HELD = errors.OwnAccessBroken.code  # the reason of a registration that was refused while it may be our doing
NEVER = datetime.min.replace(tzinfo=UTC)


def of(
    service_role: ServiceRole,
    error: DomainError,
    *,
    refused: Sequence[KeyHealth],
    is_anybody_let_in: bool = False,
) -> DomainError | None:
    """Judge a refusal; call it after the refusal and outside a transaction: it asks AWS.

    Args:
        error: what AWS answered.
        refused: the keys that it refused just now, all named by the same policy of this service role.
        is_anybody_let_in: another registration that this policy names got in just now.

    Returns:
        None when it is the tenant's doing, else the error that says it is ours.
    """
    if not isinstance(error, DOUBTFUL):
        return None
    why, is_broken = _why_ours(service_role, error, refused, is_anybody_let_in)
    if not why:
        return None
    if is_broken:
        _open(service_role, why, refused)
    return _ours(why)


def shut_out(blamed: Sequence[KeyHealth]) -> dict[int, DomainError]:
    """Look for those whose role refused us, whom `of` blames, and whom our own policy has lost:
    IAM is read, so it is for the worker.

    Returns:
        health row → the error that says that it is ours, or that it cannot be told yet;
        the refusal of all others is the tenant's.
    """
    by_role: dict[ServiceRole, list[KeyHealth]] = defaultdict(list)
    for health in blamed:
        by_role[health.registration.tenant.service_role].append(health)
    lost = read_back.lost(
        {service_role: [one.registration.role_arn for one in ones] for service_role, ones in by_role.items()}
    )
    # IAM needs minutes until each STS knows what we have just corrected: the first refusal after it proves nothing yet.
    looked = looked_at(by_role)
    verdicts: dict[int, DomainError] = {
        one.pk: errors.KeyUnreachable(retry_after=30)
        for one in blamed
        if one.registration.reason == HELD and not is_settled(one, looked)
    }
    for service_role, ones in by_role.items():
        ours = [one for one in ones if one.registration.role_arn in lost]
        if ours:
            _open(
                service_role, lost[ours[0].registration.role_arn], ours, takes_back=False
            )  # it shows whom it concerns
        verdicts |= {one.pk: _ours(lost[one.registration.role_arn]) for one in ours}
    return verdicts


def _ours(why: str) -> DomainError:
    return errors.OwnAccessBroken(retry_after=30, aws_code=why, action="our own side", aws_request_id="")


def policies(service_roles: Collection[ServiceRole]) -> dict[str, int]:
    """Return role ARN → the policy of ours that names it."""
    rows = ServiceRolePolicy.objects.filter(service_role__in=service_roles)
    return {role_arn: row.pk for row in rows for role_arn in row.role_arns}


def looked_at(service_roles: Collection[ServiceRole]) -> dict[int, datetime]:
    """Return service role → when a person last closed an incident of it.

    Whoever does so says that what AWS refuses since before then is the tenants' doing. That takes back
    what we conclude from numbers (many at once, neighbours refused too), never what shows us broken: AWS's own
    words, the canary.
    """
    closed = Incident.objects.filter(service_role__in=service_roles).exclude(closed_by="")
    return dict(closed.values_list("service_role").annotate(Max("closed_at")))


def _looked_at(service_role: ServiceRole) -> datetime:
    return looked_at([service_role]).get(service_role.pk, NEVER)


def is_settled(health: KeyHealth, looked: Mapping[int, datetime]) -> bool:
    """Tell whether AWS refuses this key since before a person looked.

    Args:
        looked: what `looked_at` returns.
    """
    since = health.refused_since
    return since is not None and since <= looked.get(health.registration.tenant.service_role_id, NEVER)


def _why_ours(
    service_role: ServiceRole, error: DomainError, refused: Sequence[KeyHealth], is_anybody_let_in: bool
) -> tuple[str, bool]:
    """Return why it is ours ("": it is the tenant's), and whether that shows our side broken rather than silent."""
    layer = error_grammar.denial_of(faults.aws_message_of(error)).layer
    if layer in OUR_LAYERS.get(type(error), ()):
        return f"AWS names our own {layer} policy", True
    region = KeyArn.parse(refused[0].registration.key_arn).region
    if any(one.registration.tenant.is_canary for one in refused):  # nobody but us has its role and its key
        return f"{BY_THE_CANARY}{error.code} in {region}", True
    if isinstance(error, errors.RoleNotAssumable):
        # the STS that refused
        outcome = canary(service_role, region)
        if outcome.allowed is not True:
            sessions.forget_role(service_role.arn)
            return f"the canary got {outcome.aws_code}", outcome.allowed is False
        if refused[0].registration.role_arn not in policies([service_role]):
            return "no policy of ours names the role", True
    elif _is_our_key_refused(service_role, region):
        return "the canary's own key is refused too", True
    looked = looked_at([service_role])
    if all(is_settled(one, looked) for one in refused):
        return "", False
    since = _window_began(service_role)
    began = {one.registration_id for one in refused if one.refused_since is None or one.refused_since > since}
    count = len(_refused_lately(service_role) | began)
    if count >= _many(service_role):
        return f"{count} organisations refused at once", True
    return ("", False) if is_anybody_let_in else _witnesses(service_role, refused)


def _is_our_key_refused(service_role: ServiceRole, region: str) -> bool:
    """Ask the key of our own tenant in that Region, by the whole path: no customer can have changed anything there."""
    ours = KeyHealth.objects.filter(
        tenant__canary__service_role=service_role,
        tenant__canary__region=region,
        registration__status__in=[Status.ACTIVE, Status.UNREACHABLE],
    )
    rows = list(ours.select_related("registration__tenant__service_role")[:1])
    return any(isinstance(asking.ask(question).error, DOUBTFUL) for question in questions.of(rows))


def canary(service_role: ServiceRole, region: str) -> sessions.AssumeOutcome:
    """Ask whether the canary of a service role still lets us in, at the STS of a Region."""
    access = Access.of_texts(
        tenant="ours",
        service_role_arn=service_role.arn,
        external_id=service_role.canary_external_id,
        role_arn=service_role.canary_role_arn,
    )
    session = sessions.session_name("canary", access.tenant)
    return sessions.probe(access, access.external_id, region=region, session=session)


BY_THE_CANARY = "the canary is refused: "  # how the reason of an incident begins that no tenant has met yet


def canary_is_refused(service_role: ServiceRole, how: str) -> None:
    """Open the incident of a service role whose canary is refused, whether or not a tenant has met it."""
    _open(service_role, BY_THE_CANARY + how, ())


def _window_began(service_role: ServiceRole) -> datetime:
    return max(_a_window_ago(), _looked_at(service_role))


def _a_window_ago() -> datetime:
    return clock.now() - timedelta(seconds=settings.MANY_DENIALS_SECONDS)


def _refused_lately(service_role: ServiceRole) -> set[uuid.UUID]:
    """Return whom AWS began to refuse within the window:
    a refusal that has stood for long is no sign of anything new."""
    rows = KeyHealth.objects.filter(
        tenant__service_role=service_role,
        tenant__is_canary=False,
        refused_code__in=DOUBTFUL_CODES,
        refused_since__gt=_window_began(service_role),
    )
    return set(rows.values_list("registration", flat=True))


def _many(service_role: ServiceRole) -> int:
    serving = KeyRegistration.objects.serving().filter(tenant__service_role=service_role, tenant__is_canary=False)
    tenants = serving.count()
    return max(int(settings.MANY_DENIALS), math.ceil(float(settings.MANY_DENIALS_SHARE) * tenants))


def _witnesses(service_role: ServiceRole, refused: Sequence[KeyHealth]) -> tuple[str, bool]:
    """Ask tenants that stand beside the refused ones in our policy: if AWS refuses those too, it is our policy."""
    others = (
        KeyHealth.objects.filter(
            tenant__service_role=service_role, registration__status__in=[Status.ACTIVE, Status.UNREACHABLE]
        )
        .exclude(pk__in=[health.pk for health in refused])
        .select_related("registration__tenant__service_role")
        .order_by("-last_probe_at")
    )
    policy_of = policies([service_role])
    ours = policy_of.get(refused[0].registration.role_arn)
    if ours is not None:
        beside = [role_arn for role_arn, policy in policy_of.items() if policy == ours]
        others = others.filter(registration__role_arn__in=beside)
    answers = [asking.ask(question).error for question in questions.of(list(others[:WITNESSES]))]
    no = sum(isinstance(error, DOUBTFUL) for error in answers)
    if not answers and len(refused) > WITNESSES:  # they are all there are: several at once bear witness for each other
        return f"all {len(refused)} organisations are refused", True
    if no >= 2 and None not in answers:
        return f"{no} of {len(answers)} other organisations are refused too", True
    return "", False


# --- the incident ---------------------------------------------------------------------------------------------------


def note_if_many(service_role: ServiceRole) -> None:
    """Open an incident when our own side fails for many tenants of a service role, however each of them heard of it."""
    since = _looked_at(service_role)
    # One that was not asked again since a person looked is no new sign.
    customers = held(service_role).filter(tenant__is_canary=False)
    count = customers.filter(Q(health__last_probe_at__gt=since) | Q(moved_at__gt=since)).count()
    if count >= _many(service_role):
        _open(service_role, f"our own side does not work for {count} organisations", ())


def held(service_role: ServiceRole) -> QuerySet[KeyRegistration]:
    """Return the registrations that AWS does not let us use and whose tenants are not blamed for it."""
    return KeyRegistration.objects.filter(tenant__service_role=service_role, status=Status.UNREACHABLE, reason=HELD)


@transactions.atomic
def _open(service_role: ServiceRole, why: str, refused: Sequence[KeyHealth], *, takes_back: bool = True) -> None:
    """Open the incident of a service role, or note that it goes on.

    Args:
        takes_back: what was blamed on tenants within the window is taken back, because it may have been ours too.
    """
    blamed = _blamed(service_role) if takes_back else []
    transactions.hold(*(registration.tenant_id for registration in blamed))
    now, why = clock.now(), why[:200]
    customers = {one.registration_id for one in refused if not one.registration.tenant.is_canary}
    count = len(_refused_lately(service_role) | customers)
    running = Incident.objects.filter(service_role=service_role, closed_at=None)
    if running.update(seen_at=now):
        running.filter(refused__lt=count).update(refused=count)
        return
    try:
        with transaction.atomic():
            incident = Incident.objects.create(
                service_role=service_role, why=why, refused=count, opened_at=now, seen_at=now
            )
    except IntegrityError:  # another worker was first
        return
    log.error("incident_opened", service_role=service_role.arn, why=why, refused=count)
    audit.record(
        "keys.incident.opened",
        tenant=None,
        actor=audit.SYSTEM,
        target=incident,
        service_role_arn=service_role.arn,
        why=why,
        count=count,
    )
    _take_back(blamed)


def _blamed(service_role: ServiceRole) -> list[KeyRegistration]:
    """Return whom we suspended within the window for what may have been ours."""
    blamed = KeyHealth.objects.filter(
        tenant__service_role=service_role,
        registration__status=Status.SUSPENDED,
        registration__suspended_by=KeyRegistration.SuspendedBy.AWS,
        registration__reason__in=DOUBTFUL_CODES,
        registration__moved_at__gt=_a_window_ago(),
    ).exclude(refused_since__lte=_looked_at(service_role))
    return [health.registration for health in blamed.select_related("registration__tenant")]


def _take_back(blamed: Sequence[KeyRegistration]) -> None:
    for registration in blamed:
        try:
            lifecycle.move(registration, Status.UNREACHABLE, actor=audit.SYSTEM, reason=HELD)
        except RegistrationBusy:  # somebody moved it at this moment: that counts
            continue
        audit.record(
            "keys.key.unreachable",
            tenant=registration.tenant,
            actor=audit.SYSTEM,
            target=registration,
            reason=HELD,
            whose_turn="kore",
        )


def close_what_is_over() -> int:
    """Close the incidents that are over: nobody is held any more, or for a whole window nothing said that it is ours.

    Returns:
        how many were closed.
    """
    closed = 0
    now = clock.now()
    for incident in Incident.objects.filter(closed_at=None).select_related("service_role"):
        is_going_on = incident.why.startswith(BY_THE_CANARY) or held(incident.service_role).exists()
        if incident.seen_at >= _a_window_ago() and is_going_on:
            continue
        try:
            closed += _close(incident, now)
        except Exception:  # one that cannot be closed stays open; the others are looked at all the same
            log.exception("incident_not_closed", incident=incident.pk)
    return closed


@transactions.atomic
def _close(incident: Incident, now: datetime) -> bool:
    if not Incident.objects.filter(pk=incident.pk, closed_at=None, seen_at=incident.seen_at).update(closed_at=now):
        return False
    audit.record(
        "keys.incident.closed",
        tenant=None,
        actor=audit.SYSTEM,
        target=incident,
        service_role_arn=incident.service_role.arn,
    )
    return True
