"""Filters of the back office: instants, what is left, how long it lasted; and a select with one of its choices."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from byokportal import clock

register = template.Library()


@register.filter
def instant(at: datetime) -> SafeString:
    """Return an instant in a `time` element: the minute in UTC, with its day where that is not today."""
    at, today = at.astimezone(UTC), clock.now().astimezone(UTC).date()
    day = "" if at.date() == today else f"{at.day} {at:%b}{f' {at.year}' if at.year != today.year else ''}, "
    return format_html('<time datetime="{}">{}{} UTC</time>', f"{at:%Y-%m-%dT%H:%M:%SZ}", day, f"{at:%H:%M}")


@register.filter
def spelt(lasts: timedelta) -> str:
    """Return a duration by its two largest units."""
    seconds = max(0, int(lasts.total_seconds()))
    for size, unit, below, lesser in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 0, "")):
        if seconds >= size:
            rest = seconds % size // below if below else 0
            return f"{seconds // size} {unit}" + (f" {rest} {lesser}" if rest and seconds < 10 * size else "")
    return f"{seconds} s"


@register.filter
def lasted(since: datetime, now: datetime) -> str:
    return spelt(now - since)


@register.filter
def left(due: datetime, now: datetime) -> str:
    """Return what is left until something is due, or how late it is."""
    return f"{spelt(due - now)} left" if due >= now else f"{spelt(now - due)} late"


@register.filter
def grouped(number: int) -> str:
    return f"{number:,}"


@register.filter
def unlocal(number: float) -> str:
    """Return a number as SVG has it, whatever the language."""
    return f"{number:g}"


@register.simple_tag
def select(name: str, label: str, choices: Sequence[tuple[str, str]], value: str | None) -> SafeString:
    """Return a field with a select, whose first choice is any."""
    options = format_html_join(
        "",
        '<option value="{}"{}>{}</option>',
        ((one, SafeString(" selected") if str(one) == value else "", words) for one, words in choices),
    )
    return format_html(
        '<div class="field"><label for="{0}">{1}</label><select id="{0}" name="{0}">'
        '<option value="">Any</option>{2}</select></div>',
        name,
        label,
        options,
    )
