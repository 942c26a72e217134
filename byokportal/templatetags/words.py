"""Filters for pages, mails and tickets: codes and actors in words, lists, a label inside a sentence."""

from collections.abc import Iterable

from django import template
from django.utils.html import format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language

from byokportal import stored_sentences, words

register = template.Library()
register.filter("label", words.label)
register.filter("person", words.person)
register.filter("reason", words.reason)
register.filter("again", stored_sentences.again)
register.filter("for_staff", words.for_staff)


@register.filter
def code_list(items: Iterable[str | tuple[str, str]]) -> SafeString:
    """Return values, or pairs as `key=value`, each as code, with commas between them."""
    rows = ((item if isinstance(item, str) else "=".join(item),) for item in items)
    return format_html_join(mark_safe(", "), "<code>{}</code>", rows)


@register.filter
def in_sentence(label: str) -> str:
    """Return a label as it stands within a sentence: in lower case, but in German, where nouns have a capital."""
    return label if (get_language() or "").startswith("de") else label.lower()
