"""Can we do with the key what the tenant's documents allow, with our encryption context?
Tried for real; pure here."""

from __future__ import annotations

from byokportal.translation import lazy
from keys import actions, errors
from keys.proof.encryption_test import inferred, refusals
from keys.proof.encryption_test.base import (
    Judgement,
    Verdict,
    Wait,
    cannot_tell,
    check,
    evidence_of,
    failed,
    passed,
    refused,
    skipped,
)
from keys.proof.encryption_test.facts import Answer, Facts, Use

NEEDS = ("account.identity",)
# Code of a check → the action that it tries, where the narrower variant of the documents may leave it out.
TRIES = {
    "use.generate_data_key": "kms:GenerateDataKey",
    "use.encrypt": "kms:Encrypt",
    "use.re_encrypt": "kms:ReEncryptFrom",
}


@check("use.describe", title=lazy("We may describe the key"), step=3, needs=NEEDS)
def describe(facts: Facts) -> Judgement | None:
    if facts.key is None:
        return None
    answer = facts.key.answer
    if answer.ok:
        return passed(answer)
    if not answer.is_denied:
        return cannot_tell(answer) or skipped(lazy("The key was not found; key.exists says more."))
    if facts.use is None:  # the other calls narrow the causes: they are tried before this is judged
        return None
    return _refused(facts, facts.use, answer)


@check("use.generate_data_key", title=lazy("We may generate a data key"), step=3, needs=NEEDS)
def generate_data_key(facts: Facts) -> Judgement | None:
    return _not_tried(facts) if facts.use is None else _judge(facts, facts.use, facts.use.generate)


@check("use.generate_data_key_without_plaintext", title=lazy("We may generate a wrapped data key"), step=3, needs=NEEDS)
def generate_data_key_without_plaintext(facts: Facts) -> Judgement | None:
    return _not_tried(facts) if facts.use is None else _judge(facts, facts.use, facts.use.generate_wrapped)


@check("use.encrypt", title=lazy("We may encrypt"), step=3, needs=NEEDS)
def encrypt(facts: Facts) -> Judgement | None:
    return _not_tried(facts) if facts.use is None else _judge(facts, facts.use, facts.use.encrypt)


@check("use.decrypt", title=lazy("We may decrypt what we encrypted"), step=3, needs=NEEDS)
def decrypt(facts: Facts) -> Judgement | None:
    if facts.use is None:
        return _not_tried(facts)
    if facts.use.decrypt and facts.use.decrypt.ok and not facts.use.opened_the_same:
        return Judgement(
            Verdict.UNKNOWN,
            {**evidence_of(facts.use.decrypt), "why": lazy("something else came out than went in")},
            wait=Wait.AWS,
        )
    return _judge(facts, facts.use, facts.use.decrypt)


@check("use.re_encrypt", title=lazy("We may re-encrypt"), step=3, needs=NEEDS)
def re_encrypt(facts: Facts) -> Judgement | None:
    return _not_tried(facts) if facts.use is None else _judge(facts, facts.use, facts.use.re_encrypt)


@check(
    "use.context_is_bound",
    title=lazy("A ciphertext does not open under another encryption context"),
    step=3,
    needs=("use.decrypt",),
    document=refusals.KEY,
    remedy=(
        lazy(
            "Contact Kore.ai support: your key {key_arn} opened a ciphertext under an encryption context it was "
            "not made with."
        )
    ),
)
def context_is_bound(facts: Facts) -> Judgement | None:
    """Counts only beside a ciphertext that opened under its own context,
    and only InvalidCiphertextException means it."""
    if facts.use is None:
        return _not_tried(facts)
    answer = facts.use.wrong_context
    if answer is None:
        return skipped(lazy("There was no ciphertext to open."))
    if isinstance(answer.error, errors.CiphertextInvalid):
        return passed(answer)
    if answer.ok:
        return Judgement(Verdict.FAIL, evidence_of(answer), step=1)
    return cannot_tell(answer) or Judgement(Verdict.UNKNOWN, evidence_of(answer), wait=Wait.AWS)


def _not_tried(facts: Facts) -> Judgement | None:
    """Return the judgement for a key that it makes no sense to use, None for one that is still to be tried."""
    if facts.key is None or facts.key.is_fit:
        return None
    if facts.key.facts is None:
        return cannot_tell(facts.key.answer) or skipped(lazy("The key was not found; key.exists says more."))
    return skipped(lazy("The key is not fit for use; the checks of step 1 say why."))


def _judge(facts: Facts, use: Use, answer: Answer | None) -> Judgement:
    if answer is None:
        return skipped(lazy("It was not tried."))
    if answer.ok:
        return passed(answer)
    if answer.is_denied:
        return _refused(facts, use, answer)
    for error, diagnosis in refusals.CERTAIN.items():
        if isinstance(answer.error, error):
            if error is errors.KeyNotFound:
                return refused(facts, answer, diagnosis)
            return failed(answer, diagnosis)
    if isinstance(answer.error, errors.CiphertextInvalid) and not use.has_ciphertext:
        return skipped(lazy("There was no ciphertext to try it with: neither encrypting nor generating worked."))
    # CiphertextInvalid too: a ciphertext made a moment ago is no fault of the tenant's.
    return cannot_tell(answer) or Judgement(Verdict.UNKNOWN, evidence_of(answer), wait=Wait.AWS)


def _refused(facts: Facts, use: Use, answer: Answer) -> Judgement:
    assert facts.key is not None
    described = facts.key.answer
    asked = (described, *use.tried)
    beside = refusals.Beside(
        others_work=use.others_work(answer),
        describe_works=described.ok,
        all_refused=all(each.is_denied for each in asked),
        bare_works=_tells(use.bare),
        is_describe=answer is described,
        other_context_refused=answer is use.re_encrypt
        and use.wrong_context is not None
        and use.wrong_context.is_denied,
        from_outside_works=facts.key.direct is not None and facts.key.direct.ok,
    )
    diagnosis = refusals.of_kms(answer.denial, beside)
    words = {"action": answer.action, "pattern": _pattern(facts, answer)}
    return refused(facts, answer, diagnosis, words=words, inferred=_inferred(facts, asked, diagnosis))


def _pattern(facts: Facts, answer: Answer) -> str:
    """Return what the tenant's documents have to say for a call to work."""
    action = {"kms:ReEncrypt": "kms:ReEncryptFrom"}.get(answer.action, answer.action)
    return actions.pattern_of(facts.subject.access.actions, action)


def _tells(answer: Answer | None) -> bool | None:
    """Return whether a call was allowed; None when it was not made, or AWS said neither yes nor no."""
    return None if answer is None or not (answer.ok or answer.is_denied) else answer.ok


def _inferred(facts: Facts, asked: tuple[Answer, ...], diagnosis: refusals.Diagnosis) -> str:
    """Return the document without the patterns that were refused in the same words, when nothing else is possible."""
    stands = {
        "role_permissions_policy_missing_action": inferred.permissions,
        "key_policy_missing_action": inferred.key_statement,
    }
    if len(diagnosis.causes) != 1 or diagnosis.causes[0] not in stands:
        return ""
    layer = "identity" if diagnosis.document == refusals.PERMISSIONS else "resource"
    missing = [_pattern(facts, each) for each in asked if each.is_denied and each.denial.layer == layer]
    return stands[diagnosis.causes[0]](facts.subject, missing)
