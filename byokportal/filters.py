"""What lists are filtered by: instants and periods as people and programs write them, refused with a reason each."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.http import QueryDict
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy

from byokportal.errors import InvalidInput

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
HOW = gettext_lazy("Write a day like 2026-11-28 or an instant like 2026-11-28T15:00Z; without a zone it is UTC.")


class InstantField(forms.Field):
    """A day or an instant, as an aware datetime in UTC; empty is None.

    Args:
        is_end: a day means its end, so that a period from a day to the same day is that day.
    """

    def __init__(self, *, label: StrOrPromise, is_end: bool = False, **more: Any) -> None:
        super().__init__(label=label, required=False, **more)
        self.is_end = is_end

    def to_python(self, value: Any) -> datetime | None:
        text = str(value or "").strip()
        if not text:
            return None
        try:
            if DAY.fullmatch(text):
                day = date.fromisoformat(text) + timedelta(days=self.is_end)
                return datetime.combine(day, time(), UTC)
            at = parse_datetime(text) if len(text) <= 40 and text.isprintable() else None
            if at is not None:
                return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        except (ValueError, OverflowError):
            pass  # a day that no month has, or one that no calendar reaches
        raise forms.ValidationError(HOW)


class PeriodForm(forms.Form):
    """Two fields that are called as they stand in an address: `from`, and `to`, at which the period is over."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["from"] = InstantField(label=gettext_lazy("From (UTC)"))
        self.fields["to"] = InstantField(label=gettext_lazy("To (UTC)"), is_end=True)

    def clean(self) -> None:
        since, until = self.cleaned_data.get("from"), self.cleaned_data.get("to")
        if since is not None and until is not None and since >= until:
            self.add_error("to", gettext_lazy("The period ends before it begins. Exchange the two."))


def read(form: forms.Form) -> dict[str, Any]:
    """Return what a form was given, as its fields read it.

    Raises:
        InvalidInput: with the sentences of each field.
    """
    if not form.is_valid():
        raise InvalidInput(errors={name: [str(one) for one in found] for name, found in form.errors.items()})
    return form.cleaned_data


def query(given: QueryDict) -> str:
    """Return the filters of a page's address as they go into the addresses of its links, without the cursor."""
    left = given.copy()
    left.pop("cursor", None)
    for name in [name for name, value in left.items() if not value]:
        del left[name]
    return left.urlencode()
