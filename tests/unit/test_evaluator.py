"""Who may do what: AWS's documented rules in tables, and what must never happen as properties."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.policies import conditions, evaluator
from keys.policies.evaluator import Principal, Request, Verdict, evaluate

OURS, CUSTOMER, OTHER = "999900001111", "111122223333", "444455556666"
SERVICE = Principal(
    f"arn:aws:sts::{OURS}:assumed-role/byok-service-1/s", OURS, "AROAOURS", f"arn:aws:iam::{OURS}:role/byok-service-1"
)
ROLE_ARN = f"arn:aws:iam::{CUSTOMER}:role/R"
ROLE = Principal(f"arn:aws:sts::{CUSTOMER}:assumed-role/R/s", CUSTOMER, "AROAR", ROLE_ARN)
USER = Principal(f"arn:aws:iam::{CUSTOMER}:user/u", CUSTOMER, "AIDAU")
KEY = f"arn:aws:kms:eu-central-1:{CUSTOMER}:key/k"
FOREIGN_KEY = f"arn:aws:kms:eu-central-1:{OTHER}:key/k"
Policy = dict[str, Any]


def allow(action: Any = "*", resource: Any = "*", **more: Any) -> Policy:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource, **more}]}


def deny(action: Any = "*", resource: Any = "*", **more: Any) -> Policy:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": action, "Resource": resource, **more}]}


def trust(principal: Any, **more: Any) -> Policy:
    return {"Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **more}]}


def key_policy(principal: Any, action: Any = "kms:*", **more: Any) -> Policy:
    return {"Statement": [{"Effect": "Allow", "Principal": principal, "Action": action, "Resource": "*", **more}]}


def assume(who: Principal, external_id: str | None = "right") -> Request:
    return Request("sts:AssumeRole", ROLE_ARN, who, {} if external_id is None else {"sts:ExternalId": external_id})


def decrypt(who: Principal, key: str = KEY, **context: Any) -> Request:
    return Request("kms:Decrypt", key, who, context)


EXACT = {"Condition": {"StringEquals": {"sts:ExternalId": "right"}}}
OURS_ONLY = trust({"AWS": SERVICE.role_arn}, **EXACT)
ROOT = key_policy({"AWS": f"arn:aws:iam::{CUSTOMER}:root"})
DIRECT = key_policy({"AWS": ROLE_ARN}, "kms:Decrypt")
EVERYTHING = [allow()]

ROWS: list[tuple[str, Request, dict[str, Any], str, str]] = [
    # role trust
    ("our role with the External ID", assume(SERVICE), {"identity": EVERYTHING, "resource": OURS_ONLY}, "allowed", ""),
    ("without it", assume(SERVICE, None), {"identity": EVERYTHING, "resource": OURS_ONLY}, "implicit deny", "role trust policy"),
    ("with a wrong one", assume(SERVICE, "x"), {"identity": EVERYTHING, "resource": OURS_ONLY}, "implicit deny", "role trust policy"),
    ("our side does not allow", assume(SERVICE), {"identity": [], "resource": OURS_ONLY}, "implicit deny", "identity-based policy"),
    ("our side denies", assume(SERVICE), {"identity": [allow(), deny("sts:*")], "resource": OURS_ONLY}, "explicit deny", "identity-based policy"),
    ("a stranger's role", assume(ROLE), {"identity": EVERYTHING, "resource": OURS_ONLY}, "implicit deny", "role trust policy"),
    ("account trusted by id", assume(SERVICE), {"identity": EVERYTHING, "resource": trust({"AWS": OURS})}, "allowed", ""),
    ("account trusted by root", assume(SERVICE), {"identity": EVERYTHING, "resource": trust({"AWS": f"arn:aws:iam::{OURS}:root"})}, "allowed", ""),
    ("everybody trusted", assume(SERVICE, None), {"identity": EVERYTHING, "resource": trust("*")}, "allowed", ""),
    ("a session trusted by its ARN", assume(SERVICE), {"identity": EVERYTHING, "resource": trust({"AWS": SERVICE.arn})}, "allowed", ""),
    ("the unique id trusted", assume(SERVICE), {"identity": EVERYTHING, "resource": trust({"AWS": "AROAOURS"})}, "allowed", ""),
    ("a stale unique id", assume(SERVICE), {"identity": EVERYTHING, "resource": trust({"AWS": "AROAOLD"})}, "implicit deny", "role trust policy"),
    ("a trust policy that denies", assume(SERVICE), {"identity": EVERYTHING, "resource": {"Statement": [*OURS_ONLY["Statement"], {"Effect": "Deny", "Principal": "*", "Action": "sts:*"}]}}, "explicit deny", "role trust policy"),
    ("same account, trust alone is enough", assume(ROLE), {"identity": [], "resource": trust({"AWS": ROLE_ARN})}, "allowed", ""),
    ("same account, root trusted, identity missing", assume(ROLE), {"identity": [], "resource": trust({"AWS": CUSTOMER})}, "implicit deny", "identity-based policy"),
    ("a service principal", assume(SERVICE), {"identity": EVERYTHING, "resource": trust({"Service": "ec2.amazonaws.com"})}, "implicit deny", "role trust policy"),
    ("StringLike with a star", assume(SERVICE, "x"), {"identity": EVERYTHING, "resource": trust({"AWS": OURS}, Condition={"StringLike": {"sts:ExternalId": "*"}})}, "allowed", ""),
    ("…IfExists without the key", assume(SERVICE, None), {"identity": EVERYTHING, "resource": trust({"AWS": OURS}, Condition={"StringEqualsIfExists": {"sts:ExternalId": "right"}})}, "allowed", ""),
    ("context keys ignore case", assume(SERVICE), {"identity": EVERYTHING, "resource": trust({"AWS": OURS}, Condition={"StringEquals": {"STS:externalid": "right"}})}, "allowed", ""),
    # keys
    ("key policy names the role", decrypt(ROLE), {"identity": [], "resource": DIRECT}, "allowed", ""),
    ("key policy delegates, IAM allows", decrypt(ROLE), {"identity": [allow("kms:Decrypt", KEY)], "resource": ROOT}, "allowed", ""),
    ("key policy delegates, IAM silent", decrypt(ROLE), {"identity": [], "resource": ROOT}, "implicit deny", "identity-based policy"),
    ("IAM allows, key policy silent", decrypt(ROLE), {"identity": EVERYTHING, "resource": key_policy({"AWS": f"arn:aws:iam::{CUSTOMER}:user/x"})}, "implicit deny", "resource-based policy"),
    ("an action that is missing", Request("kms:Encrypt", KEY, ROLE, {}), {"identity": [], "resource": DIRECT}, "implicit deny", "resource-based policy"),
    ("a pattern of the guide", Request("kms:ReEncryptFrom", KEY, ROLE, {}), {"identity": [], "resource": key_policy({"AWS": ROLE_ARN}, "kms:ReEncrypt*")}, "allowed", ""),
    ("actions ignore case", Request("kms:decrypt", KEY, ROLE, {}), {"identity": [], "resource": DIRECT}, "allowed", ""),
    ("another key in the permissions", decrypt(ROLE), {"identity": [allow("kms:*", KEY + "2")], "resource": ROOT}, "implicit deny", "identity-based policy"),
    ("across accounts both allow", decrypt(ROLE, FOREIGN_KEY), {"identity": EVERYTHING, "resource": key_policy({"AWS": ROLE_ARN})}, "allowed", ""),
    ("across accounts only the key policy", decrypt(ROLE, FOREIGN_KEY), {"identity": [], "resource": key_policy({"AWS": ROLE_ARN})}, "implicit deny", "identity-based policy"),
    ("across accounts only IAM", decrypt(ROLE, FOREIGN_KEY), {"identity": EVERYTHING, "resource": ROOT | {"Statement": []}}, "implicit deny", "resource-based policy"),
    ("a session policy narrows", decrypt(ROLE), {"identity": EVERYTHING, "resource": ROOT, "session": allow("kms:DescribeKey", KEY)}, "implicit deny", "session policy"),
    ("a session policy denies", decrypt(ROLE), {"identity": EVERYTHING, "resource": ROOT, "session": deny("kms:Decrypt")}, "explicit deny", "session policy"),
    ("a boundary narrows", decrypt(ROLE), {"identity": EVERYTHING, "resource": ROOT, "boundaries": [allow("s3:*")]}, "implicit deny", "permissions boundary"),
    ("an SCP is silent", decrypt(ROLE), {"identity": EVERYTHING, "resource": ROOT, "scps": [allow("s3:*")]}, "implicit deny", "service control policy"),
    ("an SCP denies", decrypt(ROLE), {"identity": EVERYTHING, "resource": ROOT, "scps": [allow(), deny("kms:*")]}, "explicit deny", "service control policy"),
    ("an RCP denies", decrypt(ROLE), {"identity": EVERYTHING, "resource": ROOT, "rcps": [deny("kms:*", Principal="*")]}, "explicit deny", "resource control policy"),
    ("NotAction allows the rest", decrypt(ROLE), {"identity": [{"Statement": [{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}]}], "resource": ROOT}, "allowed", ""),
    ("NotResource leaves the key out", decrypt(ROLE), {"identity": [{"Statement": [{"Effect": "Allow", "Action": "*", "NotResource": KEY}]}], "resource": ROOT}, "implicit deny", "identity-based policy"),
    ("NotPrincipal denies everybody else", decrypt(ROLE), {"identity": EVERYTHING, "resource": {"Statement": [*ROOT["Statement"], {"Effect": "Deny", "NotPrincipal": {"AWS": USER.arn}, "Action": "kms:*", "Resource": "*"}]}}, "explicit deny", "resource-based policy"),
    ("encryption context in a condition", decrypt(ROLE, **{"kms:EncryptionContext:tenant": "t"}), {"identity": [], "resource": key_policy({"AWS": ROLE_ARN}, "kms:Decrypt", Condition={"StringEquals": {"kms:EncryptionContext:tenant": "t"}})}, "allowed", ""),
    ("another context", decrypt(ROLE, **{"kms:EncryptionContext:tenant": "x"}), {"identity": [], "resource": key_policy({"AWS": ROLE_ARN}, "kms:Decrypt", Condition={"StringEquals": {"kms:EncryptionContext:tenant": "t"}})}, "implicit deny", "resource-based policy"),
    ("a policy variable", decrypt(USER, **{"aws:username": "u"}), {"identity": [allow("kms:*", "arn:aws:kms:*:*:key/${aws:username}")], "resource": ROOT}, "implicit deny", "identity-based policy"),
    ("a single statement without a list", decrypt(ROLE), {"identity": [{"Statement": {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}}], "resource": ROOT}, "allowed", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "layers", "verdict", "layer"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_a_documented_rule(request_: Request, layers: dict[str, Any], verdict: str, layer: str) -> None:
    decision = evaluate(request_, **layers)
    assert decision.verdict == verdict, decision
    assert layer in ("", decision.layer)
    assert decision.because.endswith(".")


@pytest.mark.parametrize(
    ("operator", "wanted", "given", "met"),
    [
        ("StringEquals", ["a", "b"], "b", True),
        ("StringEquals", "a", "A", False),
        ("StringEqualsIgnoreCase", "a", "A", True),
        ("StringNotEquals", "a", "b", True),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringNotEquals", "a", None, True),
        ("StringEquals", "a", None, False),
        ("StringEqualsIfExists", "a", None, True),
        ("StringLike", "a*c?", "a/b:cd", True),
        ("StringNotLike", "a*", "b", True),
        ("ArnLike", "arn:aws:iam::*:role/*", "arn:aws:iam::111122223333:role/x/y", True),
        ("ArnLike", "arn:aws:*:role/x", "arn:aws:iam::111122223333:role/x", False),
        ("ArnNotEquals", "arn:aws:iam::1:role/x", "arn:aws:iam::1:role/y", True),
        ("NumericLessThan", "10", "9", True),
        ("NumericGreaterThanEquals", "10", "10", True),
        ("NumericEquals", "10", "ten", False),
        ("DateGreaterThan", "2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z", True),
        ("DateLessThan", "2026-01-01T00:00:00Z", "1900000000", False),
        ("DateLessThan", "never", "1900000000", False),
        ("Bool", "true", "true", True),
        ("Bool", True, "true", True),
        ("BinaryEquals", "YQ==", "YQ==", True),
        ("BinaryEquals", "YQ==", "?", False),
        ("IpAddress", "10.0.0.0/8", "10.1.2.3", True),
        ("NotIpAddress", "10.0.0.0/8", "10.1.2.3", False),
        ("IpAddress", "10.0.0.0/8", "here", False),
        ("Null", "true", None, True),
        ("Null", "false", None, False),
        ("Null", "false", "x", True),
        ("ForAnyValue:StringEquals", ["a"], ["b", "a"], True),
        ("ForAnyValue:StringEquals", ["a"], None, False),
        ("ForAllValues:StringEquals", ["a", "b"], ["b", "a"], True),
        ("ForAllValues:StringEquals", ["a"], ["b", "a"], False),
        ("ForAllValues:StringEquals", ["a"], None, True),
        ("StringSmells", "a", "a", False),
    ],
)
def test_a_condition_operator(operator: str, wanted: Any, given: Any, met: bool) -> None:
    context = {} if given is None else {"k": given}
    assert conditions.holds({operator: {"K": wanted}}, context) is met


def test_a_condition_that_cannot_be_read_is_not_met() -> None:
    assert not conditions.holds("x", {})
    assert not conditions.holds({"StringEquals": "x"}, {})


# --- what must never happen -----------------------------------------------------------------------------------

actions = st.sampled_from(["kms:Decrypt", "kms:*", "*", "kms:Enc*", "s3:Get"])
resources = st.sampled_from([KEY, "*", FOREIGN_KEY])
principals = st.sampled_from(["*", {"AWS": "*"}, {"AWS": ROLE_ARN}, {"AWS": CUSTOMER}, {"AWS": USER.arn}])
statements = st.fixed_dictionaries(
    {"Effect": st.sampled_from(["Allow", "Deny"]), "Action": actions, "Resource": resources, "Principal": principals}
)
policies = st.lists(statements, max_size=4).map(lambda found: {"Statement": found})
requests = st.builds(
    Request,
    st.sampled_from(["kms:Decrypt", "kms:Encrypt"]),
    st.sampled_from([KEY, FOREIGN_KEY]),
    st.sampled_from([ROLE, USER]),
    st.just({}),
)


@given(requests, policies, policies)
def test_an_explicit_deny_always_wins(request_: Request, identity: Policy, resource: Policy) -> None:
    denied = {"Statement": [*identity["Statement"], deny()["Statement"][0]]}
    assert evaluate(request_, identity=[denied], resource=resource).verdict is Verdict.EXPLICIT_DENY


@given(requests, policies, policies, st.data())
def test_removing_an_allow_never_allows_more(
    request_: Request, identity: Policy, resource: Policy, data: st.DataObject
) -> None:
    before = evaluate(request_, identity=[identity], resource=resource).allowed
    kept = [s for s in resource["Statement"] if s["Effect"] == "Deny" or data.draw(st.booleans())]
    fewer = [s for s in identity["Statement"] if s["Effect"] == "Deny" or data.draw(st.booleans())]
    after = evaluate(request_, identity=[{"Statement": fewer}], resource={"Statement": kept}).allowed
    assert before or not after


@given(requests, policies, policies, policies)
def test_a_session_policy_and_a_boundary_never_widen(
    request_: Request, identity: Policy, resource: Policy, narrow: Policy
) -> None:
    plain = evaluate(request_, identity=[identity], resource=resource).allowed
    for layers in ({"session": narrow}, {"boundaries": [narrow]}, {"scps": [narrow]}, {"rcps": [narrow]}):
        assert plain or not evaluate(request_, identity=[identity], resource=resource, **layers).allowed  # type: ignore[arg-type]


def test_statement_names_and_accounts() -> None:
    assert evaluator.account_of(KEY) == CUSTOMER
    assert evaluator.account_of("x") == ""
    assert evaluate(decrypt(ROLE), identity=[allow(Sid="Mine")], resource=ROOT).statement == "Mine"
