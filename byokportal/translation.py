"""Sentences in the language of whoever reads them, for modules that know nothing of Django.

`byokportal.apps` says at start how a sentence is looked up; until then, and without Django (the local AWS, the demo),
every sentence stays English. Import `translate` as `_`: `makemessages` looks for that name.
"""

from __future__ import annotations

from collections.abc import Callable


def _english(message: str) -> str:
    return message


ENGLISH = "en"


def _only_english() -> str | None:
    return ENGLISH


def _no_catalog(language: str) -> tuple[str, ...]:
    return ()


def _english_plural(one: str, many: str, number: int) -> str:
    return one if number == 1 else many


_look_up: Callable[[str], str] = _english
_look_up_plural: Callable[[str, str, int], str] = _english_plural
_active: Callable[[], str | None] = _only_english
_catalog: Callable[[str], tuple[str, ...]] = _no_catalog


def set_look_up(look_up: Callable[[str], str], look_up_plural: Callable[[str, str, int], str]) -> None:
    """Say how sentences are looked up: Django's `gettext` and `ngettext`."""
    global _look_up, _look_up_plural
    _look_up, _look_up_plural = look_up, look_up_plural


def set_languages(active: Callable[[], str | None], catalog: Callable[[str], tuple[str, ...]]) -> None:
    """Say which language is the one of the moment, and which sentences the catalog of a language has, in English."""
    global _active, _catalog
    _active, _catalog = active, catalog


def language() -> str:
    """Return the language of the moment."""
    return _active() or ENGLISH


def sentences(language: str) -> tuple[str, ...]:
    """Return the sentences, in English, that the catalog of a language has."""
    return _catalog(language)


def translate(message: str, /, **values: object) -> str:
    """Return a sentence in the language of the moment, with its places filled.

    Args:
        message: the English sentence, with named places: `%(region)s`.
        values: what stands in the places. Without any nothing is filled, and `%` stands for itself.
    """
    found = _look_up(message)
    return found % values if values else found


def ngettext(one: str, many: str, number: int, /, **values: object) -> str:
    """Return the sentence for one thing or for many, in the language of the moment, with its places filled.

    Args:
        one: the English sentence for one.
        many: the English sentence for all other numbers, with the place `%(number)s`.
        number: how many; it is the value of `%(number)s`.
        values: what stands in the other places.
    """
    return _look_up_plural(one, many, number) % {"number": number, **values}


def lazy(message: str) -> str:
    """Mark a sentence of a table for the catalogs; it stays English until `translate` is given it where it is shown."""
    return message
