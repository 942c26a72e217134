"""Catalogs of translated sentences: read as text (.po), compiled (.mo) and checked, without the programs of gettext.

`python -m byokportal.catalogs compile` writes the .mo beside each .po that is newer; `check` prints what is wrong in
one. The formats are those of the GNU gettext manual, "The Format of PO Files" and "The Format of GNU MO Files".
"""

from __future__ import annotations

import ast
import os
import re
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

LOCALE = Path(__file__).resolve().parent.parent / "locale"
MAGIC = 0x950412DE
# `%(name)s`, `%s`, `%%`, `{name}`: what is filled, and must stand in the translation too.
PLACE = re.compile(r"%\(\w+\)[a-z]|%[%a-z]|\{\w*\}")
TAG = re.compile(r"</?([a-z][a-z0-9]*)\b")
LINE = re.compile(r'(?:(msgctxt|msgid_plural|msgid|msgstr)(?:\[(\d)\])?\s+)?(".*")')


@dataclass
class Entry:
    """One sentence of a catalog: in English, with the plural where it has one, and in the other language."""

    line: int
    context: str | None = None
    one: str = ""
    many: str | None = None
    translated: dict[int, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)

    @property
    def is_whole(self) -> bool:
        """Tell whether the entry may be shown: every form is there, and a person has looked at it."""
        return "fuzzy" not in self.flags and bool(self.translated) and all(self.translated.values())


class Malformed(Exception):
    """A line of a .po that cannot be read."""


def entries(text: str) -> Iterator[Entry]:
    """Yield the entries of a .po, the header (the empty sentence) first; obsolete ones are left out."""
    entry: Entry | None = None
    flags: set[str] = set()
    part, form = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#,"):
            flags |= {flag.strip() for flag in line[2:].split(",")}
        if not line.strip() or line.startswith("#"):
            continue
        found = LINE.fullmatch(line.strip())
        if found is None:
            raise Malformed(f"line {number} is neither a comment nor a string: {line[:60]}")
        keyword, index, quoted = found.groups()
        piece = str(ast.literal_eval(quoted))
        if keyword == "msgctxt" or (keyword == "msgid" and part != "msgctxt"):
            if entry is not None:
                yield entry
            entry, flags = Entry(line=number, flags=flags), set()
        if entry is None:
            raise Malformed(f"line {number} belongs to no sentence")
        part, form = (keyword, int(index or 0)) if keyword else (part, form)
        match part:
            case "msgctxt":
                entry.context = (entry.context or "") + piece
            case "msgid":
                entry.one += piece
            case "msgid_plural":
                entry.many = (entry.many or "") + piece
            case _:
                entry.translated[form] = entry.translated.get(form, "") + piece
    if entry is not None:
        yield entry


def compiled(text: str) -> bytes:
    """Return the .mo of a .po: the table of the whole entries, sorted by their English."""
    pairs = []
    for entry in entries(text):
        if not entry.is_whole:
            continue  # Django shows the English
        key = entry.one if entry.many is None else f"{entry.one}\0{entry.many}"
        key = key if entry.context is None else f"{entry.context}\4{key}"
        value = "\0".join(entry.translated[form] for form in sorted(entry.translated))
        pairs.append((key.encode(), value.encode()))
    pairs.sort()
    keys, values = b"".join(key + b"\0" for key, _ in pairs), b"".join(value + b"\0" for _, value in pairs)
    table, at = b"", 28 + 16 * len(pairs)
    for column in (0, 1):
        for pair in pairs:
            table += struct.pack("<II", len(pair[column]), at)
            at += len(pair[column]) + 1
    head = struct.pack("<7I", MAGIC, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 28 + 16 * len(pairs))
    return head + table + keys + values


def sentences(language: str, folder: Path = LOCALE) -> tuple[str, ...]:
    """Return the sentences, in English, of a compiled catalog; those with a context or a plural are left out."""
    target = folder / language.split("-")[0] / "LC_MESSAGES" / "django.mo"
    if not target.exists():
        return ()
    data = target.read_bytes()
    _magic, _version, count, table = struct.unpack_from("<4I", data)
    places = (struct.unpack_from("<II", data, table + 8 * number) for number in range(count))
    keys = (data[at : at + length].decode() for length, at in places)
    return tuple(key for key in keys if key and "\0" not in key and "\4" not in key)


def compile_all(folder: Path = LOCALE) -> list[Path]:
    """Write the .mo beside each .po that is newer than its own; return those that were written."""
    written = []
    for source in sorted(folder.glob("*/LC_MESSAGES/*.po")):
        target = source.with_suffix(".mo")
        if target.exists() and target.stat().st_mtime >= source.stat().st_mtime:
            continue
        made = target.with_suffix(f".{os.getpid()}")  # several processes may start at once
        made.write_bytes(compiled(source.read_text(encoding="utf-8")))
        made.replace(target)
        written.append(target)
    return written


def faults(text: str) -> Iterator[str]:
    """Yield what is wrong in a .po, with the line: nothing translated, not looked at, other places or tags."""
    for entry in entries(text):
        said = f"line {entry.line}: {entry.one[:70]!r}"
        if not entry.one:
            continue
        if "fuzzy" in entry.flags:
            yield f"{said} is fuzzy: look at it and take the mark away"
        elif not entry.is_whole:
            yield f"{said} is not translated"
        else:
            yield from (f"{said}: {fault}" for fault in _differences(entry))


def _differences(entry: Entry) -> Iterator[str]:
    last = max(entry.translated)
    for form, sentence in entry.translated.items():
        # A form for one thing may say "a key" where the English has the number.
        english = entry.one if entry.many is None else entry.many
        wanted, found = set(PLACE.findall(english)), set(PLACE.findall(sentence))
        if found - wanted or (wanted - found and (entry.many is None or form == last)):
            yield f"its places differ: {sorted(wanted ^ found)}"
        if sorted(TAG.findall(english)) != sorted(TAG.findall(sentence)):
            yield "its tags differ"
        if (english[:1].isspace(), english[-1:].isspace()) != (sentence[:1].isspace(), sentence[-1:].isspace()):
            yield "it begins or ends with another space"


def main(arguments: list[str]) -> int:
    """Compile or check every catalog; return the status of the process."""
    if arguments == ["compile"]:
        compile_all()
        return 0
    if arguments != ["check"]:
        sys.stderr.write("python -m byokportal.catalogs compile | check\n")
        return 2
    found = [
        f"{source.relative_to(LOCALE.parent)}: {fault}"
        for source in sorted(LOCALE.glob("*/LC_MESSAGES/*.po"))
        for fault in faults(source.read_text(encoding="utf-8"))
    ]
    sys.stderr.writelines(f"{line}\n" for line in found)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
