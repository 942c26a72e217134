"""Public cases, labelled before they were run: policies as people paste them, and what AWS answered.

`pasted.jsonl`, `aws_words.jsonl` and `aws_words_by_kind.jsonl` hold one case a row, with its source, what was
adapted, and why the label is what it is. Of a policy: `verdict` (one of), `must` and `must_not` (finding codes;
`a|b` and `condition_*` are alternatives), `named` (a notation that may stay unread has to be named), `keeps` (Sids
of the customer that the corrected document keeps). Of an error: `causes` and `causes_not`, `steps`, `turn`. Of
both: `says` and `says_not`. The labels are knowledge of IAM and KMS and of the guide, not what our code said; who
finds a wrong one corrects it in the row and says so in the commit.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from keys.access import Access
from keys.arns import RoleArn
from keys.proof import pasted
from keys.proof.diagnosis import advice, causes, parsing
from keys.proof.pasted.findings import Values
from tenants.models import Member, Tenant

FOLDER = Path(__file__).parent
FIXTURE = {
    "service_role_arn": "arn:aws:iam::999900001111:role/byok-service-1",
    "external_id": "byok-Mine_0123456789-abcdefghijklmnopqrstuvwxyz",
    "role_arn": "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole",
    "key_arn": "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    "tenant": "t-1",
}
Row = dict[str, Any]


def _rows(name: str) -> list[Row]:
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]


PASTED, WORDS = _rows("pasted"), [*_rows("aws_words"), *_rows("aws_words_by_kind")]
# Cases that we answer wrongly today: what is wrong, and which they are.
# A case that is answered rightly again turns the suite red: take it out.
WRONG_BY_MECHANISM: dict[str, tuple[str, ...]] = {}
KNOWN_WRONG = {name: why for why, names in WRONG_BY_MECHANISM.items() for name in names}


def _cases(rows: list[Row]) -> Iterator[Any]:
    for row in rows:
        reason = KNOWN_WRONG.get(row["id"])
        marks = [pytest.mark.xfail(strict=True, reason=reason, raises=AssertionError)] if reason else []
        yield pytest.param(row, id=row["id"], marks=marks)


def _matches(pattern: str, found: set[str]) -> bool:
    return any(fnmatchcase(code, each) for each in pattern.split("|") for code in found)


def _said_wrongly(row: Row, text: str) -> Iterator[str]:
    yield from (f"does not say {pattern}" for pattern in row["says"] if not re.search(pattern, text))
    yield from (f"says {pattern}" for pattern in row["says_not"] if re.search(pattern, text))


def faults_of_policy(row: Row) -> tuple[list[str], list[str]]:
    """Return what is wrong with the verdict, and what is wrong with the rest of the answer."""
    values = Values(Access.of_texts(**{**FIXTURE, **row["values"]}))
    found = pasted.lint(row["kind"], row["text"], values)
    codes = {finding.code for finding in found.findings}
    text = "\n".join(f"{finding.text}\n{finding.fix}" for finding in found.findings)
    verdict = [] if found.verdict in row["verdict"] else [f"{found.verdict}, not {' or '.join(row['verdict'])}"]
    rest = [f"{code} is missing" for code in row["must"] if not _matches(code, codes)]
    rest += [f"{code} is wrong" for code in row["must_not"] if _matches(code, codes)]
    rest += _said_wrongly(row, text)
    if found.verdict == "unreadable" and row["named"] and not re.search(row["named"], text):
        rest.append(f"does not name {row['named']}")
    if found.verdict == "unreadable" and "Statement" not in json.loads(found.corrected):
        return verdict, rest  # the bare statement to add: nothing of theirs is replaced
    rest += [f"corrected has lost {sid}" for sid in row["keeps"] if f'"{sid}"' not in found.corrected]
    if pasted.lint(row["kind"], found.corrected, values).verdict != "ok":
        rest.append("corrected does not read as right")
    return verdict, rest


def faults_of_words(row: Row) -> tuple[list[str], list[str]]:
    """Return what is wrong with causes, steps and turn, and what is wrong with the words."""
    found = parsing.read(row["text"], operation=row["operation"], code=row["code"])
    judged = [f"{label} is missing" for label in row["causes"] if label not in found.causes]
    judged += [f"{label} is wrong" for label in row["causes_not"] if label in found.causes]
    if row["steps"] is not None and set(found.steps) != set(row["steps"]):
        judged.append(f"steps {list(found.steps)}, not {row['steps']}")
    if row["turn"] and advice.turn_of(found.steps) != row["turn"]:
        judged.append(f"turn {advice.turn_of(found.steps)}, not {row['turn']}")
    return judged, list(_said_wrongly(row, f"{found.text}\n{found.answer}"))


@pytest.mark.parametrize("row", _cases(PASTED))
def test_a_pasted_policy_gets_the_verdict_the_findings_and_the_correction_that_are_right(row: Row) -> None:
    verdict, rest = faults_of_policy(row)
    assert [*verdict, *rest] == []


@pytest.mark.parametrize("row", _cases(WORDS))
def test_an_aws_message_is_read_as_what_it_means_and_the_advice_is_right(row: Row) -> None:
    judged, words = faults_of_words(row)
    assert [*judged, *words] == []


def test_every_row_is_whole_and_every_known_wrong_one_exists() -> None:
    rows = [*PASTED, *WORDS]
    assert len({row["id"] for row in rows}) == len(rows) >= 80
    assert all(row["source"] and row["adapted"] and row["why"] for row in rows)
    assert set(KNOWN_WRONG) <= {row["id"] for row in rows}
    assert {label for row in WORDS for label in (*row["causes"], *row["causes_not"])} <= set(causes.CAUSES)


def test_the_api_gives_every_case_the_same_verdict(
    tenant: Tenant, alice: Member, api_of: Callable[[Member], Client]
) -> None:
    api, base = api_of(alice), f"/api/v1/tenants/{tenant.pk}"
    given = {name: FIXTURE[name] for name in ("role_arn", "key_arn")}
    assert api.put(f"{base}/registration", given, content_type="application/json").status_code == 200
    role, opened = Access.of_texts(**FIXTURE).service_role, RoleArn.parse(tenant.service_role.arn)
    own = {
        role.account: opened.account,
        # With its path, in whatever notation the ARN is written.
        role.name: str(opened).partition(":role/")[2],
        FIXTURE["external_id"]: tenant.external_id,
    }
    for row in PASTED:
        text = row["text"]
        for ours, theirs in own.items():
            text = text.replace(ours, theirs)
        answer = api.post(
            f"{base}/policy-checks", {"kind": row["kind"], "policy": text}, content_type="application/json"
        )
        expected = pasted.lint(row["kind"], row["text"], Values(Access.of_texts(**FIXTURE)))
        assert (row["id"], answer.status_code, answer.json()["verdict"]) == (row["id"], 200, expected.verdict)
        assert {each["code"] for each in answer.json()["findings"]} >= {each.code for each in expected.findings}, row[
            "id"
        ]


def test_the_command_explains_every_message_as_the_function_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "\n".join(json.dumps({"id": row["id"], "message": row["text"]}) for row in WORDS)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(lines.encode())))
    call_command("explain_aws_error")
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["id"] for answer in answers] == [row["id"] for row in WORDS]
    for row, answer in zip(WORDS, answers, strict=True):
        found = parsing.read(row["text"])
        assert (answer["causes"], answer["steps"]) == (list(found.causes), list(found.steps)), row["id"]
