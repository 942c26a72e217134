"""What the paste box, the causes of AWS's errors and the encryption test say, in German: sentences of the catalog,
and English where rows keep them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.utils import translation as django_translation

from byokportal import stored_sentences, translation
from byokportal.translation import translate as _
from keys.access import Access
from keys.policies.documents import Beside
from keys.proof import pasted
from keys.proof.diagnosis import advice, causes, parsing, saving
from keys.proof.encryption_test import CHECKS, outcome, remedies
from keys.proof.encryption_test.checks import hygiene, role
from keys.proof.encryption_test.facts import Subject
from keys.proof.encryption_test.report import chain, comparison, presentation
from keys.proof.pasted.findings import Values
from keys.proof.pasted.outputs import recognition

CASES = Path(__file__).parent.parent / "cases"
ROLE = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ACCESS = Access.of_texts(
    tenant="t-1",
    service_role_arn="arn:aws:iam::999900001111:role/byok-service-1",
    external_id="byok-Mine_0123456789-abcdefghijklmnopqrstuvwxyz",
    role_arn=ROLE,
    key_arn=KEY,
)
SUBJECT = Subject(ACCESS, "AROASERVICE")
REPLACING = Beside(roles=(ROLE + "Old",), keys=(KEY[:-1] + "c",))
OPEN, CLOSE = "⟦", "⟧"


def _policy(*statements: object, version: str = "2012-10-17", **more: object) -> str:
    return json.dumps({"Version": version, "Statement": list(statements), **more})


OURS = str(ACCESS.service_role)
TRUST = {"Effect": "Allow", "Principal": {"AWS": OURS}, "Action": "sts:AssumeRole"}
USE = {"Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": KEY}
THEIRS = {"Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "kms:*", "Resource": "*"}


def _if(operator: str, value: object) -> dict[str, object]:
    return {**TRUST, "Condition": {operator: {"sts:ExternalId": value}}}


# What the public cases do not say.
MORE = (
    "",
    "x" * 70_000,
    "[" * 40,
    "\ufeff{}",
    _policy({**USE, "Sid": "a\u2028b\u0416"}).replace("\\u2028", "\u2028").replace("\\u0416", "\u0416"),
    '{"Version": "2012-10-17", "Version": "2012-10-17", "statements": []}',
    json.dumps({"Version": "2012-10-17", "Statement": [{"x": at} for at in range(5_000)]}),
    _policy(*[USE] * 120),
    _policy({**USE, "Resource": "arn:aws:kms:eu-central-1:111122223333:alias/a"}),
    _policy(
        {**TRUST, "Condition": {"DateLessThan": {"aws:CurrentTime": f"{datetime.now(UTC) + timedelta(9):%Y-%m-%d}"}}}
    ),
    _policy(*[{"Effect": "allow", "Action": "?", "Resource": "x", "Sid": "-"}] * 30),
    _policy({**USE, "Sid": "x" * 33_000}),
    _policy("text", {**USE, "Sid": 1}, {**USE, "Sid": "a"}, {**USE, "Sid": "a"}, {**USE, "Sid": "a b"}),
    _policy(),
    _policy({**USE, "Effect": "allow", "effects": 1}, {"Action": "kms:Decrypt"}, version="2008-10-17"),
    _policy({**USE, "effect": "Allow", "NotAction": "kms:Encrypt"}, {**USE, "Resource": ["x", 1]}, version="1999"),
    _policy({**USE, "Action": ["decrypt", 1, "kms:Decryptt", "x y:z"]}, {**USE, "Resource": "arn:aws:kms:*:*:alias/a"}),
    _policy({**USE, "Resource": KEY.replace("111122223333", "444455556666").replace(":aws:", ":aws-cn:")}),
    _policy({"Effect": "Allow", "Action": "kms:*", "NotResource": KEY}),
    _policy(
        {**USE, "Resource": KEY.replace("/1234", "/9999")}, {"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}
    ),
    _policy({**USE, "Condition": {"StringLikes": {"a:b": "c"}, "Bool": "x", "StringEquals": {"kms:x": [{}]}}}),
    _policy({**USE, "Condition": "x"}, {**USE, "Effect": "Deny"}),
    _policy({**TRUST, "Action": "s3:GetObject", "Resource": "*"}, {**TRUST, "Action": "sts:*"}),
    _policy(
        {**TRUST, "Action": ["sts:AssumeRole", "sts:TagSession"]}, {**TRUST, "NotAction": "sts:GetFederationToken"}
    ),
    _policy(
        {**TRUST, "Principal": {"AWS": "AROAABCDEFGHIJKLMNOPQ"}}, {**TRUST, "Principal": {"AWS": "arn:aws:iam::9:x"}}
    ),
    _policy({"Effect": "Allow", "NotPrincipal": {"AWS": ROLE}, "Action": "sts:AssumeRole"}),
    _policy(
        {**THEIRS, "Resource": KEY}, {"Effect": "Allow", "NotPrincipal": {"AWS": OURS}, "Action": "*", "Resource": "*"}
    ),
    _policy({**THEIRS, "NotResource": KEY}, {**THEIRS, "Principal": "*", "Condition": {"Bool": {"kms:x": "true"}}}),
    _policy(_if("StringLike", "*")),
    _policy(_if("StringNotEquals", "x")),
    _policy(_if("StringEqualsIgnoreCase", ACCESS.external_id)),
    _policy(_if("StringEqualsIfExists", ACCESS.external_id)),
    _policy(_if("ForAllValues:StringEquals", ACCESS.external_id)),
    _policy(_if("ForAnyValue:StringEquals", ACCESS.external_id)),
    _policy(_if("StringLike", ACCESS.external_id)),
    _policy(_if("Null", "false")),
    _policy({**TRUST, "Condition": {"StringEquals": {"aws:ExternalId": ACCESS.external_id}}}),
    _policy({**_if("StringEquals", [ACCESS.external_id, "x"]), "Id": "x"}),
)


@pytest.fixture
def marked() -> Iterator[None]:
    """Every sentence that a catalog would give stands in brackets."""
    plural = lambda one, many, number: OPEN + (one if number == 1 else many) + CLOSE  # noqa: E731
    before = translation._look_up, translation._look_up_plural
    translation.set_look_up(lambda message: OPEN + message + CLOSE, plural)
    yield
    translation.set_look_up(*before)


@pytest.fixture
def german() -> Iterator[None]:
    with django_translation.override("de"):
        yield


def _rows(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (CASES / name).read_text(encoding="utf-8").splitlines()]


def _unmarked(text: str) -> str:
    """Return what of a text no catalog would give: neither a sentence nor a value in one."""
    depth, left = 0, ""
    for sign in text:
        depth += (sign == OPEN) - (sign == CLOSE)
        left += sign if not depth and sign != CLOSE else ""
    return left.strip(" .:")


def test_every_finding_of_the_paste_box_is_a_sentence_of_the_catalog(marked: None) -> None:
    seen = set()
    for pasted_text in (*(row["text"] for row in _rows("pasted.jsonl")), *MORE):
        for kind in ("trust", "permissions", "key"):
            for values in (Values(ACCESS, REPLACING), Values(Access.of_texts(**_half()))):
                for finding in pasted.lint(kind, pasted_text, values).findings:
                    seen.add(finding.code)
                    assert not _unmarked(finding.text), (finding.code, finding.text)
                    assert not _unmarked(finding.fix), (finding.code, finding.fix)
    assert len(seen) > 80, sorted(seen)


def _half() -> dict[str, str]:
    return {
        "tenant": "t-1",
        "service_role_arn": "arn:aws:iam::999900001111:role/byok-service-1",
        "external_id": "byok-Mine_0123456789-abcdefghijklmnopqrstuvwxyz",
    }


OUTPUTS = (
    "",
    "x" * 70_000,
    "nothing that we know",
    '{"KeyMetadata": {"Arn": "arn:aws:kms:eu-west-1:444455556666:key/1", "KeyState": "PendingDeletion", '
    '"DeletionDate": "2026-01-01", "KeyManager": "AWS", "KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"}}',
    '{"Role": {"Arn": "arn:aws:iam::444455556666:role/x", "MaxSessionDuration": 600, "PermissionsBoundary": {}}}',
    '{"EvaluationResults": [{"EvalActionName": "kms:Decrypt", "EvalDecision": "explicitDeny", '
    '"MatchedStatements": [{"SourcePolicyId": "guard"}]}]}',
    '{"Account": "111122223333", "UserId": "AIDA", "Arn": "arn:aws:iam::111122223333:user/bob"}',
    "An error occurred (NoSuchEntity) when calling the GetRole operation: The role with name x cannot be found.",
    "An error occurred (AccessDenied) when calling the AssumeRole operation: not authorized",
)


@pytest.mark.parametrize("text", OUTPUTS)
def test_every_point_about_an_output_is_a_sentence_of_the_catalog(marked: None, text: str) -> None:
    read = recognition.read(text, Values(ACCESS))
    said = [read.text, *(each for point in read.points for each in (point.text, point.fix))]
    assert not [each for each in said if _unmarked(each)]


def test_each_cause_has_a_german_remedy(german: None) -> None:
    found = {label: cause.remedy for label, cause in causes.CAUSES.items()}
    assert not [label for label, remedy in found.items() if _(remedy) == remedy]
    assert not [text for text in advice.OF_A_CALLER.values() if _(text) == text]
    assert not [fault.words for fault in saving.FAULTS if _(fault.words) == fault.words]


def test_a_remedy_of_an_error_is_filled_in_german(german: None) -> None:
    for row in _rows("aws_words.jsonl"):
        read = parsing.read(row["text"], operation=row.get("operation", ""), code=row.get("code", ""))
        for label in read.causes:
            text = advice.remedy_of(label, read.error)
            assert not re.search(r"%\(|\{\w+\}|\b(?:the|your|and)\b", text.replace("<your key ARN>", "")), (label, text)


def test_the_tables_of_the_report_are_german(german: None) -> None:
    tables = (
        chain.LABELS,
        chain.DOCUMENTS,
        chain.WITHOUT_DOCUMENT,
        chain.WORKS,
        chain.NOT_ASKED,
        chain.WAITS,
        comparison.NOW,
        comparison.WAS,
        presentation.PASSED,
        presentation.WAITS,
        presentation.VERDICTS,
    )
    texts = [text for table in tables for text in table.values()]
    texts += [chain.OURS_SENTENCE, chain.UNSETTLED, chain.LET_US_IN, outcome.REFUSED, outcome.LET_US_IN]
    assert not [text for text in texts if _(text) == text]
    assert not [check.title for check in CHECKS if stored_sentences.again(check.title) == check.title]


# --- sentences that rows keep ------------------------------------------------------------------------------------

MULTI = Access.of_texts(**_half(), role_arn=ROLE, key_arn=KEY.partition("key/")[0] + f"key/mrk-{'1234abcd' * 4}")
OF_MANY_REGIONS = Subject(MULTI, "AROASERVICE")
WORDS = {"action": "kms:Decrypt", "pattern": "kms:Decrypt", "spared": ROLE}
REMEDIES = sorted({*remedies.REMEDIES.values(), *(check.remedy for check in CHECKS if check.remedy)})


@pytest.mark.parametrize("template", REMEDIES)
def test_a_stored_remedy_is_made_again_in_german(template: str) -> None:
    for subject in (SUBJECT, OF_MANY_REGIONS):
        english = remedies.render(template, subject, WORDS)
        english += remedies.besides(("", "role_explicit_deny"), "permissions policy", subject)
        assert stored_sentences.again(english) is english
        with django_translation.override("de"):
            german = stored_sentences.again(english)
        assert not re.search(r"\b(?:the|your|and|of)\b", german), german
        assert set(re.findall(r"arn:aws\S*[\w/]|kms:\w+", english)) == set(
            re.findall(r"arn:aws\S*[\w/]|kms:\w+", german)
        )


@pytest.mark.parametrize(
    "english",
    [
        hygiene.NOT_ROTATED.format(about=f"--region eu-central-1 --key-id {KEY}"),
        hygiene.ACROSS_ACCOUNTS.format(role_account="111122223333", key_account="444455556666"),
        role.LETS_THE_ACCOUNT_IN.format(role_name="x", service_role_arn=ROLE, account="999900001111"),
        "It was not tried.",
        "no canary role is set up",
    ],
)
def test_a_stored_warning_is_made_again_in_german(english: str) -> None:
    with django_translation.override("de"):
        german = stored_sentences.again(english)
    assert german != english
    assert not re.search(r"\b(?:the|your|and|is)\b", german)


def test_a_sentence_of_an_earlier_release_stays_as_it_is(german: None) -> None:
    assert stored_sentences.again("Do what the old release said.") == "Do what the old release said."


def test_a_mail_names_the_page_where_the_document_stands(german: None) -> None:
    english = remedies.render(remedies.REMEDIES["key_policy_missing_action"], SUBJECT, WORDS)
    text = remedies.away_from_the_page(stored_sentences.again(english), ACCESS.external_id)
    assert "unten" not in text
    assert "auf der Seite des Tests" in text


def test_a_line_of_the_test_shows_the_title_in_german(german: None) -> None:
    row = SimpleNamespace(title=CHECKS[0].title)
    line = presentation.Line(row, "pass", "", (), "")  # type: ignore[arg-type]
    assert line.title == "Unsere Servicerolle ist die, der Sie vertrauen"
