"""JSON text → value with the place of each element: reads on through slips where the meaning is plain, and names
each; pure."""

from __future__ import annotations

import json
import math
import re
from json.decoder import scanstring  # type: ignore[attr-defined]  # it is public, and typeshed leaves it out
from typing import Any, Literal, NoReturn

from byokportal.translation import translate as _
from keys.proof.pasted.findings import Path, shown

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


class Unreadable(Exception):
    """Reading cannot go on."""

    def __init__(self, code: str, at: int, text: str) -> None:
        self.code, self.at, self.text = code, at, text
        super().__init__(text)


class Reader:
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
            raise Unreadable("empty", 0, _("There is nothing here."))
        value = self._value((), 0)
        self._blank()
        if isinstance(value, str) and self._peek() == ":":  # the outer brackets were not copied
            self.at = self._first()
            self._guess(self.at, _("The opening { is missing"))
            value = self._object((), 1)
            self._blank()
        if self.unclosed:
            self._slip(
                "not_json",
                len(self.text),
                _("The text ends too early: %(unclosed)s closing bracket(s) are missing", unclosed=self.unclosed),
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
            self._slip("not_json", start, _("Several objects stand one after the other without a list around them"))
            value = found
        if rest:
            what = (
                _("There is a closing bracket too many")
                if rest[0] in "}]"
                else _("There is more text after the end of the policy")
            )
            self._slip("not_json", self.at, what)
            self.unread = STATEMENT.search(rest) is not None
        return value

    def _guess(self, at: int, text: str) -> None:
        """Note a slip that is read through by what the text most likely was."""
        self.guessed = True
        self._slip("not_json", at, text)

    def _slip(self, code: str, at: int, text: str) -> None:
        self.slipped += 1
        if self.slipped > MAX_SLIPS:
            raise Unreadable("not_json", at, _("There are too many mistakes to read on"))
        if code == "duplicate_key" or all(text != said for _, _, said in self.slips):
            self.slips.append((code, at, text))

    def _blank(self) -> None:
        """Step over blanks, the odd ones too (`characters` names those), and over comments."""
        while True:
            match = BLANK.match(self.text, self.at)
            assert match is not None
            if self.odd < 0 and not match[0].isascii():
                self.odd = next(at for at in range(*match.span()) if self.text[at] not in " \t\r\n")
            self.at = match.end()
            comment = COMMENT.match(self.text, self.at) if self._peek() in ("#", "/") else None
            if comment is None:
                return
            self._slip("not_json", self.at, _("JSON has no comments, but one stands here"))
            self.at = comment.end()

    def _peek(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def _value(self, path: Path, depth: int) -> Any:
        if len(self.places) > MAX_ELEMENTS:
            raise Unreadable(
                "too_many_elements",
                self.at,
                _(
                    "This has more than %(max_elements)s elements; no policy needs that many",
                    max_elements=f"{MAX_ELEMENTS:,}",
                ),
            )
        sign, start = self._peek(), self.at
        if sign == '"' or sign == "'":
            return self._string()
        if sign in "{[" and sign:
            if depth >= MAX_DEPTH:
                raise Unreadable("too_deep", start, _("Brackets are nested deeper than any policy needs"))
            self.at += 1
            found: Any = self._object(path, depth + 1) if sign == "{" else self._list(path, depth + 1)
            self.spans[id(found)] = (start, self.at)
            self.keep.append(found)
            return found
        bare = DATE.match(self.text, self.at) or (BARE.match(self.text, self.at) if depth else None)
        if bare:
            self.at = bare.end()
            self._guess(start, _("%(bare)s stands here without quotation marks", bare=shown(bare[0], most=60)))
            self.at += self._peek() == '"'
            return bare[0]
        half = HALF_QUOTED.match(self.text, self.at) if depth else None
        if half:
            self.at = half.end()
            self._guess(start, _("The opening quotation mark of %(half)s is missing", half=shown(half[1], most=60)))
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
            self._slip("not_json", start, _("JSON writes %(word)s in small letters", word=word[0]))
            return PYTHON[word[0]]
        return self._lost(start)

    def _lost(self, at: int) -> NoReturn:
        if at >= len(self.text):
            raise Unreadable("not_json", at, _("The text ends where a value is due"))
        word = WORD.match(self.text, at)
        if word:
            raise Unreadable(
                "not_json", at, _("%(word)s stands here without quotation marks", word=shown(word[0], most=40))
            )
        raise Unreadable("not_json", at, _("%(text)s stands where a value is due", text=shown(self.text[at])))

    def _string(self) -> str:
        start = self.at
        if self.text[start] == "'":
            match = SINGLE.match(self.text, start)
            if match is None:
                raise Unreadable("not_json", start, _("A single quotation mark is opened and not closed"))
            self._slip("not_json", start, _("JSON uses double quotation marks, and single ones stand here"))
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
                    self._guess(start, _("A text is opened with a quotation mark and not closed on its line"))
                    return line[: end.start()]
            what = (
                _("A text is opened with a quotation mark and not closed on its line")
                if error.msg.startswith(("Unterminated", "Invalid control"))
                else _("A backslash in this text is followed by something that JSON does not know")
            )
            raise Unreadable("not_json", start if error.msg.startswith("Unterm") else error.pos, what) from None

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
                    self._guess(
                        start, _("The closing quotation mark of %(kept)s is missing", kept=shown(kept, most=60))
                    )
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
                self._imply(start, _("A closing } is missing before this"))
                break
            name = self._name()
            if self.guesses and name in ELEMENT and any(each in HOLDERS for each in path[-2:]) and members:
                self.at = start
                self._imply(start, _("A closing } is missing before %(name)s", name=name))
                break
            self._blank()
            if self._peek() == ":":
                self.at += 1
            elif self._peek() == "=":
                self.at += 1
                self._slip("not_json", self.at, _("JSON writes a colon between name and value, not ="))
            elif self.at < len(self.text):
                self._slip("not_json", self.at, _("A colon is missing after %(name)s", name=shown(name, most=40)))
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
                raise Unreadable("not_json", self.at, _("The text ends in the middle of an object"))
            raise Unreadable(
                "not_json",
                self.at,
                _("%(text)s stands where a name in quotation marks is due", text=shown(self.text[self.at])),
            )
        self._slip(
            "not_json",
            self.at,
            _("The name %(word)s stands without quotation marks", word=shown(word[0].rstrip(":"), most=40)),
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
                    self._imply(start, _("A closing ] is missing before this"))
                    break
                self.mismatched = True
                self._guess(start, _("An opening { is missing before this"))
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
            self._guess(self.at, _("%(sign)s stands here, and %(closer)s is due", sign=sign, closer=closer))
            self.at += 1
            return True
        if self.how == "close" and sign in self.open[:-1]:
            self._guess(
                self.at,
                _(
                    "%(sign)s stands here, and %(closer)s is due before it: a bracket is missing",
                    sign=sign,
                    closer=closer,
                ),
            )
            return True
        self._guess(
            self.at,
            _(
                "%(sign)s stands here, and %(closer)s is due: it is one too many, or in the wrong place",
                sign=sign,
                closer=closer,
            ),
        )
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
                self._slip("not_json", self.at, _("There is a comma too many"))
                self.at += 1
                self._blank()
            if self._peek() == closer:
                self._slip(
                    "not_json", comma, _("There is a comma too many before the closing %(closer)s", closer=closer)
                )
        elif sign == ";":
            self._slip("not_json", self.at, _("JSON writes a comma between elements, not a semicolon"))
            self.at += 1
        elif sign and sign not in "}]" and not self.implied:
            self._slip("not_json", last, _("A comma is missing at the end of this line"))
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
