"""Erase a person: the names in the table of names, and what other rows say of the person (tenants.personal_fields)."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.db import models
from django.db.models import Q
from django.db.models.functions import Cast, Upper
from django.utils import translation

from byokportal import clock, words
from tenants import persons
from tenants.models import AddressChange, Invitation, Member, PersonLanguage, PersonName, SignOnIdentity, Tenant
from tenants.personal_fields import FIELDS, LABEL, ROW, TENANT_PATHS, WHOLE, WITHIN


@dataclass(slots=True)
class Erased:
    """What was erased.

    Attributes:
        names: rows of names, as they are now.
        rows: how many other values were changed or deleted, by column.
        accounts: accounts that nobody can sign in to any more.
    """

    names: list[PersonName] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    accounts: int = 0

    def add(self, other: Erased) -> None:
        """Take in what was erased beside it."""
        self.names += other.names
        self.rows = {name: self.rows.get(name, 0) + other.rows.get(name, 0) for name in self.rows | other.rows}
        self.accounts += other.accounts


def names_of(person: str, only: Tenant | None = None) -> models.QuerySet[PersonName]:
    """Return the rows of a name that is not erased, in all logs or in one; upper and lower case are the same."""
    named = PersonName.objects.annotate(upper=Upper("text")).filter(upper=person.upper(), erased_at=None)
    return named.filter(tenant=only) if only else named


def accounts_of(person: str) -> models.QuerySet[User]:
    """Return the accounts of an address."""
    return User.objects.filter(Q(email__iexact=person) | Q(username__iexact=person))


def erase(person: str, *, only: Tenant | None = None) -> Erased:
    """Erase a person whom the caller has found to be nowhere in; the caller holds a transaction.

    Args:
        person: a mail address, or a name as the log has it.
        only: the organisation in whose rows the person is erased, and in nobody else's; None: everywhere.
    """
    done = Erased(names=list(names_of(person, only)))
    marks = {name.tenant_id: name.pk[:8] for name in done.names}
    pks = [name.pk for name in done.names]
    PersonName.objects.filter(pk__in=pks).update(text="", salt="", erased_at=clock.now())
    done.names = list(PersonName.objects.filter(pk__in=pks).select_related("tenant"))
    for name, columns in FIELDS.items():
        for column, way in columns.items():
            if way in DO and name != "tenants.PersonName":
                count = _column(name, column, way, person, only, marks)
                done.rows |= {f"{name}.{column}": count} if count else {}
    for user in accounts_of(person):
        if only is None:
            _close(user)
            done.accounts += 1
        else:
            done.accounts += cut_off(user, only)
    return done


def cut_off(user: User, tenant: Tenant) -> bool:
    """Take an account out of the rows of an organisation that it has left; the caller holds the tenant's row.

    An account that somebody else still knows stays as it is, and an account of nobody takes its place in these rows.
    Any other one is closed.

    Returns:
        whether the account is closed.
    """
    mine = Member.everybody.filter(tenant=tenant, user=user)
    if not mine.exists():
        return False
    mark = _new_mark()
    for identity in SignOnIdentity.objects.filter(member__in=mine):
        gone = {"subject": f"erased {identity.pk}", "email": words.address_of_erased(mark)}
        SignOnIdentity.objects.filter(pk=identity.pk).update(**gone)
    if _is_known_elsewhere(user, tenant):
        address = words.address_of_erased(mark)
        nobody = User(username=f"erased {mark}", email=address, is_active=False, password=make_password(None))
        nobody.save()
        mine.update(user=nobody)
        return False
    AddressChange.objects.filter(user=user).delete()
    _close(user)
    return True


def _is_known_elsewhere(user: User, tenant: Tenant) -> bool:
    """Tell whether anybody but one organisation has to do with an account: former members of others are their rows."""
    addresses = {user.email, *EmailAddress.objects.filter(user=user).values_list("email", flat=True)}
    return (
        user.is_staff
        or Member.everybody.filter(user=user).exclude(tenant=tenant).exists()
        or Invitation.objects.open()
        .exclude(tenant=tenant)
        .filter(email__in=[one.lower() for one in addresses])
        .exists()
    )


def _column(model: str, column: str, way: str, person: str, only: Tenant | None, marks: dict[UUID | None, str]) -> int:
    """Erase a person in one column; return in how many rows."""
    table = apps.get_model(model)
    rows = table._base_manager.all()
    path = TENANT_PATHS.get(model) or ("tenant" if any(one.name == "tenant" for one in table._meta.fields) else "")
    if only is not None:
        if not path:
            return 0
        rows = rows.filter(**{path: only})
    found = list(
        _found(rows, column, way, person).values_list(
            "pk", path or models.Value(None, output_field=models.CharField()), column
        )
    )
    if way == ROW:
        table._base_manager.filter(pk__in=[pk for pk, _, _ in found]).delete()
        return len(found)
    longest = getattr(table._meta.get_field(column), "max_length", None)
    for pk, tenant, value in found:
        mark = marks.setdefault(tenant, _new_mark())
        new = DO[way](person, mark)(value)
        table._base_manager.filter(pk=pk).update(**{column: new[:longest] if isinstance(new, str) else new})
    return len(found)


def _found(rows: models.QuerySet[Any], column: str, way: str, person: str) -> models.QuerySet[Any]:
    if way == LABEL:
        return rows.filter(reduce(or_, (Q(**{f"{column}__iexact": f"{kind}:{person}"}) for kind in persons.KINDS)))
    if way == WITHIN:
        if "@" not in person:  # a name may be a word like any other
            return rows.none()
        written = {person, json.dumps(person)[1:-1]}
        rows = rows.annotate(as_text=Cast(column, models.TextField()))
        return rows.filter(reduce(or_, (Q(as_text__icontains=one) for one in written)))
    return rows.filter(**{f"{column}__iexact": person})


def _new_mark() -> str:
    return base64.b32encode(secrets.token_bytes(5)).decode().lower()


def _whole(_: str, mark: str) -> Callable[[Any], Any]:
    return lambda value: words.address_of_erased(mark)


def _label(_: str, mark: str) -> Callable[[Any], Any]:
    return lambda value: f"{value.partition(':')[0]}:{_words(mark)}"


def _within(person: str, mark: str) -> Callable[[Any], Any]:
    address = re.compile(rf"(?<![\w.+-]){re.escape(person)}(?![\w-]|\.\w)", re.IGNORECASE)

    def without(value: Any) -> Any:
        if isinstance(value, str):
            return address.sub(_words(mark), value)
        if isinstance(value, list):
            return [without(one) for one in value]
        return {key: without(one) for key, one in value.items()} if isinstance(value, dict) else value

    return without


def _words(mark: str) -> str:
    with translation.override("en"):  # rows are English, whoever reads them
        return words.erased(mark)


DO: dict[str, Callable[[str, str], Callable[[Any], Any]]] = {
    WHOLE: _whole,
    LABEL: _label,
    WITHIN: _within,
    ROW: _whole,  # never asked: the row goes
}


def _close(user: User) -> None:
    """Take from an account everything by which somebody could sign in, or be known."""
    for session in UserSession.objects.filter(user=user):
        session.end()
    for model in (EmailAddress, Authenticator, PersonLanguage, UserSession):
        model._base_manager.filter(user=user).delete()
    user.groups.clear()
    address = words.address_of_erased(str(user.pk))
    User.objects.filter(pk=user.pk).update(
        username=address, email=address, first_name="", last_name="", is_active=False, password=make_password(None)
    )
    for identity in SignOnIdentity.objects.filter(member__user=user):
        SignOnIdentity.objects.filter(pk=identity.pk).update(subject=f"erased {identity.pk}")
