"""Filters of templates: instants, lists and labels as the reader's language writes them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.template.defaultfilters import date
from django.utils import translation
from django.utils.translation import gettext

from byokportal.templatetags import moments, words

AT = datetime(2026, 3, 5, 14, 5, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("language", "form", "written"),
    [
        ("en", "Y-m-d H:i", "2026-03-05 14:05 UTC"),
        ("de", "Y-m-d H:i", "05.03.2026, 14:05 UTC"),
        ("en", "j F, H:i", "5 March, 14:05 UTC"),
        ("de", "j F, H:i", "5. März, 14:05 UTC"),
        ("en", "H:i:s", "14:05:09 UTC"),
        ("de", "H:i:s", "14:05:09 UTC"),
    ],
)
def test_an_instant_is_written_in_utc_as_the_language_writes_it(language: str, form: str, written: str) -> None:
    with translation.override(language):
        assert moments.utc(AT, form) == f'<time datetime="2026-03-05T14:05:09+00:00">{written}</time>'


def test_a_day_has_no_zone_and_what_is_not_there_is_empty() -> None:
    with translation.override("de"):
        assert moments.day(AT, "j F Y") == '<time datetime="2026-03-05T14:05:09+00:00">5. März 2026</time>'
        assert moments.utc(None, "H:i") == ""


@pytest.mark.parametrize("form", moments.FORMATS)
def test_every_format_writes_the_same_parts_in_german(form: str) -> None:
    with translation.override("de"):
        german = gettext(form)
        assert sorted(filter(str.isalpha, german)) == sorted(filter(str.isalpha, form))
        assert date(AT, german)


def test_what_a_list_holds_is_escaped() -> None:
    assert words.code_list(["a", "<b>"]) == "<code>a</code>, <code>&lt;b&gt;</code>"
    assert words.code_list([("key", "value")]) == "<code>key=value</code>"


def test_a_label_within_a_sentence_keeps_its_capital_in_german() -> None:
    with translation.override("en"):
        assert words.in_sentence("Draft") == "draft"
    with translation.override("de"):
        assert words.in_sentence("Entwurf") == "Entwurf"
