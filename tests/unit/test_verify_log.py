"""The verifier that auditors run: a log of 1,000 lines, tampered with in each way at every position, and clean ones."""

from __future__ import annotations

import base64
import hmac
import importlib.util
import json
import random
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from byokportal import leaves, merkle

SCRIPT = Path(__file__).parents[2] / "docs" / "examples" / "verify_log.py"
_spec = importlib.util.spec_from_file_location("verify_log", SCRIPT)
assert _spec and _spec.loader
verify_log: Any = importlib.util.module_from_spec(_spec)
sys.modules["verify_log"] = verify_log
_spec.loader.exec_module(verify_log)

TENANT = "5f0c3e1e-6a52-4b1e-9a44-0d3a5b1f7a01"
NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
LINES, SIGNED = 1_000, (400, 990)


def line(number: int, *, data: dict[str, Any] | None = None, name: str = "keys.key.asked_again") -> dict[str, Any]:
    at, data = (NOON + timedelta(seconds=number)).isoformat(), {"n": number} if data is None else data
    facts = {"name": name, "actor": "member:a@b.example", "at": at, "data": data}
    payload = leaves.canonical({**facts, "tenant": TENANT, "via": "api", "target": ""})
    row = {
        "id": 5_000 + number,
        **facts,
        "request_id": "r",
        "payload": payload,
        "number": number,
        "salt": f"{number:032x}",
    }
    return sealed(row)


def sealed(row: dict[str, Any]) -> dict[str, Any]:
    """Seal a line as the sealer does, or as the database's owner does who has changed it."""
    fields = leaves.fields_of(row["payload"], row=row["id"], request_id=row["request_id"])
    return {**row, "seal": leaves.leaf(row["number"], leaves.digests(fields, row["salt"])).hex()}


def changed(row: dict[str, Any]) -> dict[str, Any]:
    payload = json.loads(row["payload"])
    payload["data"] = {"n": -1}
    return {**row, "data": payload["data"], "payload": leaves.canonical(payload)}


def head_over(rows: list[dict[str, Any]], *, number: int, first: int = 1) -> dict[str, Any]:
    root = merkle.root_of([bytes.fromhex(row["seal"]) for row in rows]).hex()
    entry = {"log": TENANT, "first": first, "size": len(rows), "root": root}
    others = [merkle.leaf(b"another log"), leaves.head_leaf(entry)]
    at = rows[-1]["at"] if rows else NOON.isoformat()
    body = {"log": "byok.example", "number": number, "at": at, "size": 2, "root": merkle.root_of(others).hex()}
    signature = base64.b64encode(KEY.sign(leaves.canonical(body).encode())).decode()
    return {"head": body, "signature": signature, "entry": entry, "index": 1, "proof": [others[0].hex()]}


def entry_of(head: dict[str, Any]) -> dict[str, Any]:
    return {**head["entry"], "number": head["head"]["number"], "at": head["head"]["at"]}


CLEAN = [line(number) for number in range(1, LINES + 1)]
CHECKED = [verify_log.check_line(row) for row in CLEAN]
HEADS = [entry_of(head_over(CLEAN[:size], number=place)) for place, size in enumerate((*SIGNED, LINES), 1)]


def problems(lines: list[Any], heads: list[dict[str, Any]] = HEADS) -> list[str]:
    report = verify_log.Report()
    verify_log.judge(lines, heads, report)
    return list(report.problems)


# --- one tampering at every position -----------------------------------------------------------------------------


def one_changed(at: int) -> list[Any]:
    return [*CHECKED[:at], verify_log.check_line(changed(CLEAN[at])), *CHECKED[at + 1 :]]


def one_taken_out(at: int) -> list[Any]:
    return [*CHECKED[:at], *CHECKED[at + 1 :]]


def one_added(at: int) -> list[Any]:
    more = {**changed(CLEAN[at]), "id": 9_999_999}
    return [*CHECKED[: at + 1], verify_log.check_line(sealed(more)), *CHECKED[at + 1 :]]


def two_swapped(at: int) -> list[Any]:
    one, other = at, (at + 1) % LINES
    rows = {one: {**CLEAN[one], "number": other + 1}, other: {**CLEAN[other], "number": one + 1}}
    found = list(CHECKED)
    for place, row in rows.items():
        found[place] = verify_log.check_line(sealed(row))
    return found


def cut_off(at: int) -> list[Any]:
    return CHECKED[:at]


def one_rewritten_with_its_hash(at: int) -> list[Any]:
    return [*CHECKED[:at], verify_log.check_line(sealed(changed(CLEAN[at]))), *CHECKED[at + 1 :]]


WAYS: dict[Callable[[int], list[Any]], str] = {
    one_changed: "line {number} (id {id}) was changed",
    one_taken_out: "line {number} is missing",
    one_added: "was added: number {number} is there already",
    two_swapped: "was rewritten",
    cut_off: "line {number} is missing",
    one_rewritten_with_its_hash: "was rewritten",
}


@pytest.mark.parametrize("way", WAYS)
def test_every_tampering_is_found_at_every_position_and_named(way: Callable[[int], list[Any]]) -> None:
    for at in range(LINES):
        found = problems(way(at))
        expected = WAYS[way].format(number=at + 1, id=5_001 + at)
        assert any(expected in one for one in found), (at, found)


def test_a_rewrite_is_put_between_two_signed_heads() -> None:
    for at, interval in ((0, (1, 400)), (399, (1, 400)), (400, (401, 990)), (989, (401, 990)), (995, (991, 1000))):
        found = problems(one_rewritten_with_its_hash(at))
        assert f"between line {interval[0]} and line {interval[1]} something was rewritten" in found[0]


def test_a_log_that_its_owner_rewrote_as_a_whole_is_not_the_signed_one() -> None:
    """The database's owner changes one line, and makes every number, salt and hash anew."""
    rows = [sealed({**row, "salt": f"{7 * row['number']:032x}"}) for row in CLEAN]
    rows[500] = sealed(changed(rows[500]))
    assert "something was rewritten" in problems([verify_log.check_line(row) for row in rows])[0]


def test_a_thousand_tampered_logs_are_found_and_a_hundred_clean_ones_are_not_accused() -> None:
    chance, ways = random.Random(16), list(WAYS)
    assert all(problems(chance.choice(ways)(chance.randrange(LINES))) for _ in range(1_000))
    for _ in range(100):
        size = chance.randrange(1, LINES + 1)
        signed = sorted(chance.sample(range(1, size + 1), min(size, 3)))
        heads = [entry_of(head_over(CLEAN[:one], number=place)) for place, one in enumerate(signed, 1)]
        assert problems(CHECKED[:size], heads) == []


# --- the program ------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., list[str]]:
    def write(rows: list[dict[str, Any]], *heads: dict[str, Any], end: bool = True) -> list[str]:
        last = [json.dumps({"complete": True, "count": len(rows)})] if end else []
        (tmp_path / "log.jsonl").write_text("\n".join([*(json.dumps(row) for row in rows), *last]) + "\n")
        names = []
        for place, head in enumerate(heads):
            (tmp_path / f"head{place}.json").write_text(json.dumps(head))
            names.append(str(tmp_path / f"head{place}.json"))
        return [str(tmp_path / "log.jsonl"), "--public-key", PUBLIC, "--head", *names]

    return write


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: capsys.readouterr().out


def test_a_clean_log_is_ok_and_it_says_what_a_head_cannot_show(files: Any, said: Any) -> None:
    rows = CLEAN[:30]
    given = files(rows, head_over(rows[:10], number=1), head_over(rows[:20], number=2))
    assert verify_log.main(given) == 0
    text = said()
    assert "lines 1 to 10 are as head 1" in text
    assert "lines 1 to 20 are as head 2" in text
    assert "10 lines are newer than head 2. What was cut off behind it shows only against a later head" in text


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda head: head["head"].update(at="2026-01-01T00:00:00+00:00"), "no head that this key signed"),
        (lambda head: head["entry"].update(size=3), "the log's entry is not in the signed tree"),
        (lambda head: head.update(proof=[]), "the log's entry is not in the signed tree"),
        (lambda head: head.update(signature="AAAA"), "no head that this key signed"),
        (lambda head: head.clear(), "no head that this key signed"),
    ],
)
def test_a_head_that_was_not_signed_so_proves_nothing(files: Any, said: Any, spoil: Any, expected: str) -> None:
    head = head_over(CLEAN[:10], number=1)
    spoil(head)
    assert verify_log.main(files(CLEAN[:10], head)) == 1
    assert expected in said()


def test_a_file_that_was_cut_off_or_reordered_or_is_nonsense_is_refused(files: Any, said: Any) -> None:
    head = head_over(CLEAN[:10], number=1)
    assert verify_log.main(files(CLEAN[:10], head, end=False)) == 1
    assert "was cut off" in said()
    assert verify_log.main(files([*CLEAN[1:10], CLEAN[0]], head)) == 1
    assert "the file was reordered" in said()
    for nonsense in ([], {"number": 3}, {**CLEAN[2], "payload": "{"}, {**CLEAN[2], "salt": "x"}, 7):
        assert verify_log.main(files([*CLEAN[:2], nonsense, *CLEAN[3:10]], head)) == 1  # type: ignore[list-item]
        assert "cannot be read as a line" in said()


def test_what_a_line_shows_is_what_was_sealed(files: Any, said: Any) -> None:
    head = head_over(CLEAN[:10], number=1)
    for name, value in {
        "actor": "system",
        "name": "x",
        "data": {},
        "id": 7,
        "request_id": "z",
        "at": "2020-01-01T00:00+00:00",
    }.items():
        assert verify_log.main(files([{**CLEAN[0], name: value}, *CLEAN[1:10]], head)) == 1, name
        assert "was changed" in said()


def test_a_line_that_was_put_in_without_a_number_is_named(files: Any, said: Any) -> None:
    late = {**CLEAN[0], "number": None, "salt": "", "seal": "", "id": 77}
    rows = [late, *CLEAN]
    far = [line(number) for number in range(5_000, 5_001)]
    head = head_over(CLEAN, number=1)
    head["head"]["at"] = far[0]["at"]
    head["signature"] = base64.b64encode(KEY.sign(leaves.canonical(head["head"]).encode())).decode()
    assert verify_log.main(files(rows, head)) == 1
    assert "line None (id 77) was added" in said()


def with_a_person(row: dict[str, Any], name: str = "carol@b.example") -> tuple[dict[str, Any], str]:
    """Return a line that names a person by reference, and the reference."""
    salt = "5a" * 32
    made = hmac.digest(bytes.fromhex(salt), name.encode(), "sha256")
    reference = base64.b32encode(made).decode().rstrip("=").lower()
    payload = json.loads(row["payload"]) | {
        "actor": f"member:{{p:{reference}}}",
        "data": {"of": [f"{{p:{reference}}}!"]},
    }
    shown = {"actor": f"member:{name}", "data": {"of": [f"{name}!"]}}
    proofs = {reference: {"name": name, "salt": salt, "is_kore": False}}
    return sealed({**row, **shown, "payload": leaves.canonical(payload), "persons": proofs}), reference


def test_a_name_is_proven_and_an_erased_one_accuses_nobody(files: Any, said: Any) -> None:
    row, reference = with_a_person(CLEAN[4])
    rows = [*CLEAN[:4], row, *CLEAN[5:10]]
    head, mark = head_over(rows, number=1), f"an erased person ({reference[:8]})"

    def verify(changed: dict[str, Any]) -> int:
        return int(verify_log.main(files([*CLEAN[:4], changed, *CLEAN[5:10]], head)))

    assert verify(row) == 0
    erased = {**row, "actor": f"member:{mark}", "data": {"of": [f"{mark}!"]}, "persons": {reference: None}}
    assert verify(erased) == 0
    assert "line 5: people whose names were erased: 1" in said()
    assert erased["seal"] == row["seal"]
    proof = row["persons"][reference]
    for tampered in (
        {**row, "actor": "member:dave@b.example"},
        {**erased, "actor": "member:carol@b.example"},
        {**erased, "data": {"of": ["somebody else"]}},
        {**row, "persons": {reference: {**proof, "name": "dave@b.example"}}, "actor": "member:dave@b.example"},
        {**row, "persons": {reference: {**proof, "salt": "5b" * 32}}},
        {**row, "persons": [reference]},
    ):
        assert verify(tampered) == 1, tampered
        assert "line 5 (id 5005) was changed" in said()


def test_a_declared_loss_is_shown_and_only_that_one_is_forgiven(files: Any, said: Any) -> None:
    data = {"lost_from": 9, "lost_to": 20, "decided_by": "ops", "reason": "disk", "head": 2, "old_size": 20}
    rows = [*CLEAN[:8], line(21, name="keys.log.loss_declared", data=data), *CLEAN[21:30]]
    heads = [head_over(CLEAN[:5], number=1), head_over(CLEAN[:20], number=2), head_over(rows[8:], number=3, first=21)]
    assert verify_log.main(files(rows, *heads)) == 0
    text = said()
    assert "DECLARED LOSS: lines 9 to 20 (ops: disk)" in text
    assert "lines 21 to 30 are as head 3" in text
    assert verify_log.main(files([*rows[:7], *rows[8:]], *heads)) == 1
    assert "line 8 is missing" in said()


# --- lines that are in the archive --------------------------------------------------------------------------------

THROUGH, BEYOND = 700, 703  # all of these, and one that was sealed behind two of the next month


def archived_log() -> tuple[list[dict[str, Any]], list[Any], list[dict[str, Any]]]:
    """Return a log whose 900th line declares what is archived, what stands in its place, and the heads over it."""
    declared = line(900, name="keys.log.archived", data={"through": THROUGH, "beyond": [BEYOND]})
    rows = [*CLEAN[:899], declared, *CLEAN[900:]]
    leaves_of, pieces, first = [bytes.fromhex(row["seal"]) for row in rows], [], 1
    for size in (512, 128, 32, 16, 8, 4):
        pieces.append(
            verify_log.Archived(first, first + size - 1, merkle.root_of(leaves_of[first - 1 : first - 1 + size]))
        )
        first += size
    pieces.append(verify_log.Archived(BEYOND, BEYOND, leaves_of[BEYOND - 1]))
    heads = [entry_of(head_over(rows[:size], number=place)) for place, size in enumerate((400, 990, LINES), 1)]
    return rows, pieces, heads


ROWS, PIECES, HEADS_OF_ROWS = archived_log()
LEFT = [verify_log.check_line(row) for row in ROWS if row["number"] > THROUGH and row["number"] != BEYOND]


def problems_of_archived(
    lines: list[Any] = LEFT, archive: list[Any] = PIECES, heads: list[dict[str, Any]] = HEADS_OF_ROWS
) -> list[str]:
    report = verify_log.Report()
    verify_log.judge(lines, heads, report, archive)
    return list(report.problems)


def test_the_rest_of_a_log_is_proved_without_its_archived_lines() -> None:
    assert problems_of_archived() == []
    whole = [verify_log.check_line(row) for row in ROWS]
    assert problems_of_archived(whole) == []  # with files of the archive before it
    assert problems_of_archived(whole, []) == []


def test_each_line_that_is_left_is_as_safe_as_before() -> None:
    for at, one in enumerate(LEFT):
        assert problems_of_archived([*LEFT[:at], *LEFT[at + 1 :]]), one.number
        forged = verify_log.check_line(sealed({**changed(ROWS[one.number - 1])}))
        assert problems_of_archived([*LEFT[:at], forged, *LEFT[at + 1 :]]), one.number


@pytest.mark.parametrize("place", range(len(PIECES)))
def test_what_stands_in_place_of_archived_lines_is_proved_by_the_heads(place: int) -> None:
    piece = PIECES[place]
    others = (
        verify_log.Archived(piece.first, piece.last, b"\0" * 32),
        verify_log.Archived(piece.first, piece.last + piece.count, piece.hash),
        verify_log.Archived(piece.first + 1, piece.last + 1, piece.hash),
    )
    for other in others:
        assert problems_of_archived(archive=[*PIECES[:place], other, *PIECES[place + 1 :]])
    assert problems_of_archived(archive=[*PIECES[:place], *PIECES[place + 1 :]])


@pytest.mark.parametrize("event", ["keys.log.archived", "keys.log.loss_declared", "keys.uses.rolled_up"])
@pytest.mark.parametrize("data", [{}, {"through": "x"}, {"through": None, "first": [], "lost_from": {}}], ids=str)
def test_a_line_whose_data_cannot_be_computed_with_is_named(event: str, data: dict[str, Any]) -> None:
    rows = [*CLEAN[:500], line(501, name=event, data=data), *CLEAN[501:]]
    found = problems([verify_log.check_line(row) for row in rows])
    assert found[0] == "line 501 (id 5501) was changed: it cannot be read as a line of the log"


def test_nothing_is_archived_that_no_sealed_line_declares() -> None:
    """Who owns the database could call any lines archived whose hashes are known."""
    more = verify_log.Archived(701, 701, bytes.fromhex(ROWS[700]["seal"]))
    without = [one for one in LEFT if one.number != 701]
    found = problems_of_archived(without, [*PIECES, more])
    assert found[0] == "lines 701 to 701 are missing: no line declares that they are archived"
    undeclared = [verify_log.check_line(row) for row in CLEAN if row["number"] > THROUGH]
    assert "no line declares" in problems_of_archived(undeclared, heads=HEADS)[0]


def test_heads_that_end_among_archived_lines_prove_nothing_alone() -> None:
    assert "every head ends among archived lines" in problems_of_archived(heads=HEADS_OF_ROWS[:1])[0]


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"first": 1, "last": 3, "hash": "00" * 32},
        {"first": 0, "last": 0, "hash": "00" * 32},
        {"first": 2, "last": 1, "hash": "00" * 32},
        {"first": 1, "last": 1, "hash": "00"},
        {"first": 1, "last": 1, "hash": None},
        {"first": "x", "last": 1, "hash": "00" * 32},
    ],
    ids=str,
)
def test_nonsense_about_archived_lines_is_refused(said: dict[str, Any]) -> None:
    report = verify_log.Report()
    assert verify_log.archived_of({"archived": said}, report) is None
    assert report.problems == ["what the file says of archived lines cannot be read"]
