"""A database that was restored from a backup follows the log again: what people stopped, removed or shut out since then
is stopped, removed and shut out once more, and what is lost is named."""

from __future__ import annotations

import contextlib
import itertools
import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from byokportal.errors import DomainError, InvalidInput
from keys import escrow, holds
from keys.closing import receipts
from keys.datakeys import admission
from keys.models import BranchKey, DatabaseAdmission, KeyRegistration, KeyUse, RestoreHold
from keys.services import closing, key
from tenants import audit, log_trees, persons, roles
from tenants import services as tenant_services
from tenants.audit import Actor
from tenants.models import AccessToken, AuditEvent, ClientSecret, Member, PersonName, ServiceAccount, Tenant
from tenants.services import reason_of

By = KeyRegistration.SuspendedBy
# How the database came back: restored from a backup; by WAL to its last commit; not at all, it is the admitted one.
RESTORED, LAST_COMMIT, ADMITTED = "restored", "last-commit", "admitted"
STATES = (RESTORED, LAST_COMMIT, ADMITTED)
BATCH = 2_000  # lines whose people are looked up together
SOON = timedelta(seconds=1)  # a secret is made within this before the line that says so
# Event → what it says of its target, by family; the last line about a target counts.
SAYS: dict[str, tuple[str, bool]] = {
    "keys.key.suspended": ("key", True),
    "keys.key.resumed": ("key", False),
    "tenants.member.removed": ("member", True),
    "tenants.member.left": ("member", True),
    "tenants.member.left_with_sign_on": ("member", True),
    "tenants.member.ended_by_directory": ("member", True),
    "tenants.member.joined": ("member", False),
    "tenants.member.joined_by_sign_on": ("member", False),
    "tenants.member.joined_by_directory": ("member", False),
    "tenants.service_account.disabled": ("account", True),
    "tenants.service_account.enabled": ("account", False),
    "tenants.service_account.created": ("account secret", True),
    "tenants.service_account.secret_rotated": ("account secret", True),
    "tenants.token.revoked": ("token", True),
    "tenants.person.erased": ("person", True),
    "keys.branch_key.created": ("branch key", True),
    "tenants.tenant.closed": ("organisation", True),
}


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log.

    Args:
        tenant: "" for a line of our own log.
        is_here: the database has it: from the backup, or put back by `reopen_logs`, which proved it by a signed head.
        after: of a secret: it was made after this, the instant of the line before.
    """

    id: int
    name: str
    tenant: str
    target: str
    actor: str
    at: datetime
    data: dict[str, Any]
    is_here: bool
    after: datetime | None = None

    @property
    def facts(self) -> tuple[int, str, str, str, datetime]:
        """Return what tells it from any other; the id does not: a restored database gives ids out once more."""
        return self.id, self.name, self.tenant, self.target, self.at

    @property
    def about(self) -> tuple[str, str, str]:
        """Return what it speaks of: a key is stopped by each side by itself, and a service account stands in the log of
        each organisation that it acts for."""
        family = SAYS[self.name][0]
        tenant = "" if family in OF_ACCOUNTS else self.tenant
        return family, tenant, f"{self.target} {self.side}" if family == "key" else self.target

    @property
    def side(self) -> str:
        """Return who stopped a key, or let it serve again."""
        if self.name == "keys.key.resumed":
            return By.KORE.value if self.actor.startswith("kore:") else By.TENANT.value
        # The tenant's label was written in the language of the page for a time.
        return {"AWS": By.AWS.value, "Kore.ai": By.KORE.value}.get(str(self.data.get("suspended_by")), By.TENANT.value)


@dataclass(slots=True)
class Restored:
    """What the check did and found.

    Attributes:
        closed, suspended, removed, disabled, revoked, erased: what was done again, by id.
        lost: branch keys that the log names and neither the database nor a copy has: what they wrapped is lost.
        left: what the log says and could not be done, with the reason.
        unchecked: organisations of which no line was given that is newer than the backup.
        held: those of them that get no data keys from now on, until their owners have confirmed (`keys.holds`).
        released: those that were on hold, and of which lines were given now.
    """

    closed: list[str] = field(default_factory=list)
    suspended: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    disabled: list[str] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)
    lost: list[dict[str, str]] = field(default_factory=list)
    left: list[dict[str, str]] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)


def read_line(text: str) -> LogLine | None:
    """Return what a line of an export says; None for the last one, which says whether the export is complete.

    Raises:
        InvalidInput: it is no line of a log's export.
    """
    try:
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError
        if "payload" not in found:
            return None
        payload = json.loads(found["payload"])
        tenant = uuid.UUID(payload["tenant"]) if payload["tenant"] else None
        names = persons.proven(found.get("persons", {}), tenant)
        if erased := [f"{{p:{pk}}}" for pk, one in names.items() if not one.text]:
            names |= persons.of(erased)  # the backup may be from before they were erased
        return _line(int(found["id"]), persons.shown(payload, names, tenant), is_here=False)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise InvalidInput(errors={"export": ["A line is none of a log's export."]}) from error


def _line(number: int, payload: dict[str, Any], *, is_here: bool) -> LogLine:
    at = datetime.fromisoformat(payload["at"])
    if at.tzinfo is None or not 2000 <= at.year <= 2999:
        raise ValueError("no time of a log")
    tenant, target, actor = str(payload["tenant"] or ""), str(payload["target"]), str(payload["actor"])
    return LogLine(number, str(payload["name"]), tenant, target, actor, at, dict(payload["data"]), is_here=is_here)


def restore_check(lines: Iterable[LogLine], *, reason: str, actor: Actor, state: str = "") -> Restored:
    """Let the database follow the log once more; run it before the database is admitted. Safe to repeat.

    Args:
        lines: of exports that are newer than the backup. They can only stop, remove and shut out.
        state: one of `STATES`; "": restored, where the database is another one than was admitted.

    Raises:
        InvalidInput: a published head is newer than the database, or it cannot have come back as `state` says.
    """
    roles.require(actor, "keys.restore_check")
    state = _state(state)
    if log_trees.is_behind():
        # Whatever is written before that takes the ids of lines which then cannot be put back.
        raise InvalidInput(errors={"export": ["A newer head was published than is here. Run reopen_logs first."]})
    reason = f"restored from a backup, the log says so: {reason_of(reason)}"
    here = list(_here())
    known = {line.facts for line in here}
    given: dict[tuple[object, ...], LogLine] = {}
    newest_given: dict[str, datetime] = {}
    for line in lines:
        newest_given[line.tenant] = max(line.at, newest_given.get(line.tenant, line.at))
        if line.name in SAYS and line.facts not in known:
            given[line.facts] = line
    last: dict[tuple[str, str, str], LogLine] = {}
    newest: dict[tuple[str, str], LogLine] = {}  # of each log about each service account's secret
    # Nothing proves what only a file says, so it can stop and shut out, and not say that a stop was ended.
    stops = (line for line in given.values() if SAYS[line.name][1])
    for line in sorted([*here, *stops], key=lambda one: (one.at, one.id)):
        if line.about[0] == "account secret":
            place = line.tenant, line.target
            before, newest[place] = newest.get(place), line
            line = replace(line, after=before.at if before else line.at - SOON)
        last[line.about] = line
    told = {line.tenant for line in given.values()} | _put_back() | _newer(newest_given)
    done = Restored()
    closed = _close_again(last.values(), done, reason, actor)
    for line in last.values():
        if SAYS[line.name][1] and line.tenant not in closed:
            _follow(line, done, reason, actor)
    everybody = Tenant.objects.filter(is_canary=False, closed_at=None).order_by("pk").values_list("pk", flat=True)
    done.unchecked = [str(pk) for pk in everybody if str(pk) not in told]
    _release(told, done, reason, actor)
    if state == RESTORED:
        _hold(done, reason, actor)
    audit.record("keys.database.checked", tenant=None, actor=actor, state=state, held=len(done.held), reason=reason)
    return done


def _close_again(lines: Iterable[LogLine], done: Restored, reason: str, actor: Actor) -> set[str]:
    """Close the organisations again that were closed since the backup, before anything else is followed: of these
    nothing else matters. A published receipt says so, or a line that a signed head proves; destroying is for good, so a
    line that only a file has does not.

    Returns:
        the ids of all that are closed now.
    """
    published, refused = receipts.published()
    for name, why in refused.items():
        done.left.append({"tenant": "", "line": name, "what": "receipt", "why": why})
    proved = {line.tenant for line in lines if line.name == "tenants.tenant.closed" and line.is_here}
    for pk in sorted({str(pk) for pk in published} | proved):
        tenant = Tenant.objects.filter(pk=uuid.UUID(pk)).select_related("service_role").first()
        if tenant is not None and tenant.closed_at is None:
            try:
                closing.close_again(tenant, reason=reason, actor=actor)
                done.closed.append(pk)
            except DomainError as error:
                done.left.append({"tenant": pk, "line": "", "what": "closing", "why": str(error)[:300]})
    return {str(pk) for pk in Tenant.objects.exclude(closed_at=None).values_list("pk", flat=True)}


def _state(given: str) -> str:
    """Return how the database came back. Who it is tells a dump from the admitted one; nothing tells a copy of its
    files from it, or the last commit from an earlier one: a person says so."""
    last, now = DatabaseAdmission.objects.first(), admission.incarnation()
    was = last.incarnation if last else ""
    if given not in {"", *STATES}:
        raise InvalidInput(errors={"state": [f"Choose one of {', '.join(STATES)}."]})
    if not given and was == now:
        raise InvalidInput(
            errors={
                "state": [
                    "It is the database that was admitted. Say --state restored where it came back from a copy of its "
                    "files, and --state admitted where it did not: nobody is put on hold then."
                ]
            }
        )
    if given == ADMITTED and was != now:
        raise InvalidInput(errors={"state": ["It is another database than the one that was admitted."]})
    if given == LAST_COMMIT and not admission.is_same_cluster(was, now):
        raise InvalidInput(errors={"state": ["It did not come back by WAL: its tables are new ones."]})
    return given or RESTORED


def _hold(done: Restored, reason: str, actor: Actor) -> None:
    """Put on hold of whom nothing is known since the backup, once for each time that the database came back."""
    last = DatabaseAdmission.objects.filter(is_by_person=True).first()
    since = RestoreHold.objects.filter(held_at__gt=last.admitted_at) if last else RestoreHold.objects.all()
    # What was confirmed of the database before this one is not confirmed of this one.
    had = {str(pk) for pk in since.exclude(status=RestoreHold.Status.CONFIRMED).values_list("tenant_id", flat=True)}
    newest = KeyUse.objects.order_by("-pk").values_list("at", flat=True).first()
    wanted = set(done.unchecked) - had
    for tenant in Tenant.objects.order_by("pk").iterator():
        if str(tenant.pk) not in wanted:
            continue
        line = AuditEvent.objects.of(tenant).order_by("-pk").values_list("at", flat=True).first()
        known = [at for at in (newest, line) if at is not None]
        hold = holds.begin(tenant, lost_from=max(known) if known else None, reason=reason, actor=actor)
        if hold is not None:
            done.held.append(str(tenant.pk))


def _release(told: set[str], done: Restored, reason: str, actor: Actor) -> None:
    """End the holds of those whose log was given after all: what it says has just been followed."""
    for hold in RestoreHold.objects.open().select_related("tenant"):
        if str(hold.tenant_id) not in told:
            continue
        holds.end(hold, RestoreHold.End.LOG, by=actor.label, reason=reason, actor=actor)
        done.released.append(str(hold.tenant_id))


def _here() -> Iterable[LogLine]:
    rows = AuditEvent.objects.filter(name__in=SAYS).order_by("pk").iterator(chunk_size=BATCH)
    while events := list(itertools.islice(rows, BATCH)):
        names = persons.of(text for event in events for text in (event.actor, event.payload))
        for event in events:
            payload = persons.shown(json.loads(event.payload), names, event.tenant_id)
            yield _line(event.pk, payload, is_here=True)


def _newer(given: dict[str, datetime]) -> set[str]:
    """Return the organisations of which a line was given that is younger than all that the database has of them.

    Args:
        given: when the youngest one was written, by organisation.
    """
    # Since a hold began, lines of its own stand here.
    waiting = dict(RestoreHold.objects.open().values_list("tenant_id", "lost_from"))
    mine = AuditEvent.objects.order_by("tenant", "-pk")
    found = set()
    for tenant, at in given.items():
        with contextlib.suppress(ValueError):
            pk = uuid.UUID(tenant)
            here = mine.filter(tenant=pk).values_list("at", flat=True).first()
            known = waiting.get(pk, here)
            found |= {tenant} if known is None or at > known else set()
    return found


def _put_back() -> set[str]:
    """Return the organisations whose lines were put back since a person last admitted a database."""
    found = AuditEvent.objects.filter(name="keys.log.restored").exclude(tenant=None)
    last = DatabaseAdmission.objects.filter(is_by_person=True).order_by("-admitted_at").first()
    since = found.filter(at__gt=last.admitted_at) if last else found
    return {str(pk) for pk in since.values_list("tenant_id", flat=True)}


Doing = Callable[[LogLine, Tenant, Restored, str, Actor], None]


def _follow(line: LogLine, done: Restored, reason: str, actor: Actor) -> None:
    family = SAYS[line.name][0]
    try:
        tenant = Tenant.objects.filter(pk=uuid.UUID(line.tenant)).first() if line.tenant else None
        if family in OF_ACCOUNTS and (tenant or not line.tenant):
            OF_ACCOUNTS[family](line, tenant, done, reason, actor)
        elif tenant is not None:
            DO[family](line, tenant, done, reason, actor)
        else:
            raise ValueError("the database does not know its organisation")
    except (DomainError, ValueError) as error:
        done.left.append({"tenant": line.tenant, "line": str(line.id), "what": line.name, "why": str(error)[:300]})


def _suspend(line: LogLine, tenant: Tenant, done: Restored, reason: str, actor: Actor) -> None:
    by = By(line.side)
    if by == By.AWS:  # it is asked for by the next probe
        return
    mine = KeyRegistration.objects.of(tenant)
    named = mine.filter(pk=uuid.UUID(line.target)).first()
    # A registration that is younger than the backup had taken over from the one that the backup has as serving.
    serving = mine.serving().first()
    if serving is None or (named is not None and named.pk != serving.pk):
        return  # a key that serves no more needs no stop
    is_pressed = serving.tenant_suspended_at is not None if by == By.TENANT else serving.suspended_by == By.KORE
    if not is_pressed:
        key.press(tenant, by=by, reason=reason, actor=actor)
        done.suspended.append(str(serving.pk))


def _remove(line: LogLine, tenant: Tenant, done: Restored, reason: str, actor: Actor) -> None:
    member = Member.objects.of(tenant).filter(pk=int(line.target)).select_related("user", "tenant").first()
    if member is None:
        return
    if str(line.data.get("email", "")).lower() not in {"", member.user.email.lower()}:
        raise ValueError("a member of that number has another address")
    tenant_services.remove_as_logged(member, reason=reason, actor=actor)
    done.removed.append(str(member.pk))


def _disable(line: LogLine, tenant: Tenant | None, done: Restored, reason: str, actor: Actor) -> None:
    account = ServiceAccount.objects.filter(pk=uuid.UUID(line.target), disabled_at=None).first()
    if account is not None:
        acts_for = tenant is None or account.has_all_tenants or account.tenants.filter(pk=tenant.pk).exists()
        if not (line.is_here or acts_for):
            raise ValueError("the service account does not act for that organisation")
        tenant_services.disable_service_account(account, reason=reason, actor=actor)
        done.disabled.append(str(account.pk))


def _disable_if_forgotten(line: LogLine, tenant: Tenant | None, done: Restored, reason: str, actor: Actor) -> None:
    """A secret that was rotated since the backup: the database knows the old one only, which had to end."""
    if not ClientSecret.objects.filter(service_account=uuid.UUID(line.target), created_at__gt=line.after).exists():
        _disable(line, tenant, done, reason, actor)


def _revoke(line: LogLine, tenant: Tenant, done: Restored, reason: str, actor: Actor) -> None:
    token = AccessToken.objects.filter(pk=uuid.UUID(line.target), member__tenant=tenant, revoked_at=None).first()
    if token is not None:
        tenant_services.revoke_token(token, actor=actor)
        done.revoked.append(str(token.pk))


def _erase(line: LogLine, tenant: Tenant | None, done: Restored, reason: str, actor: Actor) -> None:
    name = PersonName.objects.filter(pk=line.target, tenant=tenant, erased_at=None).first()
    if name is not None:
        # What only a file says of its own organisation counts in that organisation alone.
        only = None if line.is_here else tenant
        tenant_services.erase_as_logged(name, only=only, reason=reason, actor=actor)
        done.erased.append(name.pk)


def _look_for(line: LogLine, tenant: Tenant, done: Restored, reason: str, actor: Actor) -> None:
    if not BranchKey.objects.filter(tenant=tenant, pk=uuid.UUID(line.target)).exists():
        copy = "rebuild_branch_keys may have it" if escrow.is_on() else "no copies are made"
        done.lost.append(
            {"tenant": line.tenant, "branch_key": line.target, "wrapped_since": line.at.isoformat(), "copy": copy}
        )


def _say_that_it_is_not_proved(line: LogLine, tenant: Tenant, done: Restored, reason: str, actor: Actor) -> None:
    raise ValueError("only a file says that it was closed: put its receipt where heads are published, or close it anew")


DO: dict[str, Doing] = {
    "key": _suspend,
    "member": _remove,
    "token": _revoke,
    "branch key": _look_for,
    "organisation": _say_that_it_is_not_proved,
}
OF_ACCOUNTS: dict[str, Callable[[LogLine, Tenant | None, Restored, str, Actor], None]] = {
    "account": _disable,
    "account secret": _disable_if_forgotten,
    "person": _erase,
}
