"""The remedies, in the tenant's own values: the change in words for each cause, the corrected document,
the command that decides; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from byokportal import stored_sentences
from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys.policies import documents
from keys.proof.encryption_test import refusals
from keys.proof.encryption_test.facts import Subject

# A Deny is somebody's guardrail: it stays, and spares the one role, as AWS's own guardrails spare theirs (Control Tower
# guide, "Deny access to AWS based on the requested AWS Region").
SPARE = lazy(
    "Keep the Deny and let it spare {spared}: add the condition below to each Deny statement that "
    "covers it. Where a statement has ArnNotEquals on aws:PrincipalArn already, add the ARN to its "
    "list instead. Whoever else is denied stays denied."
)
REGION = lazy("If it denies by Region, allowing {region} there does as well.")
KIND = lazy(
    "Create a symmetric key for encryption (SYMMETRIC_DEFAULT, ENCRYPT_DECRYPT) and give its ARN in "
    "step 1; {key_arn} is of another kind."
)
# AWS KMS API, ReplicateKey: "The key policy is not a shared property of multi-Region keys."
# Where a document stands, beside a sentence on a page and away from it.
BESIDE, AWAY = re.compile(r"\b(?:below|unten)\b"), lazy("on the page of the test")
OF_ITS_OWN = lazy(" in {region}: each Region's copy of a multi-Region key has a policy of its own")
BESIDES = lazy("If a Deny there covers {role}, keep it and add this to its Condition: {condition}.")

# Cause → its sentences, each of them whole; the rows of a test keep them joined and filled.
SENTENCES: dict[str, tuple[str, ...]] = {
    # step 2: role and trust policy
    "external_id_mismatch": (
        lazy(
            "Set the trust policy of your role {role_name} to the document below: it names our service role "
            "{service_role_arn} and your External ID {external_id}, with no other condition and no Deny for "
            "us. A principal that reads AROA… is a role that is gone: name ours again. AWS says the same "
            "when there is no such role, so compare the Role ARN too: aws iam get-role --role-name "
            "{role_name} --query Role.Arn has to print {role_arn}, letter case and path included; if it "
            "prints another one, give that one in step 2."
        ),
    ),
    "trust_policy_principal_mismatch": (
        lazy(
            "Name {service_role_arn} as the principal of the trust policy of your role {role_name}: it lets "
            "another principal of our account in."
        ),
    ),
    "trust_policy_explicit_deny": (
        lazy("The trust policy of your role {role_name} denies us {action}."),
        SPARE,
    ),
    # step 2: permissions policy
    "role_permissions_policy_missing_action": (
        lazy(
            "Add {pattern} to the actions of the permissions policy of your role {role_name}; the document "
            "below has all of them. Check that the policy is attached to the role, that its Resource is "
            "{keys}, and that the statement has no Condition: one that our call does not meet reads alike in "
            "AWS's answer."
        ),
    ),
    "role_permissions_policy_condition": (
        lazy(
            "Take the Condition out of the statement for {key_arn} in the permissions policy of your role "
            "{role_name}: our encryption context does not meet it, and kms:DescribeKey carries none. The "
            "document below has none."
        ),
    ),
    "role_permissions_policy_explicit_deny": (
        lazy("A policy attached to your role {role_name} denies it {action} on {key_arn}."),
        SPARE,
        REGION,
    ),
    "role_permissions_policy_wrong_key_arn": (
        lazy("Name {keys} as the Resource of the permissions policy of your role {role_name}."),
    ),
    "role_permissions_boundary": (
        lazy(
            "Let the permissions boundary of your role {role_name} allow {pattern} on {key_arn}, as the "
            "statement below does, without a Condition: a Condition that our call does not meet reads alike "
            "in AWS's answer."
        ),
    ),
    "role_permissions_boundary_explicit": (
        lazy("The permissions boundary of your role {role_name} denies it {action} on {key_arn}."),
        SPARE,
        REGION,
    ),
    "customer_scp_deny": (
        lazy(
            "Ask whoever runs your AWS Organization to let the service control policy allow {action} for "
            "{role_arn}; nothing in your account mends it. If it is allowed there, look for a Condition: a "
            "Condition that our call does not meet reads alike in AWS's answer."
        ),
    ),
    "customer_scp_deny_explicit": (
        lazy(
            "A service control policy of your AWS Organization denies {role_arn} {action}; nothing in your "
            "account mends it. Ask whoever runs the organization."
        ),
        SPARE,
        REGION,
    ),
    # step 3: key policy
    "key_policy_missing_statement": (
        lazy(
            "Add the statement below to the key policy of {key_arn}{of_its_own}. If it is there, compare its "
            "principal: it has to be {roles}, without a condition. If that principal reads AROA…, the role "
            "was made anew since: save the statement again."
        ),
    ),
    "key_policy_wrong_principal": (
        lazy(
            "Let the key policy of {key_arn} name your role, as the statement below does, with the principal "
            "{roles}: it answers us directly now, and we reach your key through your role only."
        ),
    ),
    "key_policy_condition_failed": (
        lazy(
            "The key policy of {key_arn} lets {role_arn} in only under a condition that our encryption "
            "context does not meet, and kms:DescribeKey carries none. Let it hold the statement below, which "
            "has no condition."
        ),
    ),
    "key_policy_missing_action": (
        lazy(
            "The key policy of {key_arn} allows {role_arn} other calls, and not {pattern}. Let its statement "
            "for the role read as below, with all of them; if there is none, add it."
        ),
    ),
    "key_policy_explicit_deny": (
        lazy("The key policy of {key_arn} denies {role_arn} {action}."),
        SPARE,
        REGION,
    ),
    "customer_rcp_deny": (
        lazy(
            "Ask whoever runs your AWS Organization to let the resource control policy allow {action} for "
            "our use of {role_arn}; nothing in your account mends it."
        ),
    ),
    "customer_rcp_deny_explicit": (
        lazy(
            "A resource control policy of your AWS Organization denies {spared} {action}; nothing in your "
            "account mends it. Ask whoever runs the organization."
        ),
        SPARE,
        REGION,
    ),
    # step 1: key
    "key_not_found": (
        lazy(
            "Copy the ARN from the page of your key in {region} and give it again in step 1: AWS KMS knows "
            "no key {key_arn} there."
        ),
    ),
    "key_arn_changed": (
        lazy(
            "Copy the ARN from the page of your key and give it again in step 1: AWS KMS answered with "
            "another key than {key_arn}."
        ),
    ),
    "key_disabled": (lazy("Enable the key: aws kms enable-key --region {region} --key-id {key_arn}."),),
    "key_pending_deletion": (
        lazy(
            "Cancel the deletion, then enable the key: aws kms cancel-key-deletion --region {region} "
            "--key-id {key_arn} and aws kms enable-key --region {region} --key-id {key_arn}."
        ),
    ),
    "key_pending_replica_deletion": (
        lazy("Cancel the deletion of the multi-Region key {key_arn} and of its replicas, then enable it."),
    ),
    "key_pending_import": (
        lazy("Import the key material of {key_arn}: it was never imported, has expired or was deleted."),
    ),
    "key_material_expired_or_deleted": (
        lazy("Import the key material of {key_arn} again: it worked before, and has expired or was deleted since."),
    ),
    "mrk_replica_missing": (
        lazy(
            "Make a replica of the multi-Region key in {region}, or give the ARN of one that is there in "
            "step 1: AWS KMS knows no key {key_arn}."
        ),
    ),
    "custom_key_store_disconnected": (
        lazy("Connect the custom key store of {key_arn} again; while it is disconnected AWS KMS cannot use the key."),
    ),
    "key_wrong_usage": (KIND,),
    "key_wrong_spec": (KIND,),
    "key_wrong_region": (
        lazy("Give the ARN of a key in {region} in step 1: AWS KMS says that {key_arn} belongs to another Region."),
    ),
    "aws_managed_key": (
        lazy(
            "Create a customer managed key and give its ARN in step 1: AWS does not let the policy of an AWS "
            "managed key be edited."
        ),
    ),
}
REMEDIES = {cause: " ".join(sentences) for cause, sentences in SENTENCES.items()}


def of(cause: str) -> str:
    """Return the template for a cause, or "" when the check has its own."""
    return REMEDIES.get(cause, "")


def besides(possible: Sequence[str], document: str, subject: Subject) -> str:
    """Return what to do where a Deny may be what decided, though something else is likelier; "" where it may not.

    The trust policy is for us alone, so that the corrected one in its place needs no exemption.
    """
    if document == refusals.TRUST or not any(cause.endswith("explicit_deny") for cause in possible[1:]):
        return ""
    condition = json.dumps(json.loads(exemption(str(subject.role)))["Condition"])
    return " " + BESIDES.format(role=subject.role, condition=condition)


def render(template: str, subject: Subject, words: Mapping[str, str]) -> str:
    """Fill a template with the tenant's own values."""
    values = {
        "role_name": subject.role.name,
        "role_arn": subject.role,
        "role_account": subject.role.account,
        "key_arn": subject.key,
        "key_account": subject.key.account,
        "region": subject.key.region,
        "roles": subject.roles,
        "keys": subject.keys,
        "service_role_arn": subject.access.service_role,
        "external_id": subject.access.external_id,
        "of_its_own": OF_ITS_OWN.format(region=subject.key.region) if subject.key.is_multi_region else "",
    }
    return template.format_map({**values, **words})


def away_from_the_page(remedy: str, external_id: str) -> str:
    """Return a remedy for a mail or a ticket:
    no document stands below it there, and the External ID is on the setup page alone."""
    return BESIDE.sub(_(AWAY), _without(remedy, external_id))


def again(text: str) -> str:
    """Return such words of a mail or a ticket, as a row keeps them in English, in the language of the moment."""
    said = stored_sentences.again(text.replace(AWAY, "below"), ours=stored_sentences.OURS | {"reason"})
    return BESIDE.sub(_(AWAY), said) if AWAY in text else said


def with_document(changes: Sequence[str], corrected: str, external_id: str) -> str:
    """Return a remedy for a mail or a ticket with the corrected document below it; "" where nothing is to be pasted."""
    if not corrected:
        return away_from_the_page("\n".join(changes), external_id)
    return "\n\n".join([*(_without(change, external_id) for change in changes), _without(corrected, external_id)])


def _without(text: str, external_id: str) -> str:
    return text.replace(f"External ID {external_id}", "External ID").replace(external_id, _("your External ID"))


def corrected(document: str, subject: Subject) -> str:
    """Return the document as it has to read, in full;
    "" where nothing is to be pasted (the key itself, an organization's policies)."""
    if document == refusals.BOUNDARY:  # what it has to allow is what the permissions policy allows
        document = refusals.PERMISSIONS
    if document not in documents.NAMES:
        return ""
    return documents.of(document, subject.access, beside=subject.beside)


def exemption(arn: str) -> str:
    """Return what a Deny statement needs to spare one role.

    `aws:PrincipalArn` is the role's ARN in every call of its sessions (IAM guide, "AWS global condition context keys").
    All conditions of a statement have to be met for its Deny, so one more never denies more.
    """
    return json.dumps({"Condition": {"ArnNotEquals": {"aws:PrincipalArn": arn}}}, indent=2)


# Document → the command, run in the customer's account, whose output tells apart what AWS's answers to us do not.
DECIDES = {
    # No such role; another ARN; or the principal, the External ID, the conditions and the action as they stand.
    refusals.TRUST: 'aws iam get-role --role-name {role_name} --query "Role.[Arn,AssumeRolePolicyDocument]"',
    # Which policies are attached, and what each allows on which Resource.
    refusals.PERMISSIONS: (
        "aws iam get-account-authorization-details --filter Role LocalManagedPolicy --query "
        "\"[RoleDetailList[?RoleName=='{role_name}'].[AttachedManagedPolicies,RolePolicyList],"
        'Policies[].[PolicyName,PolicyVersionList[?IsDefaultVersion].Document]]"'
    ),
    # No statement, another principal, or a condition.
    refusals.KEY_POLICY: (
        "aws kms get-key-policy --region {region} --key-id {key_arn} --policy-name default --query Policy --output text"
    ),
    # Run by an administrator of the key's account: it is there, or it is not.
    refusals.KEY: "aws kms describe-key --region {region} --key-id {key_arn}",
}


def decides(document: str, possible: Sequence[str], subject: Subject) -> str:
    """Return the one command whose output would decide between the causes; "" when there is only one left."""
    return render(DECIDES.get(document, ""), subject, {}) if len(possible) > 1 else ""
