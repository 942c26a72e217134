"""Ask AWS: our own side, the trust policy, the account, the key, its use.
One generator, ever fuller facts, nothing judged."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from byokportal import clock
from byokportal.errors import DomainError
from keys import actions, aws
from keys.arns import RoleArn
from keys.aws import clients, faults, iam, sessions
from keys.aws.kms import Context, KmsKey
from keys.configuration import packing
from keys.models import ServiceRolePolicy
from keys.policies import principals
from keys.proof.encryption_test import refusals
from keys.proof.encryption_test.facts import Account, Answer, Facts, Hygiene, Key, Ours, Subject, Trust, Use
from tenants.models import ServiceRole

PURPOSE = "test"
NO_CIPHERTEXT = bytes(64)
DATA_KEY = 32  # bytes of an AES_256 data key
BUDGET = 25  # seconds a look may take; the task is ended after 40, and what was not asked is asked at the next look


def gather(facts: Facts, service_role: ServiceRole) -> Iterator[Facts]:
    """Yield the facts after each part; what comes after a part that makes it pointless is not asked.

    The role's External ID is probed and its session is opened in this order by one principal: without,
    wrong, right. A refusal of the first two then stands beside a call that worked a moment later.
    """
    subject, until = facts.subject, clock.monotonic() + BUDGET
    ours, canary = _ours(subject, service_role)
    facts = replace(facts, ours=ours)
    yield facts
    if not ours.works(subject):
        return
    trust, session = _trust(subject, canary)
    facts = replace(facts, trust=trust)
    yield facts
    if session is None or trust.is_wide:  # a role that lets anybody in is not used any further
        return
    account = _account(subject, session)
    facts = replace(facts, account=account)
    yield facts
    if not account.answer.ok or clock.monotonic() > until:
        return
    key = aws.key_in_session(subject.key, session)
    found = _key(key, subject)
    facts = replace(facts, key=found)
    yield facts
    if not found.is_fit or clock.monotonic() > until:
        return
    use = _use(key, subject, found)
    facts = replace(facts, use=use)
    yield facts
    if all(answer.ok for answer in use.tried):
        yield replace(facts, hygiene=_hygiene(subject))


def _ask(action: str, call: Callable[[], Any]) -> tuple[Answer, Any]:
    """Make one call; what is expected to go wrong becomes part of the answer."""
    at = clock.now()
    try:
        value = call()
    except DomainError as error:
        request_id, words = str(error.params.get("aws_request_id", "")), faults.aws_message_of(error)
        action = str(error.params.get("action") or action)
        return Answer(action, at, request_id, error, refusals.read(words), bool(refusals.LATE.search(words))), None
    return Answer(action, at, str(getattr(value, "request_id", ""))), value


# --- our own side ----------------------------------------------------------------------------------------------


def _ours(subject: Subject, service_role: ServiceRole) -> tuple[Ours, clients.Credentials | None]:
    """Look at our own side; the canary's session comes with it,
    for it is the outsider that probes the tenant's role."""

    ours, region = subject.access.service_role, subject.key.region

    def identify() -> sessions.Identity:
        return sessions.identity(sessions.service_role(str(ours), region, fresh=True), region)

    answer, who = _ask("sts:GetCallerIdentity", identify)
    if who is None:
        return Ours(answer, "", "", None, None), None
    canary, session = None, None
    if service_role.canary_role_arn:
        canary, session = sessions.attempt(
            sessions.service_role(str(ours), region),
            RoleArn.parse(service_role.canary_role_arn),
            service_role.canary_external_id,
            region=region,
            session=sessions.session_name("canary", "ours"),
        )
    policy, names_role, has_drifted, may_ask = _policy(subject, service_role)
    # An assumed role's ARN leaves out the role's path: the rest is compared with the ARN that tenants were shown.
    named = who.arn.split("/")[1:2] == [ours.name] and who.account == ours.account
    arn = str(ours) if named else who.arn
    return Ours(answer, arn, who.user_id.partition(":")[0], canary, policy, names_role, has_drifted, may_ask), session


def _policy(subject: Subject, service_role: ServiceRole) -> tuple[Answer, bool, bool, bool]:
    """Read back the policy of ours that names the tenant's role: the answer, whether it does and is attached,
    whether it drifted, whether the canary's is there."""
    answer, attached = _ask("iam:ListAttachedRolePolicies", lambda: iam.attached(service_role.name))
    if attached is None:
        return answer, False, False, True
    answer, inline = _ask("iam:ListRolePolicies", lambda: iam.inline_policies(service_role.name))
    if inline is None:
        return answer, False, False, True
    may_ask = principals.PROBES in inline
    rows = ServiceRolePolicy.objects.filter(service_role=service_role).exclude(policy_arn="")
    row = next((row for row in rows if str(subject.role) in row.role_arns), None)
    if row is None or row.policy_arn not in attached:
        return answer, False, False, may_ask
    answer, written = _ask("iam:GetPolicyVersion", lambda: iam.read_policy(row.policy_arn))
    if written is None or not _names(written.document, str(subject.role)):
        return answer, False, False, may_ask

    def is_ours(rows: Iterable[ServiceRolePolicy]) -> bool:
        hashes = {each.policy_arn: each.written_hash for each in rows}
        return (
            packing.digest(written.document) == hashes.get(row.policy_arn)
            and attached <= set(hashes)
            and inline <= {principals.PROBES}
        )

    if is_ours(rows):
        return answer, True, False, may_ask
    # Another tenant's ARN may be on its way into the same policy:
    # its writer holds the lease until the row says what IAM says.
    service_role.refresh_from_db(fields=["lease_until"])
    if service_role.lease_until is not None and service_role.lease_until > clock.now():
        return answer, True, False, may_ask
    return answer, True, not is_ours(rows.all()), may_ask


def _names(document: dict[str, Any], role_arn: str) -> bool:
    statements = [s for s in document.get("Statement", []) if s.get("Effect") == "Allow"]
    return any(role_arn == s.get("Resource") or role_arn in list(s.get("Resource", [])) for s in statements)


# --- the tenant's role --------------------------------------------------------------------------------------------


def _trust(subject: Subject, canary: clients.Credentials | None) -> tuple[Trust, clients.Credentials | None]:
    """Try to assume the tenant's role, and return the session that the right External ID opens, for what follows.

    A refusal is worth looking for an External ID mistaken for the tenant's.
    """
    session = sessions.session_name(PURPOSE, subject.access.tenant)
    wrong = "byok-" + secrets.token_urlsafe(32)  # nobody's: a new one each time, of the form of a real one

    def probe(external_id: str | None) -> sessions.AssumeOutcome:
        return sessions.probe(subject.access, external_id, region=subject.key.region, session=session)

    def other(source: clients.Credentials | None) -> sessions.AssumeOutcome:
        return sessions.attempt(
            source, subject.role, subject.access.external_id, region=subject.key.region, session=session
        )[0]

    without, mistaken = probe(None), probe(wrong)
    right, opened = _ask("sts:AssumeRole", lambda: _open(subject))
    trust = Trust(without, mistaken, right, base=other(None))
    if right.ok and canary is not None:
        trust = replace(trust, outsider=other(canary))
    elif right.is_denied and not trust.is_wide:
        taken = (near for near in _near(subject) if probe(near).allowed)
        trust = replace(trust, near=next(taken, ""))
    return trust, opened


def _near(subject: Subject) -> tuple[str, ...]:
    """Return what tenants mistake for their External ID: their id with us, and ways to copy the right one wrong."""
    external_id = subject.access.external_id
    return subject.access.tenant, external_id.removeprefix("byok-"), external_id.lower(), external_id.upper()


def _open(subject: Subject) -> clients.Credentials:
    return sessions.tenant_role(subject.access, purpose=PURPOSE)


def _account(subject: Subject, session: clients.Credentials) -> Account:
    answer, who = _ask("sts:GetCallerIdentity", lambda: sessions.identity(session, subject.key.region))
    return Account(answer, who.arn, who.account) if who else Account(answer)


# --- the key ----------------------------------------------------------------------------------------------------------


def _key(key: KmsKey, subject: Subject) -> Key:
    answer, found = _ask("kms:DescribeKey", key.describe)
    outside, _ = _ask("kms:DescribeKey", lambda: aws.key_from_outside(subject.access).describe())
    return Key(answer, found, outside)


def _use(key: KmsKey, subject: Subject, described: Key) -> Use:
    context: Context = {"tenant": subject.access.tenant, "purpose": PURPOSE}
    # A pair more, not another value: a key policy with a condition on our pairs still lets the call come as far
    # as the ciphertext.
    other: Context = {**context, "other": secrets.token_hex(8)}
    plaintext = secrets.token_bytes(32)
    allowed = {action for _, action in actions.members(subject.access.actions)}

    def ask(action: str, call: Callable[[], Any], *, needs: str = "") -> tuple[Answer | None, Any]:
        return _ask(action, call) if (needs or action) in allowed else (None, None)

    generate, made = ask("kms:GenerateDataKey", lambda: key.generate(context))
    generate_wrapped, kept = _ask("kms:GenerateDataKeyWithoutPlaintext", lambda: key.generate_wrapped(context))
    encrypt, wrapped = ask("kms:Encrypt", lambda: key.encrypt(plaintext, context))
    use = Use(generate, generate_wrapped, encrypt)
    if wrapped is not None:
        blob = wrapped.ciphertext
    elif made is not None:
        blob, plaintext = made.ciphertext, made.plaintext
    elif kept is not None:
        blob, plaintext = kept.ciphertext, b""
    else:  # AWS asks the policies before it looks at the ciphertext: a refusal tells as much as with a real one
        blob, use = NO_CIPHERTEXT, replace(use, has_ciphertext=False)
    decrypt, opened = _ask("kms:Decrypt", lambda: key.decrypt(blob, context))
    re_encrypt, _ = ask("kms:ReEncrypt", lambda: key.re_encrypt(blob, context, other), needs="kms:ReEncryptFrom")
    wrong_context, _ = _ask("kms:Decrypt", lambda: key.decrypt(blob, other)) if decrypt.ok else (None, None)
    # Nobody has seen what KMS made and wrapped by itself: then its length is all there is to compare.
    expected = plaintext or (opened.plaintext if opened is not None and len(opened.plaintext) == DATA_KEY else b"")
    same = opened is not None and secrets.compare_digest(opened.plaintext, expected)
    use = replace(use, decrypt=decrypt, opened_the_same=same, re_encrypt=re_encrypt, wrong_context=wrong_context)
    # as a condition on the encryption context would have it
    if described.answer.ok != any(answer.ok for answer in use.tried):
        bare, _ = _ask("kms:GenerateDataKeyWithoutPlaintext", lambda: key.generate_wrapped({}))
        use = replace(use, bare=bare)
    return use


def _hygiene(subject: Subject) -> Hygiene:
    """Ask what the guide does not need, in a session without our session policy, which would answer no to all of it."""
    source = sessions.service_role(str(subject.access.service_role), subject.key.region)
    session = sessions.session_name(PURPOSE, subject.access.tenant)
    _, found = sessions.attempt(
        source, subject.role, subject.access.external_id, region=subject.key.region, session=session
    )
    if found is None:
        return Hygiene()
    key = aws.key_in_session(subject.key, found)
    return Hygiene(key.may_grant(str(subject.role)), key.rotation_is_on())
