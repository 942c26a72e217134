"""Text → policy, with the place of every element: reads through slips of the pen, and names each; pure.

AWS takes strict JSON only (RFC 8259). We read on where the meaning is plain,
so that the corrected document keeps what stands there.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from json.decoder import scanstring  # type: ignore[attr-defined]  # it is public, and typeshed leaves it out
from typing import Any, Literal, NoReturn

from keys.proof.pasted import characters
from keys.proof.pasted.findings import Flaw, Path, Policy, shown

MAX_TEXT = 65_536  # characters
MAX_DEPTH = 24
MAX_SLIPS = 100
MAX_ELEMENTS = 4_000  # a key policy of 32 KiB has fewer, white space counted
LINE_END = re.compile(r"\r\n|\r|\n")
# What a word processor, a web page or an editor leaves between the elements; JSON has no comments and no other blanks.
ODD = r"\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f\u2060\u3000\ufeff\x0b\x0c\x85"
BLANK = re.compile(rf"[ \t\r\n{ODD}]*")
COMMENT = re.compile(r"//[^\r\n]*|#[^\r\n]*|/\*.*?\*/", re.DOTALL)
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?(?![0-9A-Za-z.])")
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_:.-]{0,127}")
SINGLE = re.compile(r"'((?:[^'\\\r\n]|\\.)*)'")
# A value that lost one quotation mark or both: what stands in policies, and nothing that is code.
DATE = re.compile(r"2(?:008-10-17|012-10-17)(?![0-9-])")
BARE = re.compile(
    r"(?:\*|(?i:allow|deny)|arn:[^\s\"',\[\]{}]+|[a-zA-Z0-9-]{1,40}:[A-Za-z*?]{1,100}|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|<[^<>\n]{1,60}>)"
    r"(?=[\s\",\]}]|$)"
)
HALF_QUOTED = re.compile(r"([^\s\"',\[\]{}:][^\s\"',\[\]{}]*)\"")  # `kms:Decrypt"`
END_OF_VALUE = re.compile(r"[\s,}\]]*\Z")
WORD_SIGN = re.compile(r"[A-Za-z0-9_*]")
ELEMENT = {"Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition", "Sid"}
HOLDERS = {"Principal", "NotPrincipal", "Condition"}
STATEMENT = re.compile(r"effect", re.IGNORECASE)  # every statement has one
How = Literal["close", "skip", "swap"]
WORDS = {"true": True, "false": False, "null": None}
PYTHON = {"True": True, "False": False, "None": None}


@dataclass(slots=True)
class Document:
    """A policy with the places of its elements.

    Args:
        value: what was read; None when it is beyond reading.
        policy: the policy in it, which `unwrapping` finds.
        source: the text that the policy stands in: the pasted one, or the one inside an answer of the AWS CLI.
        spans: for each object and list of the policy, by identity, where it stands in the source.
    """

    value: Any
    source: str
    policy: Policy | None = None
    flaws: list[Flaw] = field(default_factory=list)
    places: dict[Path, int] = field(default_factory=dict)
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)
    prefix: Path = ()
    starts: list[int] = field(default_factory=list)
    unread: bool = False  # some of the text was passed over, and may hold statements
    fixed_line: int = 0  # inside an escaped string everything stands on its line
    wrapped: str = ""

    def line(self, path: Path) -> int:
        """Return the 1-based line of an element of the policy, or of what it stands in."""
        if self.fixed_line:
            return self.fixed_line
        full = self.prefix + path
        while full not in self.places and full:
            full = full[:-1]
        return bisect_right(self.starts, self.places.get(full, 0))


class _Lost(Exception):
    """Reading cannot go on."""

    def __init__(self, code: str, at: int, text: str) -> None:
        self.code, self.at, self.text = code, at, text
        super().__init__(text)


def split_lines(text: str) -> list[str]:
    """Return the lines as the findings count them."""
    return LINE_END.split(text)


def line_starts(text: str) -> list[int]:
    return [0, *(match.end() for match in LINE_END.finditer(text))]


class _Reader:
    """Reads one JSON text, once from left to right; every step moves on, so the time is bounded by the length.

    Args:
        how: what a closing bracket means that does not fit: an earlier one is missing before it (`close`), it is one
            too many (`skip`), or it stands in the place of the right one (`swap`).
        guesses: False for what is JSON: every bracket and every name stands where it is meant to.
    """

    def __init__(self, text: str, how: How = "close", *, guesses: bool = True) -> None:
        self.text, self.at, self.how, self.guesses = text, 0, how, guesses
        self.places: dict[Path, int] = {}
        self.spans: dict[int, tuple[int, int]] = {}
        self.slips: list[tuple[str, int, str]] = []  # code, offset, what stands there
        self.unclosed = self.slipped = 0
        self.odd = -1  # where the first blank stands that JSON does not know
        self.guessed = self.mismatched = self.unread = self.implied = False
        self.open: list[str] = []  # the closing brackets that are due
        self.keep: list[object] = []  # the identities in `spans` hold as long as these live

    def read(self) -> Any:
        self._blank()
        if self.at >= len(self.text):
            raise _Lost("empty", 0, "There is nothing here.")
        value = self._value((), 0)
        self._blank()
        if isinstance(value, str) and self._peek() == ":":  # the outer brackets were not copied
            self.at = self._first()
            self._guess(self.at, "The opening { is missing")
            value = self._object((), 1)
            self._blank()
        if self.unclosed:
            self._slip(
                "not_json", len(self.text), f"The text ends too early: {self.unclosed} closing bracket(s) are missing"
            )
        elif self.at < len(self.text):
            value = self._after(value)
        return value

    def _first(self) -> int:
        self.at = 0
        self._blank()
        return self.at

    def _after(self, value: Any) -> Any:
        """Read what stands after the end: more statements one after the other, or what is no policy."""
        start, found = self.at, [value]
        while self._peek() in ("{", ",") and self._peek() and isinstance(value, dict) and "Statement" not in value:
            if self._peek() == ",":
                self.at += 1
                self._blank()
                continue
            self.places.update({(len(found) - 1, *path): at for path, at in self.places.items() if len(found) == 1})
            found.append(self._value((len(found),), 1))
            self._blank()
        rest = self.text[self.at :]
        if len(found) > 1 and all(isinstance(each, dict) for each in found):
            self._slip("not_json", start, "Several objects stand one after the other without a list around them")
            value = found
        if rest:
            what = "a closing bracket too many" if rest[0] in "}]" else "more text after the end of the policy"
            self._slip("not_json", self.at, f"There is {what}")
            self.unread = STATEMENT.search(rest) is not None
        return value

    def _guess(self, at: int, text: str) -> None:
        """Note a slip that is read through by what the text most likely was."""
        self.guessed = True
        self._slip("not_json", at, text)

    def _slip(self, code: str, at: int, text: str) -> None:
        self.slipped += 1
        if self.slipped > MAX_SLIPS:
            raise _Lost("not_json", at, "There are too many mistakes to read on")
        if code == "duplicate_key" or all(text != said for _, _, said in self.slips):
            self.slips.append((code, at, text))

    def _blank(self) -> None:
        """Step over blanks, the odd ones too (`_characters` names those), and over comments."""
        while True:
            match = BLANK.match(self.text, self.at)
            assert match is not None
            if self.odd < 0 and not match[0].isascii():
                self.odd = next(at for at in range(*match.span()) if self.text[at] not in " \t\r\n")
            self.at = match.end()
            comment = COMMENT.match(self.text, self.at) if self._peek() in ("#", "/") else None
            if comment is None:
                return
            self._slip("not_json", self.at, "JSON has no comments, but one stands here")
            self.at = comment.end()

    def _peek(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def _value(self, path: Path, depth: int) -> Any:
        if len(self.places) > MAX_ELEMENTS:
            raise _Lost(
                "too_many_elements", self.at, f"This has more than {MAX_ELEMENTS:,} elements; no policy needs that many"
            )
        sign, start = self._peek(), self.at
        if sign == '"' or sign == "'":
            return self._string()
        if sign in "{[" and sign:
            if depth >= MAX_DEPTH:
                raise _Lost("too_deep", start, "Brackets are nested deeper than any policy needs")
            self.at += 1
            found: Any = self._object(path, depth + 1) if sign == "{" else self._list(path, depth + 1)
            self.spans[id(found)] = (start, self.at)
            self.keep.append(found)
            return found
        bare = DATE.match(self.text, self.at) or (BARE.match(self.text, self.at) if depth else None)
        if bare:
            self.at = bare.end()
            self._guess(start, f"{shown(bare[0], most=60)} stands here without quotation marks")
            self.at += self._peek() == '"'
            return bare[0]
        half = HALF_QUOTED.match(self.text, self.at) if depth else None
        if half:
            self.at = half.end()
            self._guess(start, f"The opening quotation mark of {shown(half[1], most=60)} is missing")
            return half[1]
        match = NUMBER.match(self.text, self.at)
        if match:
            self.at = match.end()
            number = json.loads(match[0])
            if isinstance(number, float) and not math.isfinite(number):
                self._lost(start)
            return number
        word = WORD.match(self.text, self.at)
        if word and word[0] in WORDS:
            self.at = word.end()
            return WORDS[word[0]]
        if word and word[0] in PYTHON:
            self.at = word.end()
            self._slip("not_json", start, f"JSON writes {word[0]} in small letters")
            return PYTHON[word[0]]
        return self._lost(start)

    def _lost(self, at: int) -> NoReturn:
        if at >= len(self.text):
            raise _Lost("not_json", at, "The text ends where a value is due")
        word = WORD.match(self.text, at)
        if word:
            raise _Lost("not_json", at, f"{shown(word[0], most=40)} stands here without quotation marks")
        raise _Lost("not_json", at, f"{shown(self.text[at])} stands where a value is due")

    def _string(self) -> str:
        start = self.at
        if self.text[start] == "'":
            match = SINGLE.match(self.text, start)
            if match is None:
                raise _Lost("not_json", start, "A single quotation mark is opened and not closed")
            self._slip("not_json", start, "JSON uses double quotation marks, and single ones stand here")
            self.at = match.end()
            return match[1]
        try:
            text, self.at = scanstring(self.text, start + 1, True)
            return self._cut(start, str(text))
        except json.JSONDecodeError as error:
            line = LINE_END.split(self.text[start + 1 : start + 2_000], maxsplit=1)[0]
            if not error.msg.startswith("Invalid \\") and '"' not in line and "\\" not in line and self.open:
                end = END_OF_VALUE.search(line)
                assert end is not None
                if end.start() and (end.group() or start + 1 + len(line) < len(self.text)):
                    self.at = start + 1 + end.start()
                    self._guess(start, "A text is opened with a quotation mark and not closed on its line")
                    return line[: end.start()]
            what = (
                "A text is opened with a quotation mark and not closed on its line"
                if error.msg.startswith(("Unterminated", "Invalid control"))
                else "A backslash in this text is followed by something that JSON does not know"
            )
            raise _Lost("not_json", start if error.msg.startswith("Unterm") else error.pos, what) from None

    def _cut(self, start: int, text: str) -> str:
        """Return a text, without what belongs to the next one: its closing quotation mark is missing then, and the
        one that opens the next was taken for it (`"Allow, "Action":`)."""
        if not self.open or not WORD_SIGN.match(self._peek() or " "):
            return text
        for end in (",", ":"):
            if text.rstrip().endswith(end):
                kept = text.rstrip()[:-1]
                if kept and "\\" not in self.text[start : self.at] and "\n" not in kept:
                    self.at = start + 1 + len(kept)
                    self._guess(start, f"The closing quotation mark of {shown(kept, most=60)} is missing")
                    return kept
        return text

    def _object(self, path: Path, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        self.open.append("}")
        while True:
            self._blank()
            if self._closed("}"):
                break
            start = self.at
            if self._peek() == "{" and "]" in self.open[-2:-1] and members:  # the next statement begins
                self._imply(start, "A closing } is missing before this")
                break
            name = self._name()
            if self.guesses and name in ELEMENT and any(each in HOLDERS for each in path[-2:]) and members:
                self.at = start
                self._imply(start, f"A closing }} is missing before {name}")
                break
            self._blank()
            if self._peek() == ":":
                self.at += 1
            elif self._peek() == "=":
                self.at += 1
                self._slip("not_json", self.at, "JSON writes a colon between name and value, not =")
            elif self.at < len(self.text):
                self._slip("not_json", self.at, f"A colon is missing after {shown(name, most=40)}")
            self._blank()
            here = (*path, name)
            is_twice = name in members
            if not is_twice:
                self.places[here] = start
            value = self._value(here, depth)
            if is_twice:
                self._slip("duplicate_key", start, name)
                value = _joined(name, members[name], value)
            members[name] = value
            if self._comma("}", self.at - 1):
                break
        self.open.pop()
        return members

    def _imply(self, at: int, text: str) -> None:
        """Note a bracket that is missing before this place."""
        self.implied = self.mismatched = True
        self._guess(at, text)

    def _name(self) -> str:
        if self._peek() in ('"', "'"):
            return self._string()
        word = WORD.match(self.text, self.at)
        if word is None:
            if self.at >= len(self.text):
                raise _Lost("not_json", self.at, "The text ends in the middle of an object")
            raise _Lost(
                "not_json", self.at, f"{shown(self.text[self.at])} stands where a name in quotation marks is due"
            )
        self._slip(
            "not_json", self.at, f"The name {shown(word[0].rstrip(':'), most=40)} stands without quotation marks"
        )
        name = word[0].rstrip(":")
        self.at += len(name)
        self.at += self._peek() == '"'  # only the opening one is missing
        return name

    def _list(self, path: Path, depth: int) -> list[Any]:
        items: list[Any] = []
        self.open.append("]")
        while True:
            self._blank()
            if self._closed("]"):
                break
            here, start = (*path, len(items)), self.at
            self.places[here] = start
            item, last = self._value(here, depth), self.at - 1
            self._blank()
            if isinstance(item, str) and self._peek() == ":":  # a name of an object
                self.at = start
                if items and all(isinstance(each, str) for each in items):
                    self._imply(start, "A closing ] is missing before this")
                    break
                self.mismatched = True
                self._guess(start, "An opening { is missing before this")
                item = self._object(here, depth + 1)
            items.append(item)
            if self._comma("]", last):
                break
        self.open.pop()
        return items

    def _closed(self, closer: str) -> bool:
        if self.at >= len(self.text):
            self.unclosed += 1
            return True
        if self.text[self.at] == closer:
            self.at += 1
            return True
        return self._peek() in "}]" and self._mismatch(closer)

    def _mismatch(self, closer: str) -> bool:
        """Read on at a closing bracket that does not fit; tell whether it ends what is open."""
        sign, self.mismatched = self._peek(), True
        if self.how == "swap":
            self._guess(self.at, f"{sign} stands here, and {closer} is due")
            self.at += 1
            return True
        if self.how == "close" and sign in self.open[:-1]:
            self._guess(self.at, f"{sign} stands here, and {closer} is due before it: a bracket is missing")
            return True
        self._guess(self.at, f"{sign} stands here, and {closer} is due: it is one too many, or in the wrong place")
        self.at += 1
        return False

    def _comma(self, closer: str, last: int) -> bool:
        """Step over what parts two elements; `last` is where the one before ends. Tell whether no more comes."""
        self._blank()
        sign = self._peek()
        while sign and sign in "}]" and sign != closer:
            self.implied = False
            if self._mismatch(closer):
                return True
            self._blank()
            sign = self._peek()
        if sign == ",":
            comma = self.at
            self.at += 1
            self._blank()
            while self._peek() == ",":
                self._slip("not_json", self.at, "There is a comma too many")
                self.at += 1
                self._blank()
            if self._peek() == closer:
                self._slip("not_json", comma, f"There is a comma too many before the closing {closer}")
        elif sign == ";":
            self._slip("not_json", self.at, "JSON writes a comma between elements, not a semicolon")
            self.at += 1
        elif sign and sign not in "}]" and not self.implied:
            self._slip("not_json", last, "A comma is missing at the end of this line")
        self.implied = False
        return False


def _joined(name: str, first: Any, second: Any) -> Any:
    """Return both values of a name that stands twice, so that nothing is lost:
    statements together, objects merged, else the later."""
    if name == "Statement":
        both = [*(first if isinstance(first, list) else [first]), *(second if isinstance(second, list) else [second])]
        return [each for at, each in enumerate(both) if each not in both[:at]] if len(both) < 60 else both
    if isinstance(first, dict) and isinstance(second, dict):
        return {
            **first,
            **{key: _joined(key, first[key], value) if key in first else value for key, value in second.items()},
        }
    return second


def parse(text: str) -> Document:
    """Read a text; whatever it is, a document comes back, with its flaws."""
    starts = line_starts(text)
    if len(text) > MAX_TEXT:
        flaw = Flaw(
            "too_long",
            1,
            f"This has {len(text):,} characters; we read at most {MAX_TEXT:,}.",
            "Paste the policy alone.",
        )
        return Document(None, text, flaws=[flaw], starts=starts)
    found = _parsed(text, text, starts)
    if characters.SMART.search(text) and (found.value is None or not _is_json(text)):
        # Same length, so every place stays where it is.
        straight = _parsed(text.translate(characters.STRAIGHT), text, starts)
        found = straight if straight.value is not None else found
    both = dict.fromkeys([*characters.flaws(text, starts), *found.flaws])
    found.flaws = sorted(both, key=lambda flaw: flaw.line)
    return found


def _parsed(text: str, source: str, starts: list[int]) -> Document:
    found, mismatched = _read(text, source, starts, "close")
    if mismatched and found.value is None:
        for how in ("skip", "swap"):
            other, _ = _read(text, source, starts, how)  # type: ignore[arg-type]
            if other.value is not None:
                return other
    return found


def _read(text: str, source: str, starts: list[int], how: How) -> tuple[Document, bool]:
    """Return a text read in one way, and whether another may read its brackets better."""
    reader = _Reader(text, how, guesses=not _is_json(text))
    try:
        value = reader.read()
    except _Lost as lost:
        value = None
        reader.slips.append((lost.code, lost.at, lost.text))
    if reader.guessed and not _is_shaped(value):
        value = None
    flaws = [_flaw(code, bisect_right(starts, at), what) for code, at, what in reader.slips]
    if reader.odd >= 0:
        flaws.append(characters.flaw(text[reader.odd], bisect_right(starts, reader.odd)))
    unread = reader.unread or (value is None and STATEMENT.search(text) is not None)
    return (
        Document(value, source, flaws=flaws, places=reader.places, spans=reader.spans, starts=starts, unread=unread),
        reader.mismatched,
    )


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _is_shaped(value: Any) -> bool:
    """Tell whether what was guessed came out as a policy: else the guess may be wrong, and nothing is built on it."""
    if isinstance(value, dict) and "Statement" not in value and value.keys() & ELEMENT:
        value = {"Statement": value}
    if isinstance(value, list):
        value = {"Statement": value}
    if not isinstance(value, dict):
        return False
    if "Statement" not in value:
        return True  # an answer of the AWS CLI, or no policy at all
    found = value["Statement"]
    return value.keys() <= {"Version", "Id", "Statement"} and all(
        isinstance(each, dict)
        and each.keys() <= ELEMENT
        and "Effect" in each
        and not any(isinstance(name, str) and name in ELEMENT for name in _inner_names(each))
        for each in (found if isinstance(found, list) else [found])
    )


def _inner_names(statement: dict[str, Any]) -> list[str]:
    return [
        str(name)
        for holder in HOLDERS
        if isinstance(statement.get(holder), dict)
        for name, inner in statement[holder].items()
        for name in (name, *(inner if isinstance(inner, dict) else ()))
    ]


def _flaw(code: str, line: int, what: str) -> Flaw:
    if code == "duplicate_key":
        return Flaw(
            code,
            line,
            (
                f"The name {shown(what, most=40)} stands a second time in the same object. "
                "AWS refuses that, and other tools keep only one of the two."
            ),
            f"Leave one {shown(what, most=40)} in this object, with everything that belongs to it.",
        )
    if code == "empty":
        return Flaw(code, line, what, "Paste the whole policy, from the first { to the last }.")
    return Flaw(
        code, line, f"{what}. AWS does not take this as JSON.", "Mend it at this line, or use the document below."
    )
