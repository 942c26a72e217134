"""Operations on the streams of the log: added, changed, rotated, switched, removed, tested, set back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Min, QuerySet
from django.utils.crypto import salted_hmac

from byokportal import clock, outbound, receivers
from byokportal.errors import AddressRefused, InvalidInput, NotFound
from byokportal.translation import lazy
from byokportal.translation import translate as _
from tenants import approvals, audit, roles, sealing, transactions
from tenants.approvals import HELD, Held
from tenants.audit import Actor
from tenants.errors import LogStreamTestWaits, TooManyLogStreams
from tenants.models import AuditEvent, LogStream, LogStreamQuerySet, Tenant
from tenants.services import guards
from tenants.services.words import name_of

Status, Format = LogStream.Status, LogStream.Format
OLD_SECRET_HOURS, LONGEST_OLD_SECRET_HOURS = 24, 24 * 7
TEST_EVERY = timedelta(seconds=30)
# Of one stream; RFC 9110, section 5.6.2 has the signs of a name, and 5.5 those of a value.
HEADERS = 5
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", re.ASCII)
HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,1998}[\x21-\x7e])?", re.ASCII)
# What frames the request, and what we say of ourselves.
OUR_HEADERS = frozenset(
    {"host", "te", "trailer", "upgrade", "expect", "user-agent", "keep-alive", "connection", "cookie"}
)
OUR_BEGINNINGS = ("content-", "transfer-", "accept-", "proxy-", "webhook-")
SEND = lazy("send the log to {origin} ({description})")
ITS_NAME, ITS_HEADERS = lazy("its name"), lazy("its headers")
LOGS = "/v1/logs"  # where OTLP over HTTP takes logs, if an address has no path
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)  # a time of the year 1 or 9999 is none of UTC's in every zone
WITHIN = timedelta(minutes=5)  # transactions commit out of order: lines this near to a time may stand before it


def log_streams_of(tenant: Tenant) -> QuerySet[LogStream]:
    """Return the streams of an organisation's log."""
    return LogStream.objects.of(tenant).present().select_related("tenant")


def log_stream_of(tenant: Tenant, number: UUID) -> LogStream:
    """Return one of them.

    Raises:
        NotFound: it has none by that id.
    """
    found = log_streams_of(tenant).filter(pk=number).first()
    if found is None:
        raise NotFound
    return found


def last_number(tenant: Tenant) -> int:
    """Return the number of the newest sealed line of an organisation's log; 0 where there is none."""
    sealed = AuditEvent.objects.of(tenant).exclude(seal="").order_by("-seal_number")
    return sealed.values_list("seal_number", flat=True).first() or 0


@transactions.atomic
def add_log_stream(
    tenant: Tenant,
    *,
    format: str,
    address: str,
    description: str,
    headers: Mapping[str, str] | None = None,
    from_the_beginning: bool = True,
    actor: Actor,
) -> tuple[LogStream, str]:
    """Send the log to a receiver from now on; what is sealed already comes first, unless it is not wanted.

    Args:
        format: of `LogStream.Format`.
        address: of the receiver; for OTLP one without a path gets OTLP's own.
        headers: of each request, for OTLP: by them a receiver knows who sends. They are kept encrypted.
        from_the_beginning: begin with the first line; else with the next one.

    Returns:
        the stream and its secret, which is shown once; empty where the format has no signature.

    Raises:
        InvalidInput: with the reason under its field.
        TooManyLogStreams: the organisation has as many as it may.
        SecondPersonNeeded: somebody else has to approve that the log goes there.
    """
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.change_log_streams", tenant)
    if format not in Format.values:
        raise InvalidInput(errors={"format": [_("Choose from %(names)s.", names=", ".join(Format.values))]})
    description, target = name_of(description, field="description"), _target(address)
    if format == Format.OTLP and target.path == "/":
        target = outbound.target_of(target.origin + LOGS)
    given = _headers(format, headers or {})
    if log_streams_of(tenant).count() >= LogStream.AT_MOST:
        raise TooManyLogStreams(limit=LogStream.AT_MOST)
    what = SEND.format(origin=target.origin, description=description)
    same = {"format": format, "digest": _digest(target.path, given)}
    approvals.require(actor, "tenants.change_log_streams", tenant, what=what, **same)
    secret = receivers.new_secret() if format == Format.WEBHOOK else ""
    after = 0 if from_the_beginning else last_number(tenant)
    stream = LogStream.objects.create(
        tenant=tenant,
        format=format,
        description=description,
        origin=target.origin,
        header_names=sorted(given),
        sealed_address=sealing.seal(target.origin + target.path),
        sealed_headers=sealing.seal(json.dumps(given)) if given else "",
        sealed_secret=sealing.seal(secret) if secret else "",
        acknowledged=after,
        made_by=actor.label[:200],
    )
    _record("tenants.log_stream.added", stream, actor, format=format, after=after)
    return stream, secret


@transactions.atomic
def change_log_stream(
    stream: LogStream, *, description: str, headers: Mapping[str, str] | None = None, actor: Actor
) -> None:
    """Change what a stream is called, and its headers where some are given. Another address is another stream.

    Args:
        headers: all of them, in place of those there are; None or none: they stay.

    Raises:
        InvalidInput: with the reason under its field.
        SecondPersonNeeded: of other headers: at many receivers they alone say to whom the log goes.
    """
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.change_log_streams", stream.tenant)
    facts: dict[str, Any] = {"description": name_of(description, field="description")}
    given = _headers(stream.format, headers or {})
    what: dict[str, Any] = {"what": ITS_NAME}
    if given:
        asked = f"send other headers with the log to {stream.origin} ({stream.description})"
        same = {"stream": str(stream.pk), "digest": _digest("", given)}
        approvals.require(actor, "tenants.change_log_streams", stream.tenant, what=asked, **same)
        facts |= {"header_names": sorted(given), "sealed_headers": sealing.seal(json.dumps(given))}
        what = {"what": ITS_HEADERS, "headers": facts["header_names"]}
    _update(stream, **facts)
    _record("tenants.log_stream.changed", stream, actor, **what)


@transactions.atomic
def rotate_log_stream_secret(stream: LogStream, *, hours: int = OLD_SECRET_HOURS, actor: Actor) -> str:
    """Make a new secret; for some hours batches are signed by both. One from an earlier rotation ends at once.

    Args:
        hours: for which the old one signs too, 0 to 168.

    Returns:
        the new secret, which is shown once.

    Raises:
        InvalidInput: other hours, or a format without a signature.
    """
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.change_log_streams", stream.tenant)
    if not 0 <= hours <= LONGEST_OLD_SECRET_HOURS:
        why = _("The old secret may sign for 0 to %(longest)s hours.", longest=LONGEST_OLD_SECRET_HOURS)
        raise InvalidInput(errors={"hours": [why]})
    if stream.format != Format.WEBHOOK:
        raise InvalidInput(errors={"hours": [_("Only signed batches have a secret. Change the headers instead.")]})
    current = log_stream_of(stream.tenant, stream.pk)
    secret = receivers.new_secret()
    _update(
        stream,
        sealed_secret=sealing.seal(secret),
        sealed_old_secret=current.sealed_secret if hours else "",
        old_secret_until=clock.now() + timedelta(hours=hours) if hours else None,
    )
    _record("tenants.log_stream.secret_rotated", stream, actor, hours=hours)
    return secret


@transactions.atomic
def switch_log_stream(stream: LogStream, *, is_on: bool, actor: Actor) -> None:
    """Switch a stream off, or on again: it goes on where it was, and nothing is left out."""
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.change_log_streams", stream.tenant)
    old = [Status.OFF, Status.FAILING] if is_on else [Status.ON]
    now = clock.now()
    wake = {"woken_at": now, "due_at": now, "behind_since": now} if is_on else {}
    fresh = {"failures": 0, "failing_since": None, "told_at": None}
    if LogStream.objects.filter(pk=stream.pk, status__in=old).update(
        status=Status.ON if is_on else Status.OFF, **fresh, **wake
    ):
        name = "tenants.log_stream.switched_on" if is_on else "tenants.log_stream.switched_off"
        _record(name, stream, actor)


@transactions.atomic
def remove_log_stream(stream: LogStream, *, actor: Actor) -> None:
    """Remove a stream: its address, headers and secrets are forgotten at once."""
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.change_log_streams", stream.tenant)
    if _forget(LogStream.objects.filter(pk=stream.pk)):
        _record("tenants.log_stream.removed", stream, actor)


def end_log_streams(tenant: Tenant) -> None:
    """Remove all streams of an organisation that is closed: part of that operation, which says so in the log."""
    _forget(LogStream.objects.of(tenant))


def _forget(streams: LogStreamQuerySet) -> int:
    empty = dict.fromkeys(("sealed_address", "sealed_headers", "sealed_secret", "sealed_old_secret"), "")
    return streams.present().update(status=Status.REMOVED, old_secret_until=None, test_due_at=None, **empty)


@transactions.atomic
def test_log_stream(stream: LogStream, *, actor: Actor) -> None:
    """Send a test, to one that is switched off too. It is tried once.

    Raises:
        LogStreamTestWaits: one is under way, or was a moment ago.
    """
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.send_log_streams", stream.tenant)
    current, now = log_stream_of(stream.tenant, stream.pk), clock.now()
    if current.test_due_at is not None or (current.tested_at is not None and current.tested_at > now - TEST_EVERY):
        seconds = int(TEST_EVERY.total_seconds())
        raise LogStreamTestWaits(seconds=seconds, retry_after=seconds)
    _update(stream, test_due_at=now)
    _record("tenants.log_stream.tested", stream, actor)


@transactions.atomic
def replay_log_stream(
    stream: LogStream, *, number: int | None = None, since: datetime | None = None, actor: Actor
) -> int:
    """Set a stream back: from a line on all is sent again, in order. What was sent before has other names then.

    Args:
        number: of the first line that is sent again.
        since: in place of it: begin with the first line of that time.

    Returns:
        the number with which it begins.

    Raises:
        InvalidInput: neither or both, or a line that was not sent yet.
    """
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.send_log_streams", stream.tenant)
    if (number is None) == (since is None):
        raise InvalidInput(errors={"number": [_("Give the number of a line, or a time.")]})
    current = log_stream_of(stream.tenant, stream.pk)
    field = "number" if since is None else "since"
    first = number if since is None else _number_since(stream.tenant, since)
    if first is None or not 1 <= first <= current.acknowledged:
        why = _("It has the lines up to %(last)s: begin with one of them.", last=current.acknowledged)
        raise InvalidInput(errors={field: [why]})
    now = clock.now()
    _update(
        stream,
        acknowledged=first - 1,
        attempted=None,
        replays=current.replays + 1,
        woken_at=now,
        due_at=now,
        behind_since=now,
    )
    _record("tenants.log_stream.replayed", stream, actor, number=first)
    return first


def _number_since(tenant: Tenant, since: datetime) -> int | None:
    if since > clock.now():
        return None
    since = max(since, EARLIEST)
    sealed = AuditEvent.objects.of(tenant).exclude(seal="").filter(at__gte=since)
    near = sealed.filter(at__lt=since + WITHIN).aggregate(first=Min("seal_number"))["first"]
    return near or sealed.order_by("at", "id").values_list("seal_number", flat=True).first()


def _target(address: str) -> outbound.Target:
    try:
        return outbound.target_of(address)
    except AddressRefused as error:
        raise InvalidInput(errors={"address": [str(error)]}) from None


def _headers(format: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that a tenant gave, if they can be sent.

    Raises:
        InvalidInput: with the reason; no value stands in it.
    """
    if not given:
        return {}
    why = ""
    if format != Format.OTLP:
        why = _("Signed batches have no headers of yours: check the signature. Leave them out.")
    elif len(given) > HEADERS:
        why = _("Give %(most)s headers at most.", most=HEADERS)
    elif len({name.lower() for name in given}) < len(given):
        why = _("A header stands there twice. Give each once.")
    for name, value in given.items():
        if not HEADER_NAME.fullmatch(name):
            why = why or _("A header begins with its name, of letters, digits and hyphens, and a colon.")
        elif name.lower() in OUR_HEADERS or name.lower().startswith(OUR_BEGINNINGS):
            why = why or _("We set the header %(name)s ourselves. Leave it out.", name=name)
        elif not HEADER_VALUE.fullmatch(value):
            why = why or _("The value of %(name)s has 1 to 2,000 visible ASCII characters.", name=name)
    if why:
        raise InvalidInput(errors={"headers": [why]})
    return dict(given)


def _digest(path: str, headers: Mapping[str, str]) -> str:
    """Return what an approval holds in place of a path and of headers, which may be secrets."""
    text = json.dumps([path, dict(headers)], sort_keys=True)
    return salted_hmac("byokportal log stream", text, algorithm="sha256").hexdigest()


def _record(name: str, stream: LogStream, actor: Actor, /, **data: Any) -> None:
    facts = {"origin": stream.origin, "description": stream.description}
    audit.record(name, tenant=stream.tenant, actor=actor, target=stream, **facts, **data)


def _update(stream: LogStream, **facts: Any) -> None:
    if not LogStream.objects.present().filter(pk=stream.pk).update(**facts):
        raise NotFound  # it was removed meanwhile
    for name, value in facts.items():
        setattr(stream, name, value)


HELD["tenants.change_log_streams"] = Held(lazy("Let the log go out: {what}"))
