"""Rows of a test → the chain, the order to mend in, what is waited for, runs side by side: tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.models import CheckResult, EncryptionTest, KeyRegistration
from keys.proof.encryption_test import CHECKS, outcome
from keys.proof.encryption_test.base import Judgement
from keys.proof.encryption_test.report import chain, comparison, presentation, remedy_order

NOW = datetime(2026, 3, 4, 14, 3, 20, tzinfo=UTC)
ASKED = {"action": "sts:AssumeRole", "at": NOW.isoformat()}
LATER = {**ASKED, "final_at": NOW.isoformat()}
REFUSED = ["external_id_mismatch", "role_not_found"]
TOTAL = sum(not check.is_warning for check in CHECKS)
USES = [check.code for check in CHECKS if check.code.startswith("use.")]
W, B, T, US, N, S = "works", "broken", "waiting", "ours", "not_asked", "begun"


def rows(**changed: dict[str, Any] | str) -> list[CheckResult]:
    """Return the rows of a test in which everything passed but what is named (`role_assumable`
    for `role.assumable`)."""
    found = []
    for position, check in enumerate(CHECKS):
        change = changed.get(check.code.replace(".", "_"), "pass")
        facts: dict[str, Any] = (
            {"verdict": change, "evidence": dict(ASKED)}
            if isinstance(change, str)
            else {"evidence": dict(ASKED), **change}
        )
        if facts["verdict"] == "gone":
            continue
        values = {"position": position, "code": check.code, "title": check.title, "step": check.step, **facts}
        found.append(CheckResult(at=NOW, **values))
    return found


def up_to(code: str) -> list[CheckResult]:
    return rows()[: [check.code for check in CHECKS].index(code) + 1]


def behind(code: str, change: dict[str, Any]) -> list[CheckResult]:
    """Return rows in which one check did not pass and everything after it was skipped."""
    at = [check.code for check in CHECKS].index(code)
    skipped = {check.code.replace(".", "_"): "skipped" for check in CHECKS[at + 1 :]}
    return rows(**skipped, **{code.replace(".", "_"): change})


REFUSAL = {"verdict": "fail", "causes": REFUSED, "document": "trust-policy", "remedy": "Set the trust policy."}
LACKS = {
    "verdict": "fail",
    "step": 2,
    "document": "permissions-policy",
    "causes": ["role_permissions_policy_missing_action"],
    "remedy": "Add kms:Encrypt.",
}
KEY_POLICY = {
    "verdict": "fail",
    "document": "key-policy-statement",
    "causes": ["key_policy_missing_statement"],
    "remedy": "Add the statement.",
}
DISABLED = {"verdict": "fail", "document": "key", "causes": ["key_disabled"], "remedy": "Enable the key."}
ANYBODY = {
    "verdict": "fail",
    "document": "trust-policy",
    "causes": ["external_id_not_required"],
    "evidence": {**ASKED, "allowed": True},
    "remedy": "Require it.",
}
OUR_FAULT = {"verdict": "unknown", "causes": ["our_identity_policy_missing_assume_role"]}
STRANGER = CheckResult(
    code="role.refuses_others",
    position=6,
    step=2,
    title="",
    verdict="fail",
    causes=["trust_policy_anybody"],
    document="trust-policy",
)
SOON = {"verdict": "unknown", "causes": [*REFUSED, "propagation_delay"], "evidence": LATER}


@pytest.mark.parametrize(
    ("found", "states", "decides"),
    [
        pytest.param([], [N, N, N, N], None, id="nothing was asked"),
        pytest.param(up_to("ours.canary"), [S, N, N, N], None, id="half of our own side is not a green link"),
        pytest.param(up_to("ours.policy"), [W, N, N, N], None, id="our side works"),
        pytest.param(
            up_to("external_id.exact"), [W, W, S, N], None, id="the role lets us in, whom we became is not asked yet"
        ),
        pytest.param(up_to("key.enabled"), [W, W, W, S], None, id="the key exists, its use is not tried yet"),
        pytest.param(rows(), [W, W, W, W], None, id="everything passed"),
        pytest.param(
            rows(hygiene_rotation="gone", hygiene_permissions="unknown"), [W, W, W, W], None, id="warnings never decide"
        ),
        pytest.param(
            behind("role.assumable", REFUSAL),
            [W, N, B, N],
            "role.assumable",
            id="refused: which of them AWS does not say",
        ),
        pytest.param(
            behind("role.assumable", {**REFUSAL, "causes": ["external_id_mismatch"]}),
            [W, B, N, N],
            "role.assumable",
            id="refused, and only the External ID is left",
        ),
        pytest.param(behind("role.assumable", SOON), [W, N, T, N], None, id="refused soon after a change"),
        pytest.param(rows(external_id_required=ANYBODY), [W, B, W, W], "external_id.required", id="let in without it"),
        pytest.param(
            rows(external_id_exact={"verdict": "unknown", "evidence": LATER}), [W, T, W, W], None, id="second look"
        ),
        pytest.param(
            rows(external_id_required={"verdict": "unknown", "evidence": {**LATER, "insecure_at": NOW.isoformat()}}),
            [W, T, W, W],
            None,
            id="a serving role lets us in",
        ),
        pytest.param(rows(account_identity={"verdict": "fail"}), [W, W, B, W], "account.identity", id="another role"),
        pytest.param(
            rows(key_enabled=DISABLED, **{code.replace(".", "_"): "skipped" for code in USES}),
            [W, W, W, B],
            "key.enabled",
            id="disabled",
        ),
        pytest.param(rows(use_encrypt=LACKS), [W, W, B, S], "use.encrypt", id="the permissions policy is the role's"),
        pytest.param(rows(use_encrypt=KEY_POLICY), [W, W, W, B], "use.encrypt", id="the key policy is the key's"),
        pytest.param(rows(use_encrypt={"verdict": "unknown"}), [W, W, W, T], None, id="throttled"),
        pytest.param(behind("ours.canary", OUR_FAULT), [US, N, N, N], "ours.canary", id="our canary"),
        pytest.param(
            behind("ours.canary", {"verdict": "unknown"}), [T, N, N, N], None, id="no answer says nothing of our side"
        ),
        pytest.param(
            [*rows(role_refuses_others="gone"), STRANGER], [W, W, B, W], "role.refuses_others", id="others are let in"
        ),
        pytest.param(
            behind("ours.canary", {"verdict": "unknown", "evidence": {"why": "no canary role is set up"}}),
            [US, N, N, N],
            "ours.canary",
            id="no canary at all",
        ),
        pytest.param(
            behind("role.assumable", {"verdict": "unknown", "causes": ["our_session_policy"]}),
            [US, N, N, N],
            "role.assumable",
            id="the refusal was our own policy's",
        ),
        pytest.param(
            rows(use_encrypt={"verdict": "unknown", "evidence": {"why": "not asked yet"}}),
            [W, W, W, S],
            None,
            id="not asked yet is not waiting",
        ),
        pytest.param(
            rows(key_enabled=DISABLED, external_id_required=ANYBODY),
            [W, B, W, B],
            "external_id.required",
            id="two links",
        ),
    ],
)
def test_the_rows_make_the_chain(found: list[CheckResult], states: list[str], decides: str | None) -> None:
    made = chain.of(found)
    assert [link.state for link in made.links] == states
    broken = made.broken
    assert (broken.check.code if broken and broken.check else None) == decides
    for link in made.links:  # the words say what the picture shows
        assert f"{link.title}: {link.label.lower()}. {link.sentence}" in made.alt


def test_when_the_test_is_over_nothing_waits() -> None:
    found = rows(key_enabled=DISABLED, external_id_exact={"verdict": "unknown", "evidence": LATER})
    assert [link.state for link in chain.of(found, is_over=True).links] == [W, "unsettled", W, B]
    assert [line.label for line in read(found, "finished", "fail").lines if line.row.verdict == "unknown"] == [
        "Not settled"
    ]


def test_a_test_that_waits_for_us_marks_our_link_wherever_it_was_met() -> None:
    assert [link.state for link in chain.of(rows(use_encrypt="unknown"), waits_for_kore=True).links] == [US, W, W, T]


def test_a_waiting_link_says_until_when() -> None:
    assert [link.until for link in chain.of(behind("role.assumable", SOON)).links] == [None, None, NOW, None]


@pytest.mark.parametrize(
    ("found", "order"),
    [
        (rows(), []),
        (rows(use_encrypt=LACKS, use_decrypt={**LACKS, "remedy": "Add kms:Decrypt."}), [(2, "permissions-policy", 2)]),
        (rows(use_encrypt=KEY_POLICY, use_decrypt=KEY_POLICY), [(3, "key-policy-statement", 1)]),
        (
            rows(role_assumable=REFUSAL, external_id_required=ANYBODY, key_enabled=DISABLED),
            [(2, "trust-policy", 2), (1, "key", 1)],
        ),
        (rows(account_identity={"verdict": "fail"}, external_id_exact=ANYBODY), [(2, "trust-policy", 1), (2, "", 0)]),
        (
            [*rows(role_refuses_others="gone", account_identity={"verdict": "fail"}, key_enabled=DISABLED), STRANGER],
            [(2, "trust-policy", 0), (2, "", 0), (1, "key", 1)],
        ),
        # as the chain says
        (rows(use_encrypt=LACKS, key_enabled=DISABLED), [(2, "permissions-policy", 1), (1, "key", 1)]),
    ],
)
def test_one_entry_for_each_document_in_the_order_to_mend(
    found: list[CheckResult], order: list[tuple[int, str, int]]
) -> None:
    assert [(remedy.step, remedy.document, len(remedy.changes)) for remedy in remedy_order.in_order(found)] == order


def test_the_difference_shows_when_it_is_known_what_stands_there() -> None:
    known = {**REFUSAL, "inferred": "{\n old\n}", "corrected": "{\n new\n}"}
    (remedy,) = remedy_order.in_order(behind("role.assumable", known))
    assert remedy.difference == [("same", "{"), ("removed", " old"), ("added", " new"), ("same", "}")]
    (remedy,) = remedy_order.in_order(behind("role.assumable", {**REFUSAL, "corrected": "{}"}))
    assert remedy.difference == []


def read(
    found: list[CheckResult], status: str = "waiting", verdict: str = "unknown", registration: str = "testing"
) -> presentation.TestReport:
    over = NOW if status in {"finished", "cancelled"} else None
    test = EncryptionTest(
        status=status, verdict=verdict, finished_at=over, due_at=None if over else NOW + timedelta(seconds=12)
    )
    return presentation.read(test, found, KeyRegistration(status=registration))


@pytest.mark.parametrize(
    ("made", "tone", "words"),
    [
        (lambda: read([], "queued", ""), "wait", "We are asking AWS"),
        (lambda: read(up_to("role.assumable"), "running", ""), "wait", "4 of"),
        (lambda: read(behind("role.assumable", SOON)), "wait", "may pass by itself"),
        (lambda: read(rows(use_encrypt={"verdict": "unknown"})), "wait", "no clear answer"),
        (lambda: read(rows(external_id_exact={"verdict": "unknown", "evidence": LATER})), "wait", "second time"),
        (
            lambda: read(
                rows(external_id_exact={"verdict": "unknown", "evidence": {**LATER, "insecure_at": NOW.isoformat()}})
            ),
            "bad",
            "lets in whom it has to refuse",
        ),
        (
            lambda: read(behind("ours.canary", OUR_FAULT)),
            "ours",
            "This is on Kore.ai’s side. You need not change anything.",
        ),
        (lambda: read(rows(use_encrypt="unknown"), "waiting_for_kore"), "ours", "You need not change anything."),
        (lambda: read(rows()), "wait", "Resume it"),
        (lambda: read(rows(), "finished", "pass", "active"), "ok", "in service"),
        (
            lambda: read(rows(key_enabled=DISABLED), "finished", "fail", "rejected"),
            "bad",
            "Your key needs a change (step 1)",
        ),
        (lambda: read(rows(), "cancelled", ""), "wait", "called off"),
    ],
)
def test_the_headline_says_what_is_so_and_whose_turn_it_is(made: Any, tone: str, words: str) -> None:
    found = made()
    assert found.tone == tone
    assert words in f"{found.headline} {found.explanation}"


def test_our_own_fault_asks_nothing_of_the_tenant() -> None:
    found = read(behind("ours.canary", OUR_FAULT))
    said = " ".join(
        [found.headline, found.explanation, found.chain.alt, *(wait.sentence for wait in found.waits)]
    ).lower()
    assert found.remedies == ()
    assert [wait.kind for wait in found.waits] == ["ours"]
    assert "broken" not in said
    assert "needs a change" not in said


def test_a_page_is_told_apart_from_what_it_shows_by_every_change_that_people_see() -> None:
    seen = {
        read(found, status).seen
        for found in ([], up_to("ours.policy"), rows(), behind("role.assumable", SOON))
        for status in ("waiting", "running")
    }
    assert len(seen) == 8
    assert read(rows()).seen == read(rows()).seen


def run(**changed: Any) -> Any:
    found = rows(**changed)
    return SimpleNamespace(checks=SimpleNamespace(all=lambda: found))


def test_runs_side_by_side_mark_what_changed() -> None:
    refused = run(role_assumable="fail", account_identity="skipped")  # what was skipped is marked, but no news
    made = comparison.compare([run(), refused, run(role_assumable="unknown")], shown=2)
    (row,) = [row for row in made.rows if row.code == "role.assumable"]
    assert [(cell.change, cell.is_better) for cell in row.cells] == [
        ("was refused, now passes", True),
        ("could not be told, now fails", False),  # against the third, which is no column
    ]
    assert made.news == ["Your role lets our service role in with your External ID: was refused, now passes."]
    assert [run.first_failing.code if run.first_failing else "" for run in made.runs] == ["", "role.assumable"]


def test_a_check_that_one_run_did_not_have_is_no_change() -> None:
    made = comparison.compare([run(use_encrypt="gone"), run()], shown=6)
    (row,) = [row for row in made.rows if row.code == "use.encrypt"]
    assert [cell.check is None for cell in row.cells] == [True, False]
    assert made.news == []


SOMETHING = st.sampled_from(
    ["pass", "skipped", "unknown", "gone", REFUSAL, LACKS, KEY_POLICY, DISABLED, ANYBODY, SOON, OUR_FAULT]
)


@given(st.dictionaries(st.sampled_from([check.code.replace(".", "_") for check in CHECKS]), SOMETHING), st.booleans())
def test_chain_headline_first_remedy_and_counts_agree(changed: dict[str, Any], waits_for_kore: bool) -> None:
    # Of our own side nothing ever fails: it cannot tell, or it is ours.
    found = rows(
        **{
            code: "unknown" if code.startswith("ours_") and change != "pass" else change
            for code, change in changed.items()
        }
    )
    failed = [row for row in found if row.verdict == "fail" and not row.code.startswith("hygiene.")]
    over = read(found, "finished", "fail" if failed else "unknown")
    assert len(over.lines) == over.total == TOTAL
    assert sum(line.state == "pass" for line in over.lines) == over.passed
    if failed:
        first = over.remedies[0]
        assert f"(step {first.step})" in over.headline
        assert over.chain.broken is not None
        assert over.chain.broken.check is first.first
        assert over.chain.broken.name == chain.link_of(first.first)
        judgements = {row.code: Judgement(row.verdict, causes=tuple(row.causes), step=row.step) for row in found}
        judgements |= {check.code: Judgement("skipped") for check in CHECKS if check.code not in judgements}
        assert outcome.failures(judgements, CHECKS)[0].step == first.step
    for made in (over.chain, read(found, "waiting_for_kore" if waits_for_kore else "running").chain):
        for link in made.links:
            if link.state == "not_asked":
                assert "passed" not in link.sentence
