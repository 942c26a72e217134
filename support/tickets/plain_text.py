"""The text that a person wrote in a mail: out of HTML where there is no other, without what it quotes; pure."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from byokportal.translation import lazy

# Stands above what our mails say; what an answer has below it is ours.
MARKER = lazy("Please write your answer above this line")
# As it reads in each language in which we write mails.
MARKERS = (MARKER, "Bitte schreiben Sie Ihre Antwort über diese Zeile")
# Characters of HTML, and elements of it, that are read.
HTML, ELEMENTS = 64 * 1024, 5_000
# Lines that are looked at for the begin of a quotation, and how many an introduction may be wrapped over.
LINES, WRAPPED = 1_000, 3
# Characters that no text of ours has; line ends and tabs stay.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
INTRODUCTION = re.compile(
    r"(?:On|Am|Le|El|Il|Op)\b.{0,300}\b(?:wrote|schrieb|a écrit|escribió|ha scritto|schreef)\b.{0,120}:", re.DOTALL
)
SEPARATOR = re.compile(
    r"-{2,}\s*(?:Original Message|Ursprüngliche Nachricht|Originalnachricht|Forwarded message|Message d'origine)"
    r"\s*-{2,}"
    r"|_{20,}",
    re.IGNORECASE,
)
FROM = re.compile(r"\*?(?:From|Von|De|Da)\s*:\*?\s+\S", re.IGNORECASE)
HEADING = re.compile(r"\*?(?:Sent|Date|To|Gesendet|Datum|An|Envoyé|À|Enviado|Para)\s*:\*?\s+\S", re.IGNORECASE)
BREAKS = frozenset({"address", "article", "blockquote", "br", "div", "dd", "dt", "h1", "h2", "h3", "h4", "h5", "h6",
                    "hr", "li", "ol", "p", "pre", "section", "table", "td", "tr", "ul"})  # fmt: skip
UNSEEN = frozenset({"head", "script", "style", "template", "title", "noscript"})
VOID = frozenset({"br", "hr", "img", "input", "meta", "link", "area", "base", "col", "embed", "source", "wbr"})
QUOTING = re.compile(r"gmail_quote|yahoo_quoted|moz-cite|divRplyFwdMsg|OutlookMessageHeader|protonmail_quote")


def without_control(text: str) -> str:
    """Return a text with Unix line ends and nothing invisible in it."""
    return CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\xa0", " "))


def without_quotation(text: str) -> str:
    """Return what was written above a quotation, a forwarded mail or a signature, trimmed."""
    lines = text.split("\n")[:LINES]
    kept: list[str] = []
    for number, line in enumerate(lines):
        if _ends(lines, number):
            break
        kept.append(line)
    while kept and (not kept[-1].strip() or kept[-1].lstrip().startswith(">")):
        kept.pop()
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in kept)).strip()


def _ends(lines: list[str], number: int) -> bool:
    line = lines[number].strip()
    if (
        any(marker in line for marker in MARKERS)
        or lines[number].rstrip("\r") in {"-- ", "--"}
        or SEPARATOR.match(line)
    ):
        return True
    if FROM.match(line):
        return any(HEADING.match(one.strip()) for one in lines[number + 1 : number + 3])
    if not line.startswith(("On", "Am", "Le", "El", "Il", "Op")):
        return False
    joined = ""
    for one in lines[number : number + WRAPPED]:
        joined = f"{joined} {one.strip()}".strip()[:400]
        if INTRODUCTION.fullmatch(joined):
            return True
    return False


def of_html(html: str) -> str:
    """Return the text of a mail that is HTML only: what a reader sees of it, without what it quotes."""
    html = html[:HTML]
    if html.count("<") > ELEMENTS:
        html = html[: [at.start() for at in re.finditer("<", html)][ELEMENTS]]
    reader = _Reader()
    # The parser looks for the end of a comment again and again: what is none is text.
    reader.feed(
        re.sub(r"<!(?!--)|<\?", "&lt;", re.sub(r"<!--.*?-->", "", html, flags=re.DOTALL).replace("<!--", "&lt;"))
    )
    reader.close()
    lines = [" ".join(line.split()) for line in "".join(reader.parts).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        # The element that is left out, and how many of its kind are open in it.
        self._left_out, self._depth = "", 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._left_out:
            self._depth += tag == self._left_out
            return
        marks = " ".join(value or "" for name, value in attrs if name in {"class", "id"})
        hidden = any(name == "hidden" or (name == "style" and "display:none" in (value or "").replace(" ", "").lower())
                     for name, value in attrs)  # fmt: skip
        if tag not in VOID and (tag in UNSEEN or tag == "blockquote" or hidden or QUOTING.search(marks)):
            self._left_out, self._depth = tag, 1
            return
        if tag in BREAKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if self._left_out:
            self._depth -= tag == self._left_out
            if not self._depth:
                self._left_out = ""
            return
        if tag in BREAKS and tag != "br":
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._left_out:
            self.parts.append(re.sub(r"\s+", " ", data))
