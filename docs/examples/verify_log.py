#!/usr/bin/env python3
"""Verify an exported log of Kore.ai BYOK against signed heads. Needs Python 3.11 and `cryptography`; none of our code.

    verify_log.py EXPORT… --head H… --public-key P [--uses USES…]

EXPORT: the file of `GET …/events/export` without filters; several where it comes in parts. Where it begins with
    archived lines, files of the archive may stand before it.
--head: the answer of `GET …/log/head` or `…/log/heads/{number}`, kept since then; several prove that each is the
    beginning of the next.
--public-key: the Ed25519 public key of the log: a file (PEM), or its base64, from where you trust it.
--uses: the file of `GET …/key-uses/export` without filters: each use is looked for in the line that seals it.

Exit 0: every line up to the newest head is as it was signed. Exit 1: it says which line, or which interval, is not.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import re
import sys
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

SHOWN = 20  # problems of one kind
SEALED_WITHIN = timedelta(hours=1)  # a line without a number that is older than a head by more was put in later


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def parent(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A growing Merkle tree of RFC 9162; `root` may be asked at any size."""

    def __init__(self) -> None:
        self.size, self.peaks = 0, []  # type: int, list[bytes]

    def append(self, hashed: bytes) -> None:
        level = 0
        while self.size >> level & 1:
            hashed = parent(self.peaks.pop(), hashed)
            level += 1
        self.peaks.append(hashed)
        self.size += 1

    def append_complete(self, hashed: bytes, count: int) -> None:
        """Add a complete subtree over so many leaves, where one may begin: the rest is as if each leaf was added."""
        level = count.bit_length() - 1
        while self.size >> level & 1:
            hashed = parent(self.peaks.pop(), hashed)
            level += 1
        self.peaks.append(hashed)
        self.size += count

    def root(self) -> str:
        if not self.peaks:
            return hashlib.sha256(b"").hexdigest()
        found = self.peaks[-1]
        for left in reversed(self.peaks[:-1]):
            found = parent(left, found)
        return found.hex()


def is_included(hashed: bytes, index: int, size: int, proof: list[str], root: str) -> bool:
    """RFC 9162, section 2.1.3.2."""
    if not 0 <= index < size:
        return False
    number, last, found = index, size - 1, hashed
    for one in map(bytes.fromhex, proof):
        if last == 0:
            return False
        if number & 1 or number == last:
            found = parent(one, found)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            found = parent(found, one)
        number, last = number >> 1, last >> 1
    return last == 0 and found.hex() == root


REFERENCE = re.compile(r"\{p:([a-z2-7]{52})\}")


def is_name_of(reference: str, proof: dict[str, Any]) -> bool:
    """Check a person's name against the reference that a line holds: the reference commits to it."""
    made = hmac.digest(bytes.fromhex(proof["salt"]), proof["name"].encode(), "sha256")
    return base64.b32encode(made).decode().rstrip("=").lower() == reference


def with_names(value: Any, persons: dict[str, Any]) -> Any:
    """Put names in place of references, as the readable parts of a line have them."""

    def name(found: re.Match[str]) -> str:
        if found[1] not in persons:
            return found[0]
        proof = persons[found[1]]
        return str(proof["name"]) if proof else f"an erased person ({found[1][:8]})"

    if isinstance(value, str):
        return REFERENCE.sub(name, value)
    if isinstance(value, list):
        return [with_names(one, persons) for one in value]
    return {key: with_names(one, persons) for key, one in value.items()} if isinstance(value, dict) else value


def digest(salt: bytes, value: object) -> str:
    return hmac.new(salt, canonical(value), hashlib.sha256).hexdigest()


def leaf_of(line: dict[str, Any]) -> bytes:
    """Make the leaf of a line anew from what it says."""
    payload = json.loads(line["payload"])
    data = payload.pop("data", {})
    fields = {"id": line["id"], "request_id": line["request_id"], **payload}
    fields |= {f"data.{name}": value for name, value in data.items()}
    salt = bytes.fromhex(line["salt"])
    digests = {name: digest(hmac.digest(salt, name.encode(), "sha256"), value) for name, value in fields.items()}
    return leaf(b"\x01" + canonical({"fields": digests, "number": line["number"]}))


def says_otherwise(line: dict[str, Any]) -> str:
    """Return which of a line's readable parts is not what its payload says; empty: they are the same."""
    payload, persons = json.loads(line["payload"]), line.get("persons", {})
    if canonical(payload).decode() != line["payload"]:
        return "payload"
    if line["name"] != payload.get("name"):
        return "name"
    if not all(proof is None or is_name_of(reference, proof) for reference, proof in persons.items()):
        return "the name of a person"
    if line["actor"] != with_names(str(payload.get("actor"))[:200], persons):
        return "actor"
    if datetime.fromisoformat(line["at"]) != datetime.fromisoformat(payload["at"]):
        return "at"
    return "" if line["data"] == with_names(payload.get("data", {}), persons) else "data"


class Report:
    def __init__(self) -> None:
        self.problems: list[str] = []
        self.notes: list[str] = []

    def problem(self, text: str) -> None:
        self.problems.append(text)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def end(self) -> int:
        for text in self.notes:
            print(text)
        for text in self.problems[:SHOWN]:
            print(f"NOT AS SIGNED: {text}")
        if len(self.problems) > SHOWN:
            print(f"NOT AS SIGNED: and {len(self.problems) - SHOWN} more")
        print("FAILED" if self.problems else "OK")
        return 1 if self.problems else 0


@dataclass(frozen=True)
class Archived:
    """Lines that are in the archive and not in the export: a complete subtree of the log's tree, or one line."""

    first: int
    last: int
    hash: bytes

    @property
    def count(self) -> int:
        return self.last - self.first + 1


def archived_of(given: dict[str, Any], report: Report) -> Archived | None:
    try:
        found = given["archived"]
        piece = Archived(int(found["first"]), int(found["last"]), bytes.fromhex(found["hash"]))
        if piece.first < 1 or piece.count < 1 or piece.count & (piece.count - 1) or len(piece.hash) != 32:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        report.problem("what the file says of archived lines cannot be read")
        return None
    return piece


def read(files: list[str], report: Report) -> list[dict[str, Any]]:
    """Return the lines of an export that may come in parts; the last part has to say that it is complete."""
    lines: list[dict[str, Any]] = []
    for place, file in enumerate(files):
        texts = Path(file).read_text(encoding="utf-8").split("\n")
        try:
            found = [json.loads(text) for text in texts if text.strip()]
        except ValueError:
            report.problem(f"{file} holds a line that is no JSON")
            return lines
        end = found.pop() if found and "complete" in found[-1] else None
        if end is None or end["count"] != len(found):
            report.problem(f"{file} was cut off: its last line does not say how many lines it has")
        elif place == len(files) - 1 and not end["complete"]:
            report.problem(f"{file} is not the last part: export on from cursor {end.get('next', '')}")
        lines += found
    return lines


@dataclass
class Line:
    """A line by itself: what it says it is, and what is wrong with it whatever the other lines are."""

    name: str
    number: int | None = None
    at: datetime | None = None
    leaf: bytes = b""
    event: str = ""
    tenant: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    erased: int = 0  # people of whom it speaks and whose names are gone
    problem: str = ""


# Data that this program computes with, of the lines that have them.
NUMBERS = {
    "keys.log.loss_declared": ("lost_from", "lost_to", "old_size", "head"),
    "keys.log.archived": ("through",),
    "keys.uses.rolled_up": ("first", "last", "requests"),
}


def check_data(event: str, data: dict[str, Any]) -> None:
    """Raise what reading them would: ValueError, KeyError or TypeError."""
    for name in NUMBERS.get(event, ()):
        int(data[name])
    if event == "keys.log.archived":
        list(map(int, data["beyond"]))
    if event == "keys.uses.rolled_up":
        bytes.fromhex(data["salt"] + data["root"])


def check_line(given: Any) -> Line:
    """Check a line by itself."""
    line = Line(name_of(given))
    try:
        payload = json.loads(given["payload"])
        line.at, line.data = datetime.fromisoformat(given["at"]), given["data"]
        line.event, line.tenant = given["name"], payload.get("tenant") or "kore"
        check_data(line.event, line.data)
        line.erased = sum(proof is None for proof in given.get("persons", {}).values())
        wrong = says_otherwise(given)
        if wrong:
            line.problem = f"was changed: {wrong} is not what its payload says"
        if given["number"] is not None:
            line.leaf = leaf_of(given)
            line.number = int(given["number"])
            if line.leaf.hex() != given["seal"]:
                line.problem = line.problem or "was changed: it is not what was sealed"
    except (KeyError, TypeError, ValueError, AttributeError):
        line.problem = "was changed: it cannot be read as a line of the log"
    return line


def check_lines(lines: list[Line], report: Report) -> dict[int, Line]:
    """Say what is wrong with the lines and their order; return those that have a number, by it."""
    numbered: dict[int, Line] = {}
    place: datetime | None = None
    for line in lines:
        if line.problem:
            report.problem(f"line {line.name} {line.problem}")
        if line.at is not None:
            if place is not None and line.at < place:
                report.problem(f"line {line.name} stands behind a later one: the file was reordered")
            place = line.at
        if line.number is None:
            continue
        if line.number in numbered:
            report.problem(f"line {line.name} was added: number {line.number} is there already")
            continue
        numbered[line.number] = line
        if line.erased:
            report.note(f"line {line.number}: people whose names were erased: {line.erased}")
    return numbered


def name_of(line: object) -> str:
    return f"{line.get('number')} (id {line.get('id')})" if isinstance(line, dict) else "?"


def losses_of(numbered: dict[int, Line], report: Report) -> list[range]:
    found = []
    for number, line in sorted(numbered.items()):
        if line.event == "keys.log.loss_declared" and not line.problem:
            data = line.data
            lost = range(int(data["lost_from"]), int(data["lost_to"]) + 1)
            report.note(
                f"DECLARED LOSS: lines {lost.start} to {lost.stop - 1} ({data['decided_by']}: {data['reason']}); "
                f"head {data['head']} had signed {data['old_size']} lines; the log goes on with line {number}"
            )
            found.append(lost)
    return found


def check_head(file: str, key: Ed25519PublicKey, report: Report) -> dict[str, Any] | None:
    """Check signature and inclusion of a kept head; return the entry of the log in it."""
    try:
        kept = json.loads(Path(file).read_text(encoding="utf-8"))
        head, entry = kept["head"], kept["entry"]
        key.verify(base64.b64decode(kept["signature"]), canonical(head))
    except (InvalidSignature, KeyError, TypeError, ValueError):
        report.problem(f"{file} is no head that this key signed")
        return None
    hashed = leaf(b"\x02" + canonical(entry))
    if not is_included(hashed, kept["index"], head["size"], kept["proof"], head["root"]):
        report.problem(f"{file}: the log's entry is not in the signed tree")
        return None
    return {**entry, "number": head["number"], "at": head["at"]}


def declared_of(numbered: dict[int, Line], archive: list[Archived], report: Report) -> dict[int, Archived]:
    """Return what stands in place of archived lines, by its first number; each has to be declared by a sealed line."""
    said = [line for _, line in sorted(numbered.items()) if line.event == "keys.log.archived" and not line.problem]
    through = max((int(line.data["through"]) for line in said), default=0)
    beyond = {int(number) for line in said for number in line.data["beyond"]}
    found = {}
    for piece in archive:
        if piece.last > through and not (piece.count == 1 and piece.first in beyond):
            report.problem(f"lines {piece.first} to {piece.last} are missing: no line declares that they are archived")
        elif all(number in numbered for number in range(piece.first, piece.last + 1)):
            continue  # they are in a file of the archive that was given too
        else:
            report.note(f"ARCHIVED: lines {piece.first} to {piece.last} are not in these files")
            found[piece.first] = piece
    return found


def is_gone(number: int, archive: dict[int, Archived]) -> bool:
    return any(one.first <= number <= one.last for one in archive.values())


def check_heads(
    heads: list[dict[str, Any]],
    numbered: dict[int, Line],
    losses: list[range],
    archive: dict[int, Archived],
    report: Report,
) -> None:
    """Compare the root over the lines with each signed one; name what is missing, or what interval was rewritten."""
    proved = False
    for first in sorted({head["first"] for head in heads}):
        tree, good = Tree(), first - 1
        for head in sorted((one for one in heads if one["first"] == first), key=lambda one: one["size"]):
            last = first + head["size"] - 1
            wanted = range(first + tree.size, last + 1)
            missing = [number for number in wanted if number not in numbered and not is_gone(number, archive)]
            lost = [number for number in missing if any(number in one for one in losses)]
            for number in missing:
                if number not in lost:
                    report.problem(f"line {number} is missing: head {head['number']} has signed {head['size']} lines")
            if missing:
                if lost and len(lost) == len(missing):
                    report.note(f"head {head['number']} covers lines that were declared lost: it proves nothing here")
                break
            if any(one.first <= last < one.last for one in archive.values()):
                report.note(f"head {head['number']} ends among archived lines: their files have to prove it")
                continue
            while tree.size < head["size"]:
                piece = archive.get(first + tree.size)
                if piece is None:
                    tree.append(numbered[first + tree.size].leaf)
                elif tree.size % piece.count:
                    report.problem(
                        f"lines {piece.first} to {piece.last}: what stands in their place does not fit there"
                    )
                    return
                else:
                    tree.append_complete(piece.hash, piece.count)
            if tree.root() != head["root"]:
                since = f"between line {good + 1} and line {last}"
                report.problem(f"{since} something was rewritten: head {head['number']} of {head['at']} signed others")
                break
            report.note(f"lines {first} to {last} are as head {head['number']} of {head['at']} signed them")
            good, proved = last, True

    if archive and not proved and not report.problems:
        report.problem("every head ends among archived lines: give a newer one, or the files of the archive")


def check_uses(files: list[str], numbered: dict[int, Line], report: Report) -> None:
    """Look for each use in the line that seals it, and for each such line whether all its uses are there."""
    uses = {use["id"]: use for use in read(files, report)}
    sealed: set[int] = set()
    for number, line in sorted(numbered.items()):
        if line.event != "keys.uses.rolled_up" or line.problem:
            continue
        data, tree = line.data, Tree()
        mine = [uses[one] for one in sorted(uses) if int(data["first"]) <= one <= int(data["last"])]
        for use in mine:
            tree.append(leaf(b"\x03" + bytes.fromhex(data["salt"]) + canonical(use)))
        sealed |= {use["id"] for use in mine}
        if len(mine) != int(data["requests"]):
            report.problem(f"line {number} seals {data['requests']} uses, and there are {len(mine)}")
        elif tree.root() != data["root"]:
            report.problem(f"line {number} seals other uses than those with the ids {data['first']} to {data['last']}")
    report.note(f"{len(sealed)} uses are sealed, {len(uses) - len(sealed)} wait for their line")


def public_key(text: str) -> Ed25519PublicKey:
    if Path(text).is_file():
        text = Path(text).read_text(encoding="utf-8").strip()
    if text.startswith("-----"):
        found = load_pem_public_key(text.encode())
        if not isinstance(found, Ed25519PublicKey):
            raise SystemExit("--public-key is not an Ed25519 key")
        return found
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(text))


def judge(
    lines: list[Line], signed: list[dict[str, Any]], report: Report, archive: list[Archived] | None = None
) -> dict[int, Line]:
    """Compare the lines with the signed heads; return those that have a number, by it."""
    numbered = check_lines(lines, report)
    losses = losses_of(numbered, report)
    if not signed:
        report.problem("no head proves anything")
        return numbered
    if {line.tenant for line in numbered.values()} - {head["log"] for head in signed}:
        report.problem("the heads are of another log than the lines")
        return numbered
    there = declared_of(numbered, archive or [], report)
    check_heads(signed, numbered, losses, there, report)
    newest = max(signed, key=lambda head: head["first"] + head["size"])
    behind = newest["first"] + newest["size"]
    for number in range(behind, max(numbered, default=0) + 1):
        is_said = is_gone(number, there) or any(number in one for one in losses)
        if number not in numbered and not is_said:
            report.problem(f"line {number} is missing: later lines are there")
    before = datetime.fromisoformat(newest["at"]) - SEALED_WITHIN
    for line in lines:
        if line.number is None and line.at is not None and line.at < before:
            report.problem(f"line {line.name} was added: it is older than a signed head and has no number")
    later = sum(line.number is None or line.number >= behind for line in lines)
    report.note(
        f"{later} lines are newer than head {newest['number']}. What was cut off behind it shows only against a later "
        "head: keep the next one too."
    )
    return numbered


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Verify an exported log against signed heads.")
    parser.add_argument("export", nargs="+")
    parser.add_argument("--head", nargs="+", required=True)
    parser.add_argument("--public-key", required=True)
    parser.add_argument("--uses", nargs="+", default=[])
    given = parser.parse_args(arguments)
    report, key = Report(), public_key(given.public_key)
    found = read(given.export, report)
    gone = [archived_of(line, report) for line in found if isinstance(line, dict) and "archived" in line]
    lines = [check_line(line) for line in found if not (isinstance(line, dict) and "archived" in line)]
    signed = [head for head in (check_head(file, key, report) for file in given.head) if head is not None]
    numbered = judge(lines, signed, report, [one for one in gone if one is not None])
    if given.uses:
        check_uses(given.uses, numbered, report)
    return report.end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
