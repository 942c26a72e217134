"""The Markdown of our own texts as HTML: headings, paragraphs, lists, fenced code; bold, code and links within; pure.

Every sign of the text is escaped; nothing else of Markdown is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

ITEM = re.compile(r"(?:[*-]|([0-9]+)\.) +(.*)", re.DOTALL)
INLINE = re.compile(r"`([^`]+)`|\*\*(.+?)\*\*|\[([^\]]+)\]\((https?://[^\s)]+|/[^\s)]*)\)")


def to_html(text: str) -> SafeString:
    """Return a text as HTML; its headings begin with h1."""
    return mark_safe("\n".join(_block(lines) for lines in _blocks(text)))  # noqa: S308  each block is escaped


def _blocks(text: str) -> Iterator[list[str]]:
    """Yield the lines of each block: a fence, a heading, a list, a paragraph."""
    found: list[str] = []
    is_code = False
    for line in text.splitlines():
        is_fence = line.startswith("```")
        ends = (is_fence and not is_code) or line.startswith("#") or not line.strip()
        starts_list = bool(found) and bool(ITEM.match(line)) and not ITEM.match(found[0])
        if found and not is_code and (ends or starts_list):
            yield found
            found = []
        if is_code or line.strip():
            found.append(line)
        if is_fence:
            is_code = not is_code
        if found and not is_code and (is_fence or line.startswith("#")):
            yield found
            found = []
    if found:
        yield found


def _block(lines: list[str]) -> SafeString:
    first = lines[0]
    if first.startswith("```"):
        return format_html('<pre tabindex="0"><code>{}</code></pre>', "\n".join(lines[1:]).removesuffix("```").rstrip())
    if first.startswith("#"):
        level = len(first) - len(first.lstrip("#"))
        return format_html("<h{0}>{1}</h{0}>", level, _inline(first[level:].strip()))
    if ITEM.match(first):
        return _list(lines)
    return format_html("<p>{}</p>", _inline(" ".join(lines)))


def _list(lines: list[str]) -> SafeString:
    items: list[str] = []
    for line in lines:
        if found := ITEM.match(line):
            items.append(found[2])
        else:
            items[-1] += f" {line.strip()}"
    first = ITEM.match(lines[0])
    number = first[1] if first else None
    inside = format_html_join("", "<li>{}</li>", ((_inline(each),) for each in items))
    if number is None:
        return format_html("<ul>{}</ul>", inside)
    return format_html('<ol start="{}">{}</ol>', number, inside)


def _inline(text: str) -> SafeString:
    parts, at = [], 0
    for found in INLINE.finditer(text):
        parts.append(escape(text[at : found.start()]))
        code, bold, words, address = found.groups()
        if code:
            parts.append(format_html("<code>{}</code>", code))
        elif bold:
            parts.append(format_html("<strong>{}</strong>", _inline(bold)))
        else:
            parts.append(format_html('<a href="{}" rel="noreferrer">{}</a>', address, words))
        at = found.end()
    parts.append(escape(text[at:]))
    return mark_safe("".join(parts))  # noqa: S308  each part is escaped
