"""What mends it, in the tenant's own values: one sentence for each cause, and the corrected document; pure."""

from __future__ import annotations

from collections.abc import Mapping

from keys.checks.facts import Subject
from keys.policies import documents

SHOW_ROLE = "aws iam get-role --role-name {role_name} --query Role.Arn"
KIND = (
    "Create a symmetric key for encryption (SYMMETRIC_DEFAULT, ENCRYPT_DECRYPT) and give its ARN in step 1; "
    "{key_arn} is of another kind."
)

REMEDIES = {
    # step 2: role and trust policy
    "external_id_mismatch": (
        "Set the trust policy of your role {role_name} to the document below: it names our service role {service_role_arn} and your "
        "External ID {external_id}. AWS says the same when the role does not exist, so compare the Role ARN too: "
        f"{SHOW_ROLE} has to print {{role_arn}}."
    ),
    "trust_policy_explicit_deny": (
        "Remove the Deny statement that covers {service_role_arn} from the trust policy of your role {role_name}; the document below is enough."
    ),
    # step 2: permissions policy
    "role_permissions_policy_missing_action": (
        "Add {pattern} to the actions of the permissions policy of your role {role_name}; the document below has all five. "
        "Check that the policy is attached to the role and that its Resource is {key_arn}."
    ),
    "role_permissions_policy_explicit_deny": "Remove the Deny statement for {action} on {key_arn} from the policies attached to your role {role_name}.",
    "role_permissions_boundary": "Let the permissions boundary of your role {role_name} allow {action} on {key_arn}.",
    "customer_scp_deny": (
        "Ask whoever runs your AWS Organization to let the service control policy allow {action} for {role_arn}; nothing in your account mends it."
    ),
    # step 3: key policy
    "key_policy_missing_statement": (
        "Add the statement below to the key policy of {key_arn}. If it is there, compare its principal: it has to be {role_arn}, without a condition."
    ),
    "key_policy_missing_action": "Add {pattern} to the actions of the statement for {role_arn} in the key policy of {key_arn}; the one below has all five.",
    "key_policy_explicit_deny": "Remove the Deny statement for {action} that covers {role_arn} from the key policy of {key_arn}.",
    "customer_rcp_deny": (
        "Ask whoever runs your AWS Organization to let the resource control policy allow {action} for our use of {role_arn}; "
        "nothing in your account mends it."
    ),
    # step 1: key
    "key_not_found": "Copy the ARN from the page of your key in {region} and give it again in step 1: AWS KMS knows no key {key_arn} there.",
    "key_arn_changed": "Copy the ARN from the page of your key and give it again in step 1: AWS KMS answered with another key than {key_arn}.",
    "key_disabled": "Enable the key: aws kms enable-key --region {region} --key-id {key_arn}.",
    "key_pending_deletion": (
        "Cancel the deletion, then enable the key: aws kms cancel-key-deletion --region {region} --key-id {key_arn} and "
        "aws kms enable-key --region {region} --key-id {key_arn}."
    ),
    "key_pending_replica_deletion": "Cancel the deletion of the multi-Region key {key_arn} and of its replicas, then enable it.",
    "key_pending_import": "Import the key material of {key_arn} again: it was never imported, has expired or was deleted.",
    "custom_key_store_disconnected": "Connect the custom key store of {key_arn} again; while it is disconnected AWS KMS cannot use the key.",
    "key_wrong_usage": KIND,
    "key_wrong_spec": KIND,
    "key_wrong_region": "Give the ARN of a key in {region} in step 1: AWS KMS says that {key_arn} belongs to another Region.",
    "aws_managed_key": "Create a customer managed key and give its ARN in step 1: AWS does not let the policy of an AWS managed key be edited.",
}


def of(cause: str) -> str:
    """Return the template for a cause, or "" when the check has its own."""
    return REMEDIES.get(cause, "")


def render(template: str, subject: Subject, words: Mapping[str, str]) -> str:
    """Fill a template with the tenant's own values."""
    values = {
        "role_name": subject.role_name,
        "role_arn": subject.role_arn,
        "role_account": subject.role_account,
        "key_arn": subject.key_arn,
        "key_account": subject.key_account,
        "region": subject.region,
        "service_role_arn": subject.service_role_arn,
        "external_id": subject.external_id,
    }
    return template.format_map({**values, **words})


def corrected(document: str, subject: Subject) -> str:
    """Return the document as it has to read, in full; "" where nothing is to be pasted (the key itself)."""
    if document not in documents.NAMES:
        return ""
    return documents.of(
        document,
        service_role_arn=subject.service_role_arn,
        external_id=subject.external_id,
        key_arn=subject.key_arn,
        role_arn=subject.role_arn,
    )
