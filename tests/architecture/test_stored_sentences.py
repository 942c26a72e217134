"""Each sentence of ours that a row keeps stands in the catalogs, so that it is read in another language too."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from byokportal import stored_sentences, translation

ROOT = Path(__file__).resolve().parents[2]
# Arguments that rows keep, or that an event says.
KEPT = {"reason", "why", "what", "when", "problem", "ends", "text", "subject", "look_problem", "test_why"}
# Who takes such an argument and keeps nothing of it for an organisation's people, and what else is not read as words.
NOT_KEPT = {
    "MalformedBody": "an answer of the API",
    "ContextInvalid": "the same",
    "DirectoryFull": "the same, of SCIM",
    "NameTaken": "the same",
    "ArnRefused": "an answer at once",
    "TicketsNotMerged": "an answer to Kore.ai's people",
    "MailNotSigned": "an answer to the gateway of mails",
    "ExportNotWritten": "an answer to an operator",
    "ReceiptNotSigned": "the same",
    "NotOursToTake": "an answer to Kore.ai's people",
    "StillServes": "the same",
    "SignOnRefused": "an answer at once",
    "_say_if_short": "of our own log",
    "move": "nobody but Kore.ai's people reads why a registration moved, but for the codes of its state",
    "restart": "nobody but Kore.ai's people reads why a step moved",
    "_retire": "the same as a move",
    "end": "what became of a row of a bulk operation, for Kore.ai's people",
    "error": "a line of a process",
    "attempt": "a code",
    "failed": "a code",
    "start_test": "of a canary, which is ours",
    "_": "values of a sentence that is made when somebody reads it",
}
SHOWN_TO_STAFF = (
    "support/oncall/",
    "support/response.py",
    "support/admin/",
    "support/preflight/",
    "support/seeding.py",
    "keys/closing/",
    "keys/services/closing.py",
    "tenants/erasure.py",
)
LETTERS = re.compile(r"[A-Za-z]{2,} [A-Za-z]")


def _said() -> Iterator[tuple[str, str]]:
    """Yield what is given to such an argument and was never marked for the catalogs: a literal or an f-string."""
    for app in ("byokportal", "tenants", "keys", "support"):
        for path in sorted((ROOT / app).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if name.startswith(SHOWN_TO_STAFF) or "/management/" in name or "byokportal/localaws/" in name:
                continue
            for call in ast.walk(ast.parse(path.read_text())):
                if isinstance(call, ast.Call) and ast.unparse(call.func).split(".")[-1] not in NOT_KEPT:
                    for given in call.keywords:
                        if given.arg in KEPT:
                            yield from ((f"{name}:{call.lineno}", said) for said in _literals(given.value))


def _literals(value: ast.expr) -> Iterator[str]:
    match value:
        case ast.IfExp():
            yield from (*_literals(value.body), *_literals(value.orelse))
        case ast.BoolOp():
            for one in value.values:
                yield from _literals(one)
        case ast.Constant(value=str(text)) if LETTERS.search(text):
            yield text
        case ast.JoinedStr() if LETTERS.search(
            "".join(str(one.value) for one in value.values if isinstance(one, ast.Constant))
        ):
            yield ast.unparse(value)


def test_what_a_row_keeps_is_marked_for_the_catalogs() -> None:
    assert not list(_said()), 'lazy("… {place} …").format(…), and the German in locale/de'


def test_no_text_of_a_person_keeps_a_pattern_busy() -> None:
    """A pattern with two places that can give back what they took tries every pair of ends, and people choose texts."""
    busy = []
    for sentence in translation.sentences("de"):
        if stored_sentences.PLACE.search(sentence):
            made = stored_sentences._pattern(sentence.replace("{of_its_own}", "")).pattern
            busy += [sentence] if len(re.findall(r"[).]\*(?!\+)", made)) > 1 else []
    assert busy == []
