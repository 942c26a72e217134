"""What keeps our calls out of an otherwise right policy:
conditions that they do not meet, denials that hit them; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys.policies import conditions
from keys.policies.evaluator import Request
from keys.proof.pasted import time_limits, trial_requests
from keys.proof.pasted.findings import Kind, Note, Path, Policy, shown

# Condition key (small letters) → code, and why our calls do not meet it.
UNMET = {
    "kms:viaservice": ("condition_via_service", lazy("our calls reach KMS directly, not through another AWS service")),
    "aws:sourceip": ("condition_source_ip", lazy("our calls come from our own addresses, which are none of yours")),
    "aws:vpcsourceip": ("condition_source_ip", lazy("our calls come from our own network")),
    "aws:sourcevpce": ("condition_source_vpce", lazy("our calls come through no VPC endpoint of yours")),
    "aws:sourcevpc": ("condition_source_vpce", lazy("our calls come from no VPC of yours")),
    "aws:multifactorauthpresent": (
        "condition_mfa",
        lazy("our calls are made by a service, without multi-factor authentication"),
    ),
    "aws:multifactorauthage": (
        "condition_mfa",
        lazy("our calls are made by a service, without multi-factor authentication"),
    ),
    "aws:principalorgid": ("condition_organization", lazy("our account is in no organization of yours")),
    "aws:principalorgpaths": ("condition_organization", lazy("our account is in no organization of yours")),
    "aws:sourceaccount": ("condition_source_account", lazy("only calls made by an AWS service carry it")),
    "aws:sourcearn": ("condition_source_account", lazy("only calls made by an AWS service carry it")),
    "aws:vpceaccount": ("condition_source_vpce", lazy("our calls come through no VPC endpoint of yours")),
    "aws:vpceorgid": ("condition_source_vpce", lazy("our calls come through no VPC endpoint of yours")),
    "aws:vpceorgpaths": ("condition_source_vpce", lazy("our calls come through no VPC endpoint of yours")),
    "aws:sourcevpcarn": ("condition_source_vpce", lazy("our calls come from no VPC of yours")),
    "aws:ec2instancesourcevpc": ("condition_source_vpce", lazy("our calls come from no VPC of yours")),
    "aws:sourceorgid": ("condition_source_account", lazy("only calls made by an AWS service carry it")),
    "aws:sourceorgpaths": ("condition_source_account", lazy("only calls made by an AWS service carry it")),
    "kms:grantisforawsresource": ("condition_unmet", lazy("our calls make no grant")),
    "kms:requestalias": ("condition_unmet", lazy("we name your key by its ARN, so our calls carry no alias")),
}


def unmet(operator: str, key: str, path: Path, request: Request) -> Note:
    """Name a condition that a call of ours does not meet."""
    code, why = UNMET.get(key.lower(), ("condition_unmet", ""))
    why = _(why) if why else _ours(key, request)
    if key.lower().startswith("kms:encryptioncontext"):
        code, why = (
            "condition_encryption_context",
            _("kms:DescribeKey carries no encryption context, and ours is your tenant id and our purpose"),
        )
    return Note(
        code,
        "error",
        path,
        _(
            "The condition %(operator)s on %(key)s is never met: %(why)s.",
            operator=shown(operator, most=40),
            key=shown(key, most=60),
            why=why,
        ),
        _("Leave %(key)s out of the statement for us; it may stay in the others.", key=shown(key, most=60)),
    )


def _ours(key: str, request: Request) -> str:
    """Say what our call carries in place of what a condition asks for."""
    name = key.lower()
    found = conditions.lookup(request.context, key)
    if name == "aws:requestedregion" and found:
        return _("our calls go to %(found)s, the Region of your key", found=found[0])
    if name in time_limits.CLOCKS and found:
        today = found[0][:10] if name != "aws:epochtime" else request.context["aws:currenttime"]
        return _("today is %(today)s, outside it", today=today)
    if name == "aws:principalarn":
        return _("we come as %(role_arn)s", role_arn=request.principal.role_arn)
    if found:
        return _("our calls carry %(found)s there", found=shown(found[0], most=60))
    return _("our calls do not carry it")


def denied(kind: Kind, policy: Policy, requests: Sequence[Request], so: str) -> Iterator[Note]:
    """Name the Deny statements that hit our calls, each once."""
    for path, statement, request in trial_requests.denying(kind, policy, requests):
        sid = statement.get("Sid")
        element = next((each for each in ("NotPrincipal", "NotAction") if each in statement), "")
        why = _(" (%(element)s covers everything that it does not name)", element=element) if element else ""
        met = trial_requests.unmet(policy, statement, request, answer=True)
        if met:
            why += _(
                ", since our calls meet its condition on %(keys)s",
                keys=", ".join((shown(key, most=40) for _, key in met[:3])),
            )
        yield Note(
            "not_principal" if element == "NotPrincipal" else "explicit_deny",
            "error",
            (*path, element) if element else path,
            _(
                "The statement %(sid)s denies %(action)s%(why)s. %(so)s",
                sid=shown(sid, most=40),
                action=request.action,
                why=why,
                so=so,
            )
            if isinstance(sid, str) and sid
            else _("This statement denies %(action)s%(why)s. %(so)s", action=request.action, why=why, so=so),
            _(
                "Take us out of it, as the document below does: a condition that spares %(role_arn)s.",
                role_arn=request.principal.role_arn,
            ),
        )
