"""Tables: which answers of AWS make which verdict, cause, step and time of the next look."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from byokportal import words
from byokportal.errors import DomainError
from keys import errors
from keys.access import Access
from keys.arns import KeyArn
from keys.aws.kms import KeyFacts
from keys.aws.sessions import AssumeOutcome
from keys.policies import documents
from keys.proof.diagnosis.causes import CAUSES
from keys.proof.encryption_test import CHECKS, base, outcome, refusals, remedies, schedule
from keys.proof.encryption_test.base import Judgement, Wait
from keys.proof.encryption_test.facts import Account, Answer, Clock, Facts, Hygiene, Key, Ours, Subject, Trust, Use
from keys.proof.encryption_test.report import chain

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
ROLE = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
SERVICE = "arn:aws:iam::999900001111:role/byok-service-1"
ACCESS = Access.of_texts(
    tenant="tenant-1", service_role_arn=SERVICE, external_id="byok-the-right-one", role_arn=ROLE, key_arn=KEY
)
SUBJECT = Subject(ACCESS, "AROASERVICE")
# nothing propagates any more, one look at the External ID is enough
OVER = Clock(NOW, grace_until=NOW, gap=timedelta(0))
WITHIN = replace(OVER, grace_until=NOW + timedelta(seconds=200))

IDENTITY = "because no identity-based policy allows the kms:X action"
RESOURCE = "because no resource-based policy allows the kms:X action"
HIDDEN = (
    "on this resource because the resource does not exist in this Region, no resource-based policies allow access, "
    "or a resource-based policy explicitly denies access"
)


def _of_key(arn: str) -> Subject:
    return replace(SUBJECT, access=replace(ACCESS, key=KeyArn.parse(arn)))


def ok(action: str) -> Answer:
    return Answer(action, NOW, "request-1")


def said(error: type[DomainError], action: str, code: str, words: str = "") -> Answer:
    return Answer(
        action, NOW, "request-2", error(aws_code=code, action=action, aws_request_id="request-2"), refusals.read(words)
    )


def denied(action: str, words: str = "") -> Answer:
    return said(
        errors.KeyAccessDenied,
        action,
        "AccessDeniedException",
        f"User: x is not authorized to perform: {action} {words}",
    )


def attempt(allowed: bool | None, code: str = "") -> AssumeOutcome:
    return AssumeOutcome(
        allowed, code or {True: "", False: "AccessDenied", None: "Throttling"}[allowed], "request-3", NOW
    )


GOOD_KEY = KeyFacts(
    KEY,
    "111122223333",
    "Enabled",
    "CUSTOMER",
    "ENCRYPT_DECRYPT",
    "SYMMETRIC_DEFAULT",
    "AWS_KMS",
    False,
    None,
    "request-1",
)
GOOD_USE = Use(
    ok("kms:GenerateDataKey"),
    ok("kms:GenerateDataKeyWithoutPlaintext"),
    ok("kms:Encrypt"),
    ok("kms:Decrypt"),
    True,
    ok("kms:ReEncrypt"),
    said(errors.CiphertextInvalid, "kms:Decrypt", "InvalidCiphertextException"),
)
GOOD = Facts(
    SUBJECT,
    OVER,
    Ours(
        ok("sts:GetCallerIdentity"), SERVICE, "AROASERVICE", attempt(True), ok("iam:GetPolicyVersion"), names_role=True
    ),
    Trust(attempt(False), attempt(False), ok("sts:AssumeRole"), base=attempt(False), outsider=attempt(False)),
    Account(
        ok("sts:GetCallerIdentity"),
        "arn:aws:sts::111122223333:assumed-role/AIforWorkByokAccessRole/byok-test-1",
        "111122223333",
    ),
    Key(ok("kms:DescribeKey"), GOOD_KEY, denied("kms:DescribeKey", HIDDEN)),
    GOOD_USE,
    Hygiene(may_grant=False),
)
Change = Callable[[Facts], Facts]


def ours(**change: Any) -> Change:
    return lambda facts: replace(facts, ours=replace(facts.ours, **change))


def trust(**change: Any) -> Change:
    return lambda facts: replace(facts, trust=replace(facts.trust, **change))


def key(**change: Any) -> Change:
    """A key of another kind; it is not used then."""
    return lambda facts: replace(facts, key=Key(ok("kms:DescribeKey"), replace(GOOD_KEY, **change)), use=None)


def described(answer: Answer, use: Use | None = None) -> Change:
    return lambda facts: replace(facts, key=Key(answer), use=use)


def use(**change: Any) -> Change:
    return lambda facts: replace(facts, use=replace(GOOD_USE, **change))


def all_refused(words: str, *, describe: bool) -> Change:
    refused = Use(
        denied("kms:GenerateDataKey", words),
        denied("kms:GenerateDataKeyWithoutPlaintext", words),
        denied("kms:Encrypt", words),
    )
    return lambda facts: replace(
        facts, key=GOOD.key if describe else Key(denied("kms:DescribeKey", words)), use=refused
    )


def clock(**change: Any) -> Change:
    return lambda facts: replace(facts, clock=replace(facts.clock, **change))


def judge(*changes: Change) -> dict[str, Judgement]:
    facts = GOOD
    for change in changes:
        facts = change(facts)
    judgements = base.judge(facts, CHECKS)
    labels = {label for found in judgements.values() for label in found.causes}
    assert labels <= set(CAUSES) | set(words.WORDS), "a cause is of the vocabulary, or has words of its own"
    return judgements


def test_a_right_set_up_passes_every_check() -> None:
    judgements = judge()
    assert {code: found.verdict for code, found in judgements.items()} == {check.code: "pass" for check in CHECKS}
    assert outcome.overall(judgements, CHECKS) == "pass"


def test_the_list_reads_as_the_guide_and_needs_what_stands_before() -> None:
    codes = [check.code for check in CHECKS]
    assert len(set(codes)) == len(codes)
    for position, check in enumerate(CHECKS):
        assert set(check.needs) <= set(codes[:position]), check.code
        assert check.title
        assert 1 <= check.step <= 5


def test_every_check_has_a_row_in_which_it_does_not_pass_and_a_link_of_the_chain() -> None:
    shown = {row[1] for table in (FAILS, UNKNOWN, OUR_FAULTS) for row in table.values()}
    warnings = {check.code for check in CHECKS if check.is_warning}
    assert {check.code for check in CHECKS} - warnings == shown
    assert {code.partition(".")[0] for code in shown} == set(chain.BY_PREFIX)


# --- fails, with cause, step, reason and document --------------------------------------------------------------

FAILS = {
    "no External ID needed": (
        [trust(without=attempt(True))],
        "external_id.required",
        2,
        "insecure_trust",
        "external_id_not_required",
        "trust-policy",
    ),
    "any External ID": (
        [trust(wrong=attempt(True))],
        "external_id.exact",
        2,
        "insecure_trust",
        "external_id_not_exact",
        "trust-policy",
    ),
    "no External ID needed, though ours is refused": (
        [trust(without=attempt(True), right=said(errors.RoleNotAssumable, "sts:AssumeRole", "AccessDenied"))],
        "external_id.required",
        2,
        "insecure_trust",
        "external_id_not_required",
        "trust-policy",
    ),
    "no External ID needed, soon after a change": (
        [clock(grace_until=WITHIN.grace_until), trust(without=attempt(True))],
        "external_id.required",
        2,
        "insecure_trust",
        "external_id_not_required",
        "trust-policy",
    ),
    "role refused": (
        [
            trust(
                right=said(
                    errors.RoleNotAssumable,
                    "sts:AssumeRole",
                    "AccessDenied",
                    "is not authorized to perform: sts:AssumeRole",
                )
            )
        ],
        "role.assumable",
        2,
        "role_not_assumable",
        "external_id_mismatch",
        "trust-policy",
    ),
    "everybody": (
        [trust(outsider=attempt(True))],
        "role.refuses_others",
        2,
        "insecure_trust",
        "trust_policy_allows_everybody",
        "trust-policy",
    ),
    "trust names another principal of ours": (
        [trust(right=said(errors.RoleNotAssumable, "sts:AssumeRole", "AccessDenied"), base=attempt(True))],
        "role.assumable",
        2,
        "role_not_assumable",
        "trust_policy_principal_mismatch",
        "trust-policy",
    ),
    "trust policy denies": (
        [
            trust(
                right=said(
                    errors.RoleNotAssumable,
                    "sts:AssumeRole",
                    "AccessDenied",
                    "with an explicit deny in the role trust policy",
                )
            )
        ],
        "role.assumable",
        2,
        "role_not_assumable",
        "trust_policy_explicit_deny",
        "trust-policy",
    ),
    "another role answers": (
        [lambda f: replace(f, account=replace(f.account, arn="arn:aws:sts::111122223333:assumed-role/Other/byok"))],
        "account.identity",
        2,
        "",
        "role_not_found",
        "",
    ),
    "no replica here": (
        [
            described(said(errors.KeyNotFound, "kms:DescribeKey", "NotFoundException")),
            lambda f: replace(f, subject=_of_key(KEY.rpartition("/")[0] + "/mrk-" + 32 * "0")),
        ],
        "key.exists",
        1,
        "kms_key_not_found",
        "mrk_replica_missing",
        "key",
    ),
    "material gone": (
        [key(state="PendingImport"), lambda f: replace(f, subject=replace(SUBJECT, has_worked=True))],
        "key.enabled",
        1,
        "kms_key_pending_import",
        "key_material_expired_or_deleted",
        "key",
    ),
    "no such key": (
        [described(said(errors.KeyNotFound, "kms:DescribeKey", "NotFoundException"))],
        "key.exists",
        1,
        "kms_key_not_found",
        "key_not_found",
        "key",
    ),
    "wrong Region": (
        [described(said(errors.KeyNotFound, "kms:DescribeKey", "InvalidArnException"))],
        "key.exists",
        1,
        "kms_key_not_found",
        "key_wrong_region",
        "key",
    ),
    "another key answers": (
        [described(said(errors.WrongKeyAnswered, "kms:DescribeKey", "OK"))],
        "key.exists",
        1,
        "kms_wrong_key",
        "key_arn_changed",
        "key",
    ),
    "disabled": ([key(state="Disabled")], "key.enabled", 1, "kms_key_disabled", "key_disabled", "key"),
    "pending deletion": (
        [key(state="PendingDeletion", deletion_at=NOW)],
        "key.enabled",
        1,
        "kms_key_pending_deletion",
        "key_pending_deletion",
        "key",
    ),
    "pending import": (
        [key(state="PendingImport")],
        "key.enabled",
        1,
        "kms_key_pending_import",
        "key_pending_import",
        "key",
    ),
    "store disconnected": (
        [key(state="Unavailable")],
        "key.enabled",
        1,
        "kms_key_unusable",
        "custom_key_store_disconnected",
        "key",
    ),
    "AWS managed": ([key(manager="AWS")], "key.customer_managed", 1, "", "aws_managed_key", "key"),
    "RSA": ([key(spec="RSA_2048")], "key.symmetric", 1, "", "key_wrong_spec", "key"),
    "for signing": ([key(spec="ECC_NIST_P256", usage="SIGN_VERIFY")], "key.symmetric", 1, "", "key_wrong_usage", "key"),
    "another account": (
        [key(account="444455556666")],
        "key.region_and_account",
        1,
        "kms_wrong_key",
        "key_arn_changed",
        "key",
    ),
    "permissions without Encrypt": (
        [use(encrypt=denied("kms:Encrypt", IDENTITY))],
        "use.encrypt",
        2,
        "kms_access_denied",
        "role_permissions_policy_missing_action",
        "permissions-policy",
    ),
    "permissions without GenerateDataKey": (
        [use(generate=denied("kms:GenerateDataKey", IDENTITY))],
        "use.generate_data_key",
        2,
        "kms_access_denied",
        "role_permissions_policy_missing_action",
        "permissions-policy",
    ),
    "permissions without GenerateDataKeyWithoutPlaintext": (
        [use(generate_wrapped=denied("kms:GenerateDataKeyWithoutPlaintext", IDENTITY))],
        "use.generate_data_key_without_plaintext",
        2,
        "kms_access_denied",
        "role_permissions_policy_missing_action",
        "permissions-policy",
    ),
    "permissions without DescribeKey": (
        [described(denied("kms:DescribeKey", IDENTITY), GOOD_USE)],
        "use.describe",
        2,
        "kms_access_denied",
        "role_permissions_policy_missing_action",
        "permissions-policy",
    ),
    "no permissions at all": (
        [all_refused(IDENTITY, describe=False)],
        "use.describe",
        2,
        "kms_access_denied",
        "role_permissions_policy_missing_action",
        "permissions-policy",
    ),
    "permissions deny": (
        [
            use(
                encrypt=denied(
                    "kms:Encrypt", "with an explicit deny in an identity-based policy: arn:aws:iam::1:policy/P"
                )
            )
        ],
        "use.encrypt",
        2,
        "kms_access_denied",
        "role_permissions_policy_explicit_deny",
        "permissions-policy",
    ),
    "boundary": (
        [use(encrypt=denied("kms:Encrypt", "because no permissions boundary allows the kms:Encrypt action"))],
        "use.encrypt",
        2,
        "kms_access_denied",
        "role_permissions_boundary",
        "permissions-boundary",
    ),
    "SCP": (
        [use(encrypt=denied("kms:Encrypt", "with an explicit deny in a service control policy"))],
        "use.encrypt",
        2,
        "kms_access_denied",
        "customer_scp_deny",
        "service-control-policy",
    ),
    "RCP": (
        [use(encrypt=denied("kms:Encrypt", "with an explicit deny in a resource control policy"))],
        "use.encrypt",
        3,
        "kms_access_denied",
        "customer_rcp_deny",
        "resource-control-policy",
    ),
    "key policy without ReEncrypt": (
        [use(re_encrypt=denied("kms:ReEncrypt", RESOURCE))],
        "use.re_encrypt",
        3,
        "kms_access_denied",
        "key_policy_missing_action",
        "key-policy-statement",
    ),
    "key policy denies": (
        [use(decrypt=denied("kms:Decrypt", "with an explicit deny in a resource-based policy"), wrong_context=None)],
        "use.decrypt",
        3,
        "kms_access_denied",
        "key_policy_explicit_deny",
        "key-policy-statement",
    ),
    "no statement": (
        [all_refused(RESOURCE, describe=False)],
        "use.describe",
        3,
        "kms_access_denied",
        "key_policy_missing_statement",
        "key-policy-statement",
    ),
    "no statement, key elsewhere": (
        [all_refused(HIDDEN, describe=False)],
        "use.describe",
        3,
        "kms_access_denied",
        "key_policy_missing_statement",
        "key-policy-statement",
    ),
    "disabled while in use": (
        [use(encrypt=said(errors.KeyDisabled, "kms:Encrypt", "DisabledException"))],
        "use.encrypt",
        1,
        "kms_key_disabled",
        "key_disabled",
        "key",
    ),
    "the context is not bound": ([use(wrong_context=ok("kms:Decrypt"))], "use.context_is_bound", 1, "", "", "key"),
}


@pytest.mark.parametrize("name", FAILS)
def test_what_fails_names_step_cause_and_document(name: str) -> None:
    changes, code, step, reason, cause, document = FAILS[name]
    judgements = judge(*changes)
    found, check = judgements[code], next(check for check in CHECKS if check.code == code)
    assert found.verdict == "fail", found
    assert (
        outcome.overall({**{c.code: Judgement(base.Verdict.SKIPPED) for c in CHECKS}, **judgements}, CHECKS) == "fail"
    )
    assert (found.step or check.step, found.reason) == (step, reason)
    assert (found.causes or ("",))[0] == cause
    assert (check.document if found.document is None else found.document) == document
    text = remedies.render(found.remedy or check.remedy, SUBJECT, found.words)
    assert text.endswith(".")
    assert "{" not in text
    corrected = remedies.corrected(document, SUBJECT)
    assert bool(corrected) == (
        document in {"trust-policy", "permissions-policy", "key-policy-statement", "permissions-boundary"}
    )
    decides = remedies.decides(document, found.causes, SUBJECT)
    assert bool(decides) == (len(found.causes) > 1)
    assert "{" not in decides


BELIEVED = {
    "no condition": (
        [trust(without=attempt(True), wrong=attempt(True))],
        "external_id.required",
        '"Action": "sts:AssumeRole"\n',
        '"Condition"',
    ),
    "optional": ([trust(without=attempt(True))], "external_id.required", "StringEqualsIfExists", "StringLike"),
    "any": ([trust(wrong=attempt(True))], "external_id.exact", '"sts:ExternalId": "*"', "StringEquals"),
    "everybody": ([trust(outsider=attempt(True))], "role.refuses_others", '"Principal": "*"', SERVICE),
    "mistaken for another": (
        [trust(right=said(errors.RoleNotAssumable, "sts:AssumeRole", "AccessDenied"), near="tenant-1")],
        "role.assumable",
        '"sts:ExternalId": "tenant-1"',
        "byok-the-right-one",
    ),
    "two patterns forgotten": (
        [
            use(
                encrypt=denied("kms:Encrypt", IDENTITY),
                generate_wrapped=denied("kms:GenerateDataKeyWithoutPlaintext", IDENTITY),
            )
        ],
        "use.encrypt",
        "kms:ReEncrypt*",
        "kms:GenerateDataKey*",
    ),
    "a pattern forgotten in the key policy": (
        [use(re_encrypt=denied("kms:ReEncrypt", RESOURCE))],
        "use.re_encrypt",
        ROLE,
        "kms:ReEncrypt*",
    ),
}


@pytest.mark.parametrize("name", BELIEVED)
def test_what_is_believed_to_stand_there_is_the_corrected_document_but_for_the_mistake(name: str) -> None:
    changes, code, there, not_there = BELIEVED[name]
    found = judge(*changes)[code]
    check = next(check for check in CHECKS if check.code == code)
    corrected = remedies.corrected(found.document or check.document, SUBJECT)
    assert there in found.inferred and not_there not in found.inferred
    assert found.inferred != corrected
    json.loads(found.inferred)


@pytest.mark.parametrize(
    ("answer", "beside", "named"),
    [
        (IDENTITY, documents.Beside(keys=(KEY[:-1] + "c",)), {"Resource": [KEY[:-1] + "c", KEY]}),
        (RESOURCE, documents.Beside(roles=(ROLE + "Old",)), {"Principal": {"AWS": [ROLE, ROLE + "Old"]}}),
    ],
    ids=["another key", "another role"],
)
def test_while_one_replaces_the_other_what_mends_it_names_both(
    answer: str, beside: documents.Beside, named: dict[str, Any]
) -> None:
    subject = replace(SUBJECT, beside=beside)
    found = judge(use(re_encrypt=denied("kms:ReEncrypt", answer)), lambda facts: replace(facts, subject=subject))[
        "use.re_encrypt"
    ]
    for text in (found.inferred, remedies.corrected(found.document, subject)):
        document = json.loads(text)
        statement = document["Statement"][0] if "Statement" in document else document
        assert {name: statement[name] for name in named} == named


def test_what_the_answers_do_not_tell_is_not_believed() -> None:
    refusal = said(errors.RoleNotAssumable, "sts:AssumeRole", "AccessDenied")
    assert judge(trust(right=refusal))["role.assumable"].inferred == ""
    assert judge(trust(right=refusal, without=attempt(True)))["external_id.required"].inferred == ""
    assert judge(all_refused(RESOURCE, describe=False))["use.encrypt"].inferred == ""


CERTAIN = [
    "disabled",
    "pending deletion",
    "RSA",
    "AWS managed",
    "another account",
    "wrong Region",
    "disabled while in use",
    "another key answers",
]
REFUSALS = [
    "role refused",
    "no such key",
    "permissions without Encrypt",
    "permissions without DescribeKey",
    "no statement",
    "key policy without ReEncrypt",
]


@pytest.mark.parametrize("name", CERTAIN)
def test_what_is_certain_fails_even_soon_after_a_change(name: str) -> None:
    changes, code, *_ = FAILS[name]
    assert judge(clock(grace_until=WITHIN.grace_until), *changes)[code].verdict == "fail"


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_soon_after_a_change_may_be_propagation(name: str) -> None:
    changes, code, *_ = FAILS[name]
    found = judge(clock(grace_until=WITHIN.grace_until), *changes)[code]
    assert (found.verdict, found.wait, found.causes[-1]) == ("unknown", Wait.PROPAGATION, "propagation_delay")
    assert found.evidence["final_at"] == "2026-03-04T12:03:20+00:00"


def test_what_passed_before_and_is_refused_now_waits_its_own_window() -> None:
    """No green check turns red while the change that turned it may still be on its way."""
    refusal = use(encrypt=denied("kms:Encrypt", RESOURCE))
    minute = timedelta(seconds=60)
    turned = clock(window=timedelta(seconds=300), turned={"use.encrypt": NOW - minute})
    found = judge(turned, refusal)["use.encrypt"]
    assert (found.verdict, found.wait, found.evidence["final_at"]) == (
        "unknown",
        Wait.PROPAGATION,
        "2026-03-04T12:04:00+00:00",
    )
    assert found.evidence["turned_at"] == (NOW - minute).isoformat()
    over = clock(window=timedelta(seconds=300), turned={"use.encrypt": NOW - 5 * minute})
    assert judge(over, refusal)["use.encrypt"].verdict == "fail"
    assert judge(turned, key(state="Disabled"))["key.enabled"].verdict == "fail"  # certain at once


# --- cannot tell --------------------------------------------------------------------------------------------------

THROTTLED = said(errors.AwsThrottled, "kms:Encrypt", "ThrottlingException")
SILENT = said(errors.AwsUnreachable, "kms:Encrypt", "ReadTimeoutError")
STRANGE = said(errors.AwsSurprise, "kms:Encrypt", "NewException")
BROKEN = said(errors.OwnAccessBroken, "sts:AssumeRole", "ExpiredToken")
UNKNOWN = {
    "throttled": ([use(encrypt=THROTTLED)], "use.encrypt", Wait.AWS),
    "no answer": ([use(encrypt=SILENT)], "use.encrypt", Wait.AWS),
    "an answer we do not know": ([use(encrypt=STRANGE)], "use.encrypt", Wait.AWS),
    "DescribeKey throttled": ([described(THROTTLED)], "key.exists", Wait.AWS),
    "the canary does not answer": ([ours(canary=attempt(None))], "ours.canary", Wait.AWS),
    "our session": ([trust(right=BROKEN)], "role.assumable", Wait.OURS),
    "our session policy": (
        [use(encrypt=denied("kms:Encrypt", "because no session policy allows the kms:Encrypt action"))],
        "use.encrypt",
        Wait.OURS,
    ),
    "our own policy refuses": (
        [
            trust(
                right=said(
                    errors.RoleNotAssumable,
                    "sts:AssumeRole",
                    "AccessDenied",
                    "because no identity-based policy allows the sts:AssumeRole action",
                )
            )
        ],
        "role.assumable",
        Wait.OURS,
    ),
    "the probe without the External ID was throttled": (
        [trust(without=attempt(None))],
        "external_id.required",
        Wait.AWS,
    ),
    "the probe with a wrong one timed out": (
        [trust(wrong=attempt(None, "ReadTimeoutError"))],
        "external_id.exact",
        Wait.AWS,
    ),
    "a new key": ([key(state="Creating")], "key.enabled", Wait.AWS),
    "a wrong context was refused otherwise": (
        [use(wrong_context=denied("kms:Decrypt", RESOURCE))],
        "use.context_is_bound",
        Wait.AWS,
    ),
    "the plaintext came back changed": ([use(opened_the_same=False)], "use.decrypt", Wait.AWS),
    "a fresh ciphertext is invalid": (
        [use(decrypt=said(errors.CiphertextInvalid, "kms:Decrypt", "InvalidCiphertextException"))],
        "use.decrypt",
        Wait.AWS,
    ),
    "first look at the External ID": ([clock(gap=timedelta(seconds=60))], "external_id.required", Wait.SECOND_LOOK),
    "second look comes too early": (
        [clock(gap=timedelta(seconds=60), refused_at=NOW - timedelta(seconds=59))],
        "external_id.exact",
        Wait.SECOND_LOOK,
    ),
    "wide trust of a key in service, seen once": (
        [clock(is_serving=True), trust(wrong=attempt(True))],
        "external_id.exact",
        Wait.SECOND_LOOK,
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_says_nothing_of_the_tenant_is_unknown(name: str) -> None:
    changes, code, wait = UNKNOWN[name]
    judgements = judge(*changes)
    assert (judgements[code].verdict, judgements[code].wait) == ("unknown", wait)
    complete = {check.code: judgements.get(check.code, Judgement(base.Verdict.SKIPPED)) for check in CHECKS}
    assert outcome.overall(complete, CHECKS) == "unknown"


def test_the_second_look_passes_once_the_gap_is_over() -> None:
    judgements = judge(clock(gap=timedelta(seconds=60), refused_at=NOW - timedelta(seconds=60)))
    assert (judgements["external_id.required"].verdict, judgements["external_id.exact"].verdict) == ("pass", "pass")


def test_wide_trust_of_a_key_in_service_fails_when_it_is_seen_again() -> None:
    seen = clock(is_serving=True, gap=timedelta(seconds=60), insecure_at=NOW - timedelta(seconds=60))
    assert judge(seen, trust(without=attempt(True)))["external_id.required"].verdict == "fail"


OUR_FAULTS = {
    "no session": ([ours(identity=BROKEN, arn="", unique_id="", canary=None, policy=None)], "ours.identity"),
    "recreated": ([ours(unique_id="AROANEW")], "ours.identity"),
    "another name": ([ours(arn="arn:aws:sts::999900001111:assumed-role/other/byok")], "ours.identity"),
    "canary refused": ([ours(canary=attempt(False))], "ours.canary"),
    "canary not signed right": ([ours(canary=attempt(None, "ExpiredToken"))], "ours.canary"),
    "no canary": ([ours(canary=None)], "ours.canary"),
    "detached or not named": ([ours(names_role=False)], "ours.policy"),
    "drift": ([ours(has_drifted=True)], "ours.policy"),
    "not readable": ([ours(policy=BROKEN)], "ours.policy"),
}


@pytest.mark.parametrize("name", OUR_FAULTS)
def test_our_own_fault_is_never_the_tenants(name: str) -> None:
    changes, code = OUR_FAULTS[name]
    # Even with everything of the tenant's refused at the same time.
    judgements = judge(
        *changes, trust(right=said(errors.RoleNotAssumable, "sts:AssumeRole", "AccessDenied"), without=attempt(True))
    )
    assert (judgements[code].verdict, judgements[code].wait) == ("unknown", Wait.OURS)
    others = {found.verdict for other, found in judgements.items() if not other.startswith("ours.")}
    assert others == {"skipped"}
    broken = changes[0](GOOD).ours
    assert broken is not None
    assert not broken.works(SUBJECT)  # nothing of the tenant's is asked


def test_a_role_that_refuses_everybody_proves_nothing_about_the_external_id() -> None:
    judgements = judge(trust(right=said(errors.RoleNotAssumable, "sts:AssumeRole", "AccessDenied")))
    assert {judgements[code].verdict for code in ("external_id.required", "external_id.exact")} == {"skipped"}


def test_a_key_that_was_used_exists_even_when_it_may_not_be_described() -> None:
    judgements = judge(described(denied("kms:DescribeKey", HIDDEN), GOOD_USE))
    assert judgements["key.exists"].verdict == "pass"
    assert judgements["use.describe"].causes == (
        "key_policy_missing_action",
        "key_policy_condition_failed",
        "key_policy_explicit_deny",
    )


def test_a_key_of_the_wrong_kind_is_not_tried() -> None:
    judgements = judge(key(state="Disabled"))
    assert {judgements[code].verdict for code in judgements if code.startswith("use.") and code != "use.describe"} == {
        "skipped"
    }


def test_insecure_trust_comes_before_whatever_else_failed() -> None:
    judgements = judge(
        trust(wrong=attempt(True), right=said(errors.RoleNotAssumable, "sts:AssumeRole", "AccessDenied"))
    )
    complete = {check.code: judgements.get(check.code, Judgement(base.Verdict.SKIPPED)) for check in CHECKS}
    assert [failure.reason for failure in outcome.failures(complete, CHECKS)] == [
        "insecure_trust",
        "role_not_assumable",
    ]


def test_warnings_never_decide_a_run() -> None:
    other = "arn:aws:kms:eu-central-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab"

    def elsewhere(facts: Facts) -> Facts:
        found = replace(GOOD_KEY, arn=other, account="444455556666", origin="EXTERNAL")
        return replace(facts, subject=_of_key(other), key=Key(ok("kms:DescribeKey"), found))

    wide = [lambda f: replace(f, key=replace(f.key, direct=ok("kms:DescribeKey")), hygiene=Hygiene(may_grant=True))]
    judgements = judge(elsewhere, trust(base=attempt(True)), *wide)
    assert outcome.overall(judgements, CHECKS) == "pass"
    assert len(outcome.warnings(judgements, CHECKS)) == 5
    assert len(outcome.warnings(judge(lambda f: replace(f, hygiene=Hygiene(rotates=False))), CHECKS)) == 1
    assert outcome.overall({**judgements, "hygiene.rotation": Judgement(base.Verdict.UNKNOWN)}, CHECKS) == "pass"


# --- AWS's words ----------------------------------------------------------------------------------------------------

WORDS = {
    "User: x is not authorized to perform: sts:AssumeRole on resource: y": refusals.Denial(),
    "because  no\nIdentity-Based policy allows the kms:Decrypt action": refusals.Denial("identity"),
    "because no sessions policy allows the kms:Decrypt action": refusals.Denial("session"),
    "because no VPC endpoint policy allows the sts:AssumeRole action": refusals.Denial("endpoint"),
    "with an explicit deny in a service control policy: arn:aws:organizations::1:policy/o-1/p-1": refusals.Denial(
        "scp", is_explicit=True
    ),
    "with an explicit deny in a permissions boundary": refusals.Denial("boundary", is_explicit=True),
    "with an explicit deny in the role trust policy": refusals.Denial("trust", is_explicit=True),
    "kms:Decrypt on the resource associated with this ciphertext because the resource does not exist in this Region, "
    "no resource-based policies allow access, or a resource-based policy explicitly denies access": refusals.Denial(
        "resource", is_hidden=True
    ),
    "with an explicit deny in a policy of a kind that AWS invents tomorrow policy": refusals.Denial(
        "", is_explicit=True
    ),
    "": refusals.Denial(),
}


@pytest.mark.parametrize("words", WORDS)
def test_the_grammar_of_a_denial(words: str) -> None:
    assert refusals.read(words) == WORDS[words]


def test_probes_narrow_the_causes() -> None:
    identity, resource, hidden = (
        refusals.Denial("identity"),
        refusals.Denial("resource"),
        refusals.Denial("resource", is_hidden=True),
    )

    def named(denial: refusals.Denial, **beside: Any) -> set[str]:
        return set(refusals.of_kms(denial, refusals.Beside(**beside)).causes)

    nothing: dict[str, Any] = {"all_refused": True}
    assert named(identity, **nothing) == {
        "role_permissions_policy_missing_action",
        "role_permissions_policy_wrong_key_arn",
    }
    assert named(identity, others_work=True) == {"role_permissions_policy_missing_action"}
    assert named(identity, describe_works=True) == named(identity, **nothing)  # a second policy may read all keys
    assert named(resource, others_work=True, describe_works=True) == {"key_policy_missing_action"}
    # DescribeKey may be left to the IAM policies by a statement for the account root: ours need not be there at all.
    assert named(resource, describe_works=True) == {
        "key_policy_missing_statement",
        "key_policy_wrong_principal",
        "key_policy_condition_failed",
        "key_policy_missing_action",
    }
    assert named(resource, describe_works=True, bare_works=True) == {"key_policy_condition_failed"}
    # DescribeKey carries no encryption context: a condition on one refuses it, and so does a missing action.
    describe: dict[str, Any] = {"is_describe": True, "others_work": True}
    assert named(resource, **describe) == {"key_policy_missing_action", "key_policy_condition_failed"}
    assert named(resource, **describe, bare_works=True) == {"key_policy_missing_action"}
    assert named(resource, **describe, bare_works=False) == {"key_policy_condition_failed"}
    assert named(resource, others_work=True, describe_works=True, other_context_refused=True) == {
        "key_policy_condition_failed"
    }
    assert named(resource, **nothing) == {
        "key_policy_missing_statement",
        "key_policy_wrong_principal",
        "key_policy_condition_failed",
    }
    assert "key_policy_missing_action" in named(resource)  # Decrypt may have been allowed: there was nothing to decrypt
    assert named(resource, **nothing, from_outside_works=True) == {"key_policy_wrong_principal"}
    assert "key_not_found" in named(hidden, **nothing)
    assert "key_not_found" not in named(hidden, describe_works=True)
    assert refusals.of_kms(refusals.Denial("session"), refusals.Beside()).step == refusals.OURS
    assert refusals.of_assume(refusals.Denial(), near_is_let_in=True).causes == ("external_id_mismatch",)
    us = refusals.Beside(describe_works=True, from_outside_works=True)
    assert refusals.of_kms(resource, us).causes[0] == "key_policy_wrong_principal"
    condition = refusals.of_kms(identity, refusals.Beside(describe_works=True, bare_works=True))
    assert condition.remedy == "role_permissions_policy_condition"
    assert "role_not_found" in refusals.of_assume(refusals.Denial()).causes
    assert "role_not_found" not in refusals.of_assume(refusals.Denial("trust")).causes
    assert refusals.of_assume(refusals.Denial("identity")).step == refusals.OURS


# --- what is likely while a change may be on its way ----------------------------------------------------------------

DENIED = denied("kms:Encrypt", "with an explicit deny in an identity-based policy")
MISSING = denied("kms:Encrypt", IDENTITY)
SOON = {"grace_until": WITHIN.grace_until}


@pytest.mark.parametrize(
    ("answer", "times", "verdict"),
    [
        pytest.param(MISSING, SOON, "unknown", id="refused soon after a change"),
        pytest.param(DENIED, SOON, "unknown", id="denied, where a Deny was reported before"),
        pytest.param(DENIED, {**SOON, "deny_grace_until": NOW}, "fail", id="denied in the first run"),
        pytest.param(MISSING, {**SOON, "deny_grace_until": NOW}, "unknown", id="in the first run, but no Deny"),
        pytest.param(
            DENIED,
            {**SOON, "deny_grace_until": NOW, "turned": {"use.encrypt": NOW}, "window": timedelta(seconds=300)},
            "unknown",
            id="denied where it passed a look ago",
        ),
        pytest.param(
            DENIED, {**SOON, "deny_grace_until": WITHIN.grace_until}, "unknown", id="the tenant says: keep testing"
        ),
    ],
)
def test_a_refusal_says_what_is_likely_before_it_counts(answer: Answer, times: dict[str, Any], verdict: str) -> None:
    found = judge(use(encrypt=answer), clock(**times))["use.encrypt"]
    assert (found.verdict, found.names_a_change, found.document) == (verdict, True, "permissions-policy")
    assert found.remedy == judge(use(encrypt=answer))["use.encrypt"].remedy  # the same words as when it counts
    assert ("propagation_delay" in found.causes) is (verdict == "unknown")
    assert ("final_at" in found.evidence) is (verdict == "unknown")


LAYERS = {
    "identity-based policy": "role_permissions_policy_explicit_deny",
    "resource-based policy": "key_policy_explicit_deny",
    "permissions boundary": "role_permissions_boundary",
    "service control policy": "customer_scp_deny",
    "resource control policy": "customer_rcp_deny",
}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_deny_is_somebodys_guardrail_and_only_has_to_spare_the_role(layer: str) -> None:
    found = judge(use(encrypt=denied("kms:Encrypt", f"with an explicit deny in a {layer}")))["use.encrypt"]
    said = remedies.render(found.remedy, SUBJECT, found.words)
    assert (found.causes, found.spares) == ((LAYERS[layer],), ROLE)
    assert "Keep the Deny" in said
    assert ROLE in said
    assert not any(word in said.lower() for word in ("remove the deny", "delete", "out of the deny"))
    assert json.loads(remedies.exemption(found.spares)) == {"Condition": {"ArnNotEquals": {"aws:PrincipalArn": ROLE}}}


def test_a_deny_that_aws_may_hide_has_its_exemption_beside_the_likelier_change() -> None:
    found = judge(use(encrypt=denied("kms:Encrypt", HIDDEN)))["use.encrypt"]
    assert found.causes == ("key_policy_missing_action", "key_policy_explicit_deny")
    assert f'"aws:PrincipalArn": "{ROLE}"' in remedies.besides(found.causes, "key-policy-statement", SUBJECT)
    assert remedies.besides(refusals.NOT_ASSUMABLE, "trust-policy", SUBJECT) == ""  # the corrected one replaces it
    assert remedies.besides(found.causes[1:], "key-policy-statement", SUBJECT) == ""  # the remedy itself says it


def test_a_deny_of_the_trust_policy_has_to_spare_our_service_role() -> None:
    words = "with an explicit deny in the role trust policy"
    right = said(errors.RoleNotAssumable, "sts:AssumeRole", "AccessDenied", words)
    assert judge(trust(right=right))["role.assumable"].spares == SERVICE


@pytest.mark.parametrize("cause", [name for name in remedies.REMEDIES if name.startswith("role_permissions_policy_m")])
def test_no_identity_policy_allows_may_be_a_condition_and_the_remedy_says_so(cause: str) -> None:
    assert "Condition" in remedies.REMEDIES[cause]


def test_no_remedy_speaks_of_a_statement_that_may_not_be_there() -> None:
    """DescribeKey alone works: the statement may be missing, so the words say to add it, or what to compare."""
    everything = all_refused(RESOURCE, describe=True)
    found = judge(everything)["use.encrypt"]
    assert found.causes[0] == "key_policy_missing_statement"
    assert remedies.render(found.remedy, SUBJECT, found.words).startswith("Add the statement below")
    replica = _of_key(KEY.rpartition("/")[0] + "/mrk-" + 32 * "0")
    assert "has a policy of its own" in remedies.render(found.remedy, replica, found.words)
    assert "has a policy of its own" not in remedies.render(found.remedy, SUBJECT, found.words)


# --- when to look again -----------------------------------------------------------------------------------------------


def looks(window: float, *, keep: float = 0, at_most: int = 12) -> list[int]:
    """Return the seconds after a change at which a role that is refused all the while is looked at."""
    end = NOW + timedelta(seconds=max(window, keep))
    now, found = NOW, []
    for attempt_number in range(at_most):
        now = schedule.next_look(
            now,
            replace(OVER, now=now, grace_until=end),
            {Wait.PROPAGATION},
            changed_at=NOW,
            window=timedelta(seconds=window),
            attempts=attempt_number,
        )
        found.append(round((now - NOW).total_seconds(), 2))
        if now >= end:
            break
    return found  # type: ignore[return-value]


def test_after_a_change_looks_come_at_5_15_30_60_and_never_after_the_windows_end() -> None:
    assert looks(300) == [5, 15, 30, 60, 120, 180, 240, 300]
    assert looks(4) == [1, 2, 3, 4]
    assert looks(300, keep=400) == [5, 15, 30, 60, 120, 180, 240, 300, 360, 400]
    assert looks(0, keep=30) == [5, 15, 30]
    assert looks(4, keep=20) == [1, 2, 3, 4, 20]


def test_the_second_look_comes_a_gap_after_the_first_and_a_back_off_is_bounded() -> None:
    waiting = replace(OVER, gap=timedelta(seconds=60), refused_at=NOW - timedelta(seconds=10))
    facts = {"changed_at": NOW, "window": timedelta(0)}
    assert schedule.next_look(NOW, waiting, {Wait.SECOND_LOOK}, attempts=1, **facts) == NOW + timedelta(seconds=50)
    assert schedule.next_look(NOW, waiting, {Wait.SECOND_LOOK, Wait.AWS}, attempts=1, **facts) == NOW + timedelta(
        seconds=2
    )  # type: ignore[arg-type]
    assert schedule.next_look(NOW, waiting, {Wait.OURS}, attempts=10_000, **facts) == NOW + timedelta(seconds=60)
