"""People in the log: a line holds references to their names, and readers put the names back.

A reference is `{p:ID}`, where ID is a commitment to a name: the base 32 of HMAC-SHA-256(key: a salt, message: the
name). Name and salt stand in `PersonName`, and nowhere else for ever. Once they are erased the reference stays, the
leaf of the line stays, and the ID tells nothing about whom it was. docs/seal.md says it to the letter.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet, Subquery, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Concat

from byokportal import clock, words
from tenants.models import AuditEvent, PersonName, Tenant
from tenants.models.names import Name as Name

REFERENCE = re.compile(r"\{p:([a-z2-7]{52})\}")
# What is taken for a mail address wherever it stands in a line. An ARN or a URL may hold an @ too: behind a `/` it is
# no address of a person.
ADDRESS = re.compile(r"(?<![\w./@+-])\w[\w.'+%&-]{0,63}@(?:[\w-]{1,63}\.){1,8}[^\W\d_][\w-]{1,62}(?![\w@-])")
KINDS = ("member", "invited", "kore", "link")  # beginnings of the label of a person (`tenants.audit.Actor`)
STAFF = "kore"  # our own people: one id in every log
NOBODY = {"kore:command line"}  # labels of such a kind that name no person
LABELS = {"invited_by", "by"}  # data that hold the label of an actor …
NAMES = {"email", "user_name", "decided_by"}  # … and the name of a person as a whole, whatever it looks like …
OF_EVENTS = {"keys.link.": "name", "keys.arns.": "name", "tenants.member.address_changed": "old"}  # … by event

Naming = Callable[[str, bool], str]  # a name and whether it is one of ours → what stands for it


def commitment(text: str, salt: str) -> str:
    """Return the id of a name: who has the salt can check it, and nobody can find another name for it."""
    digest = hmac.digest(bytes.fromhex(salt), text.encode(), "sha256")
    return base64.b32encode(digest).decode().rstrip("=").lower()


def new_name(text: str, tenant: Tenant | None) -> PersonName:
    """Return a row, not saved, for a name that a log has not had."""
    salt = secrets.token_hex(32)
    return PersonName(id=commitment(text, salt), tenant=tenant, text=text, salt=salt)


def reference(name: PersonName) -> str:
    """Return what stands for a name in a line."""
    return f"{{p:{name.pk}}}"


# --- writing ----------------------------------------------------------------------------------------------------------


def referred(
    event: str, label: str, data: Mapping[str, object], *, tenant: Tenant | None
) -> tuple[str, dict[str, Any]]:
    """Return the label of an actor and the data of a line with references in place of names; write the new names.

    Args:
        event: its name.
    """
    met: dict[tuple[bool, str], str] = {}

    def note(text: str, is_ours: bool) -> str:
        met[is_ours or tenant is None, text[: PersonName.LONGEST]] = ""
        return ""

    _label(label, note)
    _data(event, data, note)
    if met:
        _write(met, tenant)

    def name(text: str, is_ours: bool) -> str:
        return met[is_ours or tenant is None, text[: PersonName.LONGEST]]

    return _label(label, name), _data(event, data, name)


def _write(met: dict[tuple[bool, str], str], tenant: Tenant | None) -> None:
    """Fill in the reference of each name, the oldest one of its log."""
    for is_ours in {ours for ours, _ in met}:
        of = None if is_ours else tenant
        texts = [text for ours, text in met if ours == is_ours]
        known = PersonName.objects.filter(tenant=of, text__in=texts).order_by("-created_at", "-id")
        found = {name.text: name for name in known}
        new = [new_name(text, of) for text in texts if text not in found]
        PersonName.objects.bulk_create(new)
        for name in [*found.values(), *new]:
            met[is_ours, name.text] = reference(name)


def _data(event: str, data: Mapping[str, object], name: Naming) -> dict[str, Any]:
    names = NAMES | {key for begins, key in OF_EVENTS.items() if event.startswith(begins)}
    return {
        key: name(value, False)
        if key in names and isinstance(value, str) and value
        else _label(value, name)
        if key in LABELS and isinstance(value, str)
        else _value(value, name)
        for key, value in data.items()
    }


def _label(label: str, name: Naming) -> str:
    kind, colon, text = label.partition(":")
    if kind in KINDS and colon and text and label not in NOBODY:
        return f"{kind}:{name(text, kind == STAFF)}"
    return _value(label, name) if "@" in label and not label.startswith("service:") else label


def _value(value: object, name: Naming) -> Any:
    if isinstance(value, str):
        return ADDRESS.sub(lambda found: name(found[0], False), value) if "@" in value else value
    if isinstance(value, list | tuple):
        return [_value(one, name) for one in value]
    return {key: _value(one, name) for key, one in value.items()} if isinstance(value, dict) else value


# --- reading ----------------------------------------------------------------------------------------------------------


def of(texts: Iterable[str]) -> dict[str, Name]:
    """Return what is known of the references in texts, in one query."""
    ids = {one for text in texts for one in REFERENCE.findall(text)}
    found = PersonName.objects.in_bulk(ids) if ids else {}
    return {pk: Name(name.tenant_id, name.text, name.salt) for pk, name in found.items()}


def of_event(event: AuditEvent) -> dict[str, Name]:
    """Return what is known of the references of a line. What was read with it is looked up with it, in one query."""
    if event.names is None:
        batch = event.batch or [event]
        found = of(text for one in batch for text in (one.actor, one.payload))
        for one in batch:
            one.names = found
        event.names = found
    return event.names


def shown(value: Any, names: Mapping[str, Name], tenant: UUID | None) -> Any:
    """Return a text, or a value of JSON, of a log with names in place of references.

    Args:
        tenant: of that log; a name of another one is not shown, whoever wrote its reference into a text.
    """
    if isinstance(value, str):
        return REFERENCE.sub(lambda found: _shown(found, names, tenant), value) if "{p:" in value else value
    if isinstance(value, list):
        return [shown(one, names, tenant) for one in value]
    return {key: shown(one, names, tenant) for key, one in value.items()} if isinstance(value, dict) else value


def _shown(found: re.Match[str], names: Mapping[str, Name], tenant: UUID | None) -> str:
    name = names.get(found[1])
    if name is None or name.tenant not in {None, tenant}:
        return found[0]
    return name.text or words.erased(found[1])


def labels_of(kinds: Collection[str], name: str, tenant: Tenant | None) -> list[str]:
    """Return each way in which the log of a tenant, None for ours, may name a person as an actor.

    Lines of before this table hold the name itself, and are found by it.

    Args:
        name: as a reader sees it; also the words of an erased person.
    """
    erased = words.ERASED.search(name)
    asked = Q(pk__startswith=erased[0][1:-1]) & ~Q(erased_at=None) if erased else Q(text=name)
    rows = PersonName.objects.filter(asked, Q(tenant=None) | Q(tenant=tenant)).order_by("created_at")
    found = list(rows.values_list("pk", "tenant_id"))
    labels = [f"{kind}:{name}" for kind in kinds]
    for kind in kinds:
        of = None if kind == STAFF or tenant is None else tenant.pk
        labels += [f"{kind}:{{p:{pk}}}" for pk, its in found if its == of]
    return labels


def newest_by_staff(lines: QuerySet[AuditEvent], name: Combinable, name_within: Combinable, column: str) -> Coalesce:
    """Return a column of the newest line that one of our own people wrote, as a part of another query.

    Two look-ups in an index each, by reference and, for lines of before, by name: either of both in one would be read
    line by line.

    Args:
        name: of that person, as an expression.
        name_within: the same, as a query within the one that reads lines sees it.
    """
    known = PersonName.objects.filter(tenant=None, text=name_within).order_by("created_at").values("pk")[:1]
    labels = (
        Concat(Value(f"{STAFF}:{{p:"), Subquery(known), Value("}")),
        Concat(Value(f"{STAFF}:"), name),
    )
    return Coalesce(*(Subquery(lines.filter(actor=one).values(column)[:1]) for one in labels))


def proofs_of(event: AuditEvent) -> dict[str, dict[str, object] | None]:
    """Return what an export says of the references of a line: name and salt, or None for an erased one."""
    names = of_event(event)
    mine = sorted(set(REFERENCE.findall(event.payload)))
    return {pk: _proof(names[pk]) for pk in mine if pk in names and names[pk].tenant in {None, event.tenant_id}}


def _proof(name: Name) -> dict[str, object] | None:
    return {"name": name.text, "salt": name.salt, "is_kore": name.tenant is None} if name.text else None


def proven(proofs: Mapping[str, Any], tenant: UUID | None) -> dict[str, Name]:
    """Return the names that an export has for references.

    Raises:
        ValueError: a name is another one than the reference commits to.
    """
    found = {}
    for pk, proof in proofs.items():
        if proof is None:
            found[str(pk)] = Name(tenant, "", "")
            continue
        text, salt = str(proof["name"]), str(proof["salt"])
        if commitment(text, salt) != pk or not 0 < len(text) <= PersonName.LONGEST:
            raise ValueError("the name of a person was changed")
        found[str(pk)] = Name(None if proof.get("is_kore") is True else tenant, text, salt)
    return found


def put_back(names: Mapping[str, Name]) -> None:
    """Write the names of lines that come back from an export; what is here, or was erased here, stays."""
    PersonName.objects.bulk_create(
        [
            PersonName(
                id=pk, tenant_id=one.tenant, text=one.text, salt=one.salt, erased_at=None if one.text else clock.now()
            )
            for pk, one in names.items()
        ],
        ignore_conflicts=True,
    )
