"""Filters for pages: an instant as a `time` element, in UTC, written as the reader's language writes it.

The formats in templates are Django's, in English; they are messages of the catalogue, so that `j F` becomes `j. F`.
"""

from datetime import date, datetime

from django import template
from django.template.defaultfilters import date as written
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_noop

register = template.Library()
FORMATS = (
    gettext_noop("H:i"),
    gettext_noop("H:i:s"),
    gettext_noop("Y-m-d"),
    gettext_noop("Y-m-d H:i"),
    gettext_noop("Y-m-d H:i:s"),
    gettext_noop("j F"),
    gettext_noop("j F Y"),
    gettext_noop("j F Y, H:i"),
    gettext_noop("j F Y, H:i:s"),
    gettext_noop("j F, H:i"),
    gettext_noop("j M Y"),
    gettext_noop("j M, H:i"),
)


@register.filter
def utc(at: datetime | None, form: str) -> str:
    """Return `<time …>29 November, 14:05 UTC</time>`; the format is one of FORMATS. Empty where there is no instant."""
    return _element(at, form, " UTC")


@register.filter
def day(at: datetime | date | None, form: str) -> str:
    """Return `<time …>29 November 2026</time>`: for a day, which needs no zone."""
    return _element(at, form, "")


def _element(at: datetime | date | None, form: str, zone: str) -> SafeString | str:
    if at is None:
        return ""
    return format_html('<time datetime="{}">{}{}</time>', written(at, "c"), written(at, gettext(form)), zone)
