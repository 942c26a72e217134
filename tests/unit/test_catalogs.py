"""Catalogs of sentences: what is written is what Python's gettext reads, and what is wrong in one is said."""

from __future__ import annotations

import gettext
import io
import os
from pathlib import Path

import pytest

from byokportal import catalogs, translation

HEAD = """msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"

"""


def _read(body: str) -> gettext.GNUTranslations:
    return gettext.GNUTranslations(io.BytesIO(catalogs.compiled(HEAD + body)))


def test_a_compiled_catalog_gives_sentences_contexts_and_plurals() -> None:
    found = _read(
        'msgid "Suspend"\nmsgstr "Sperren"\n\n'
        'msgctxt "a key"\nmsgid "Suspend"\nmsgstr "Schlüssel "\n"sperren"\n\n'
        '#, python-format\nmsgid "%(number)s key"\nmsgid_plural "%(number)s keys"\n'
        'msgstr[0] "%(number)s Schlüssel"\nmsgstr[1] "%(number)s \\"Schlüssel\\"\\n"\n'
    )
    assert found.gettext("Suspend") == "Sperren"
    assert found.pgettext("a key", "Suspend") == "Schlüssel sperren"
    assert found.ngettext("%(number)s key", "%(number)s keys", 1) == "%(number)s Schlüssel"
    assert found.ngettext("%(number)s key", "%(number)s keys", 2) == '%(number)s "Schlüssel"\n'


@pytest.mark.parametrize("body", ['#, fuzzy\nmsgid "Key"\nmsgstr "Taste"\n', 'msgid "Key"\nmsgstr ""\n'])
def test_a_sentence_that_is_not_done_stays_english(body: str) -> None:
    assert _read(body).gettext("Key") == "Key"


FAULTS = [
    ('msgid "Key"\nmsgstr ""\n', "not translated"),
    ('#, fuzzy\nmsgid "Key"\nmsgstr "Taste"\n', "fuzzy"),
    ('msgid "In %(region)s"\nmsgstr "In %(regoin)s"\n', "places differ"),
    ('msgid "In %(region)s"\nmsgstr "Dort"\n', "places differ"),
    ('msgid "At {when}"\nmsgstr "Um {wann}"\n', "places differ"),
    ('msgid "<a href=\\"%(to)s\\">Key</a>"\nmsgstr "Key %(to)s"\n', "tags differ"),
    ('msgid "Key "\nmsgstr "Schlüssel"\n', "another space"),
    ('msgid "one"\nmsgid_plural "%(number)s"\nmsgstr[0] "eins"\nmsgstr[1] "viele"\n', "places differ"),
]


@pytest.mark.parametrize(("body", "said"), FAULTS)
def test_what_is_wrong_in_a_catalog_is_said_with_its_line(body: str, said: str) -> None:
    (fault,) = catalogs.faults(HEAD + body)
    assert said in fault
    assert fault.startswith("line ")


def test_the_form_for_one_thing_may_leave_the_number_out() -> None:
    body = 'msgid "%(n)s key"\nmsgid_plural "%(n)s keys"\nmsgstr[0] "ein Schlüssel"\nmsgstr[1] "%(n)s Schlüssel"\n'
    assert list(catalogs.faults(HEAD + body)) == []


@pytest.mark.parametrize("text", ["nonsense\n", '"belongs to nothing"\n'])
def test_a_line_that_is_no_catalog_is_refused(text: str) -> None:
    with pytest.raises(catalogs.Malformed):
        list(catalogs.entries(text))


def test_a_catalog_is_compiled_again_only_when_its_text_is_newer(tmp_path: Path) -> None:
    folder = tmp_path / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "django.po").write_text(HEAD)
    assert catalogs.compile_all(tmp_path) == [folder / "django.mo"]
    assert catalogs.compile_all(tmp_path) == []
    os.utime(folder / "django.po", (2**31, 2**31))
    assert catalogs.compile_all(tmp_path) == [folder / "django.mo"]


def test_pure_modules_speak_english_until_they_are_told_how_to_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert translation.translate("100 %") == "100 %"
    assert translation.translate("In %(region)s", region="eu-central-1") == "In eu-central-1"
    assert translation.ngettext("%(number)s key", "%(number)s keys", 2) == "2 keys"
    monkeypatch.setattr(translation, "_look_up", {"In %(region)s": "Dort: %(region)s"}.__getitem__)
    assert translation.translate("In %(region)s", region="eu-central-1") == "Dort: eu-central-1"
    assert translation.lazy("In %(region)s") == "In %(region)s"
