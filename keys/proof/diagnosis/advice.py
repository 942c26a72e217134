"""The words for the person: what to do first, and the one command whose output tells the remaining
causes apart; pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from byokportal.errors import DomainError
from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys import arns
from keys.proof.diagnosis import callers, causes, saving
from keys.proof.diagnosis.error_grammar import AwsError

OURS = 5  # the step that is Kore.ai's


@dataclass(frozen=True, slots=True)
class Probe:
    """What tells causes apart: who runs which command, and how to read its output (the end of a sentence)."""

    who: str
    command: str
    decides: str


YOU, KORE = "you", "Kore.ai"
ACTION = re.compile(r"[A-Za-z0-9-]{1,64}:[A-Za-z0-9_*]{1,128}")
ROLE_NAME, KEY, REGION = "<your role's name>", "<your CMK ARN>", "<your key's Region>"


def probe_of(error: AwsError, found: Sequence[str]) -> Probe | None:
    """Return what decides between the causes; None when there is one cause, or none that a command could tell."""
    real = [label for label in found if label != "propagation_delay"]
    if len(real) < 2:
        return None
    role_name, key, region = _values(error)
    if real[0] == callers.NOT_ALLOWED:
        return Probe(
            YOU,
            "aws sts get-caller-identity",
            "run it as whoever got this message: if it does not print the role that you made for us, "
            "your administrator decides what that caller may do, and the role for us stays as it is",
        )
    if any(label.endswith(("policy_malformed", "policy_too_large", "_quota_reached")) for label in real):
        return _of_saving(real)
    if any(label.startswith(("trust_policy", "external_id_mismatch")) for label in real):
        return Probe(YOU, f"aws iam get-role --role-name {role_name}", _trust_decides(error, real))
    has_key_policy = any(causes.CAUSES[label].document == causes.KEY_POLICY for label in real)
    if has_key_policy and any(label.startswith("key_") and causes.CAUSES[label].step == 1 for label in real):
        return Probe(
            YOU,
            f"aws kms describe-key --key-id {key} --region {region}",
            "NotFoundException means that the ARN is wrong; KeyManager AWS means that it is AWS's own key; another "
            "KeyState than Enabled is the fault; if the key is enabled, the key policy (aws kms get-key-policy) is "
            "what to change",
        )
    if has_key_policy:
        return Probe(
            YOU,
            f"aws kms get-key-policy --key-id {key} --policy-name default --region {region} --output text",
            "the statement of your set-up page has to be in it, with your Role ARN, all its actions and no condition; "
            "if it is, the permissions policy of the role (step 2) is what to change",
        )
    if any(label.startswith("role_permissions") for label in real):
        return Probe(
            YOU,
            f"aws iam list-attached-role-policies --role-name {role_name}",
            "open what it lists and compare action and Resource with your set-up page",
        )
    if all(label.startswith(("xks_", "custom_key_store")) for label in real):
        return Probe(
            YOU,
            f"aws kms describe-custom-key-stores --region {region}",
            "ConnectionState and ConnectionErrorCode name the fault",
        )
    if any(causes.CAUSES[label].step == 1 for label in real):
        return Probe(
            YOU,
            f"aws kms describe-key --key-id {key} --region {region}",
            (
                "KeyState, KeyUsage, KeySpec, Origin and MultiRegion in its output tell which it is, "
                "and NotFoundException that the ARN is wrong"
            ),
        )
    if set(real) <= {"role_arn_malformed", "role_arn_is_not_a_role", "wrong_partition"}:
        return Probe(
            YOU, f"aws iam get-role --role-name {role_name} --query Role.Arn", "what it prints is the ARN to give us"
        )
    if "encryption_context_mismatch" in real:
        return Probe(
            KORE,
            "aws kms decrypt with exactly the encryption context of the encryption",
            "if that opens the ciphertext, the context was wrong; if not, the ciphertext is damaged",
        )
    return Probe(
        KORE,
        "aws sts get-caller-identity as the service role",
        "if it fails, credentials, clock or network are at fault; if it prints the service role, the request itself is",
    )


def _of_saving(real: Sequence[str]) -> Probe:
    """Return what names the fault of a document that AWS does not save, or the quota that was reached."""
    if any(label.endswith("_quota_reached") for label in real):
        service = "kms" if "kms_quota_reached" in real else "iam"
        return Probe(
            YOU,
            f"aws service-quotas list-service-quotas --service-code {service}",
            "it lists each quota with its number, to be compared with what the account holds",
        )
    is_key = any(label.startswith("key_policy") for label in real)
    kind = "RESOURCE_POLICY" if is_key else "IDENTITY_POLICY"
    also = "" if is_key else "; for the trust policy say RESOURCE_POLICY"
    return Probe(
        YOU,
        f"aws accessanalyzer validate-policy --policy-type {kind} --policy-document file://policy.json",
        f"it names the line and what is wrong with it{also}",
    )


def _trust_decides(error: AwsError, real: Sequence[str]) -> str:
    if any(label.startswith("trust_policy_missing_") and label != "trust_policy_missing_action" for label in real):
        return (
            f"if the trust policy that it prints allows {error.action} to our service role, "
            "the mistake is on Kore.ai's side"
        )
    missing = "NoSuchEntity means that the role is missing; otherwise " if "role_not_found" in real else ""
    ours = (
        "; if all of it is the same, the mistake is on Kore.ai's side"
        if any(causes.CAUSES[label].step == OURS for label in real)
        else ""
    )
    return (
        f"{missing}compare the Role ARN that it prints, and the principal, the sts:ExternalId, "
        f"the action and any other condition or Deny of its trust policy, with your set-up page{ours}"
    )


def _values(error: AwsError) -> tuple[str, str, str]:
    """Return role name, key and Region from the error where it names them well, else what to put there.

    The text is hostile and the command is to be pasted into a shell: only what parses as an ARN goes into it.
    """
    role_name, key, region = ROLE_NAME, KEY, REGION
    for given in (error.resource, error.principal, *re.findall(r"arn:aws[\w-]*:kms:[\w:/-]{1,200}", error.words)[:3]):
        try:
            if ":kms:" in given and key == KEY:
                parsed = arns.KeyArn.parse(given.strip("'\""))
                key, region = str(parsed), parsed.region
            elif ":role/" in given and role_name == ROLE_NAME:
                role_name = arns.RoleArn.parse(given).name
        except DomainError:
            continue
    if (
        role_name == ROLE_NAME
        and not error.operation.lower().startswith("sts:")
        and ":assumed-role/" in error.principal
    ):
        name_there = error.principal.partition(":assumed-role/")[2].partition("/")[0]
        role_name = name_there if arns.ROLE_NAME.fullmatch(name_there) else role_name
    return role_name, key, region


def turn_of(steps: Sequence[int]) -> str:
    """Return whose turn it is: "tenant", "kore", "both", or "nobody" when it mends itself
    or there is nothing to mend."""
    theirs, ours = any(step != OURS for step in steps), OURS in steps
    return {(True, True): "both", (True, False): "tenant", (False, True): "kore", (False, False): "nobody"}[
        theirs, ours
    ]


def where(label: str, step: int) -> str:
    """Return where the remedy of a cause lies: "Step 2, trust policy"."""
    document = causes.CAUSES[label].document
    if label == callers.NOT_ALLOWED:
        return f"Step {step}, your administrator"
    if step == causes.NOWHERE:
        return "Mends itself"
    if step == OURS:
        return "Step 5, Kore.ai's side"
    return f"Step {step}, {document}" if document else f"Step {step}"


# What a cause means for a caller that is not the role for us: nobody changes that role for it.
OF_A_CALLER = {
    "role_permissions_policy_missing_action": lazy(
        "Ask your administrator to allow %(action)s in the caller's own policies; the role for us stays as it is."
    ),
    "role_permissions_policy_wrong_key_arn": lazy(
        "Ask your administrator whether the caller's own policies name this resource; the role for us stays as it is."
    ),
    "role_permissions_policy_explicit_deny": lazy(
        "Ask your administrator to take the caller out of the Deny on %(action)s in its own policies."
    ),
    "role_permissions_boundary": lazy(
        "Ask your administrator to let the permissions boundary of the caller allow %(action)s."
    ),
    "customer_scp_deny": lazy(
        "Ask whoever runs your AWS Organization to let the service control policy allow %(action)s for the caller; "
        "nothing in your account mends it."
    ),
    "customer_rcp_deny": lazy(
        "Ask whoever runs your AWS Organization to let the resource control policy allow %(action)s to the caller; "
        "nothing in your account mends it."
    ),
    **dict.fromkeys(
        (
            "key_policy_missing_statement",
            "key_policy_wrong_principal",
            "key_policy_missing_action",
            "key_policy_condition_failed",
            "grant_missing",
        ),
        lazy(
            "Ask your administrator to let the policy of the resource allow %(action)s to the caller; the statement "
            "for the role for us stays as it is."
        ),
    ),
    "key_policy_explicit_deny": lazy(
        "Ask your administrator to spare the caller in the Deny of the resource's policy."
    ),
}


def remedy_of(label: str, error: AwsError) -> str:
    """Return what mends a cause, with the action that was refused and what AWS does not save, where the words name
    it."""
    template = OF_A_CALLER.get(label, "") if callers.is_of_the_caller(error) else ""
    return _(
        template or causes.CAUSES[label].remedy,
        action=_action(error),
        caller=callers.phrase(error),
        where=callers.where(error),
        beside=callers.beside(error),
        fault=saving.fault_of(error),
    )


def _action(error: AwsError) -> str:
    """Return the action that was refused, or the operation that was called; only what is one is repeated."""
    name = error.action or error.operation
    return name if ACTION.fullmatch(name) else _("the action that AWS names")


def text_of(error: AwsError, found: Sequence[str], steps: Sequence[int], probe: Probe | None) -> str:
    """Return what to do, in plain words: the likeliest remedy with its step, how many causes read alike,
    and what decides."""
    if not found:
        return (
            "We cannot read this error. Send Kore.ai support the whole message with its error code and request ID, "
            "and say what was called and when."
        )
    first = found[0]
    if first == "dry_run_ok":
        return remedy_of(first, error)
    ours = "This is on Kore.ai's side (step 5), you need do nothing: "
    step = steps[0] if steps else causes.NOWHERE
    sentences = [(ours if set(steps) == {OURS} else f"{where(first, step)}: ") + remedy_of(first, error)]
    others = [label for label in _told(found, error) if label not in {first, "propagation_delay"}]
    if others:
        also = f", some of them in step {' and '.join(map(str, steps[1:]))}" if steps[1:] else ""
        sentences.append(f"AWS says the same for {len(others) + 1} causes{also}.")
    if remark := callers.remark(error):
        sentences.append(remark)
    if probe:
        sentences.append(_told_apart(probe))
    if "propagation_delay" in found and first != "propagation_delay":
        sentences.append("If you changed something in the last five minutes, wait and test again first.")
    return " ".join(sentences)


def _told(found: Sequence[str], error: AwsError) -> list[str]:
    """Return the causes to be told one by one: what is the caller's own is told once."""
    is_told = found[0] == callers.NOT_ALLOWED and callers.is_of_the_caller(error)
    return [label for label in found if not (is_told and label in OF_A_CALLER)]


def _told_apart(probe: Probe) -> str:
    return f"To tell them apart, {'run' if probe.who == YOU else 'Kore.ai runs'} {probe.command}: {probe.decides}."


def answer_of(error: AwsError, found: Sequence[str], steps: Sequence[int], probe: Probe | None) -> str:
    """Return an answer to the customer that support can send as it is;
    it quotes nothing of what was pasted but the action and the name of the caller."""
    if not found:
        return text_of(error, found, steps, probe)
    refused = f"AWS refused {error.action}." if error.action else "Thank you for the error message; we have read it."
    if turn_of(steps) == "kore":
        return f"{refused}\n\nThis is on our side, and you need do nothing. We mend it and tell you when it works."
    theirs = [label for label in _told(found, error) if causes.CAUSES[label].step not in {OURS, causes.NOWHERE}]
    if turn_of(steps) == "nobody":
        return f"{refused}\n\n{remedy_of(found[0], error)}"
    lines = [refused, ""]
    if OURS in steps:
        lines += ["We are checking our own side. Meanwhile please look at yours:", ""]
    elif len(theirs) > 1:
        lines += ["AWS says the same for each of these, the likeliest first:", ""]
    for label in theirs:
        lines.append(f"- {where(label, causes.step_of(label, error))}: {remedy_of(label, error)}")
    if remark := callers.remark(error):
        lines += ["", remark]
    if probe and probe.who == YOU:
        lines += [
            "",
            "This command tells them apart:",
            "",
            f"    {probe.command}",
            "",
            f"{probe.decides[0].upper()}{probe.decides[1:]}.",
        ]
    if "propagation_delay" in found:
        lines += ["", "If you changed something in the last five minutes, wait and test again first: AWS needs time."]
    lines += ["", "Then start the encryption test again on your set-up page. It shows what AWS says now."]
    return "\n".join(lines)
