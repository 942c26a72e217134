"""The fixed vocabulary of causes: each with its step of the guide, what to change, and the document to change; pure.

The labels are shared by test, API, support and documentation. The sentences carry no tenant's values: an
error that somebody pasted names none that we could trust. `keys.proof.encryption_test.remedies` says the same in the
tenant's own values.
"""

from __future__ import annotations

from dataclasses import dataclass

from byokportal.translation import lazy
from keys.proof.diagnosis.error_grammar import AwsError

TRUST, PERMISSIONS, KEY_POLICY = "trust policy", "permissions policy", "key policy"
NOWHERE = 0  # the step of a cause that mends itself


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause: the step of the guide, the remedy in a sentence, and the document to change.

    In a remedy `%(action)s` stands for what was refused, `%(caller)s` for whom, `%(where)s` for the policy of the
    caller that decided, `%(beside)s` for what that says of the role for us, and `%(fault)s` for what AWS does not save.
    """

    step: int
    remedy: str
    document: str = ""


def _of(step: int, document: str = "", **remedies: str) -> dict[str, Cause]:
    return {label: Cause(step, remedy, document) for label, remedy in remedies.items()}


KEY = _of(
    1,
    key_not_found=lazy(
        "Copy the ARN from the page of your key in the AWS console and give it again: AWS knows no such key."
    ),
    key_wrong_region=lazy(
        "Give the ARN of the key in the Region where it lives: the Region in the ARN and the Region "
        "that was asked are not the same."
    ),
    key_arn_malformed=lazy(
        "Copy the whole ARN from the page of your key (arn:aws:kms:Region:account:key/id) and give "
        "it again: what we have is none."
    ),
    key_arn_changed=lazy("Give the ARN of the key again: another key than the one given has answered."),
    alias_not_found=lazy(
        "Give the ARN of the key itself (key/…): the alias does not exist in this account and Region."
    ),
    alias_given_instead_of_key=lazy(
        "Give the ARN of the key itself (key/…), not of an alias: an alias can be pointed at another key at any time."
    ),
    aws_managed_key=lazy(
        "Create a customer managed key and give its ARN: the policy of an AWS managed key (aws/…) cannot be edited."
    ),
    key_disabled=lazy("Enable the key: aws kms enable-key --key-id <your key ARN>."),
    key_pending_deletion=lazy(
        "Cancel the deletion of the key, then enable it: aws kms cancel-key-deletion, then aws kms enable-key."
    ),
    key_pending_replica_deletion=lazy(
        "Cancel the deletion of the multi-Region key, then enable it: its primary waits until the replicas are gone."
    ),
    key_pending_import=lazy("Import key material into the key: it has none yet, so it can encrypt nothing."),
    key_material_expired_or_deleted=lazy("Import the same key material again: it has expired or was deleted."),
    key_wrong_usage=lazy(
        "Give a key whose usage is ENCRYPT_DECRYPT: this one is for signing, MACs or key agreement. "
        "The usage cannot be changed, so create a key."
    ),
    key_wrong_spec=lazy(
        "Give a key whose spec is SYMMETRIC_DEFAULT: this one's spec does not fit. The spec cannot "
        "be changed, so create a key."
    ),
    key_wrong_origin=lazy(
        "Give a key whose origin fits the operation: this one's key material comes from elsewhere "
        "(imported or in a key store)."
    ),
    mrk_replica_missing=lazy(
        "Give the ARN of the multi-Region key in a Region where it or a replica exists, or replicate it to this Region."
    ),
    mrk_replica_creating=lazy("Wait until AWS has made the replica (usually a minute), then test again."),
    mrk_primary_updating=lazy(
        "Wait until AWS has changed the primary Region of the key (usually a minute), then test again."
    ),
    mrk_not_primary=lazy(
        "Do this on the primary of the multi-Region key: the ARN given is that of a replica or of a single-Region key."
    ),
    custom_key_store_disconnected=lazy(
        "Connect the custom key store of the key again: while it is disconnected AWS KMS cannot use the key."
    ),
    custom_key_store_cloudhsm_unreachable=lazy(
        "Bring the AWS CloudHSM cluster behind the key store back (at least two active HSMs, its "
        "security group open), then connect the store again."
    ),
    xks_proxy_unreachable=lazy(
        "Bring the proxy of your external key store back on the network, and check its endpoint: AWS "
        "KMS does not reach it."
    ),
    xks_proxy_timeout=lazy(
        "Ask the administrator of your external key store proxy why it answers too slowly (AWS KMS "
        "waits 250 ms), then test again."
    ),
    xks_proxy_credentials_wrong=lazy(
        "Set the proxy credential of your external key store again: the proxy does not accept the "
        "one that AWS KMS signs with."
    ),
    xks_proxy_misconfigured=lazy(
        "Correct the configuration of your external key store: URI path, endpoint or VPC endpoint "
        "service are not what the proxy has."
    ),
    xks_proxy_tls=lazy(
        "Renew or correct the TLS certificate of your external key store proxy: AWS KMS cannot open "
        "a TLS connection to it."
    ),
    xks_proxy_bad_response=lazy(
        "Ask the vendor of your external key store proxy: AWS KMS cannot read what it answers."
    ),
    xks_proxy_unhealthy=lazy("Ask the administrator of your external key store proxy: it reports itself as unhealthy."),
    xks_proxy_denied=lazy(
        "Allow our use of the key in the authorization rules of your external key store proxy: the "
        "proxy refused, not AWS."
    ),
    xks_external_key_not_found=lazy(
        "Bring the external key back in your external key manager under the same id: the proxy does not find it."
    ),
    xks_external_key_disabled=lazy("Enable the external key in your external key manager."),
    xks_external_key_wrong_usage=lazy(
        "Let the external key do both encryption and decryption (AES-256) in your external key manager."
    ),
    xks_key_manager_unreachable=lazy("Bring your external key manager back: the proxy answers, but does not reach it."),
    kms_quota_reached=lazy(
        "Your account has reached a quota of AWS KMS (%(fault)s). Remove what is no longer needed, "
        "or ask AWS in Service Quotas to raise it, then do this again."
    ),
    xks_throttled=lazy(
        "Raise the request rate that your external key store proxy or key manager takes, or lower the load on it."
    ),
)
ROLE = (
    _of(
        2,
        role_not_found=lazy(
            "Check that the role exists and that the Role ARN given to us is its own, letter by letter "
            "(account, path, capitals)."
        ),
        role_arn_malformed=lazy(
            "Copy the whole Role ARN from the page of your role (arn:aws:iam::account:role/name) and "
            "give it again: what we have is none."
        ),
        role_arn_is_not_a_role=lazy(
            "Give the ARN of an IAM role (…:role/name): a user, a session or the account itself cannot be assumed."
        ),
        wrong_partition=lazy(
            "Give a role and a key in the partition of our service role: AWS, AWS China and AWS GovCloud "
            "(US) do not trust each other's identities."
        ),
        role_max_session_duration_exceeded=lazy(
            "Set the maximum session duration of the role to one hour or more, or tell us, and we ask for less."
        ),
        iam_quota_reached=lazy(
            "Your account or role has reached a quota of IAM (%(fault)s). Remove what is no longer "
            "needed, or ask AWS in Service Quotas to raise it, then do this step again."
        ),
        caller_not_allowed=(lazy("%(caller)s lacks %(action)s. Ask your administrator to %(where)s. %(beside)s")),
        customer_scp_deny=lazy(
            "Ask whoever runs your AWS Organization to let the service control policy allow %(action)s "
            "for the role; nothing in your account mends it."
        ),
    )
    | _of(
        2,
        TRUST,
        trust_policy_principal_mismatch=lazy(
            "Put our Service Role ARN, exactly as your set-up page shows it, as the principal into the "
            "trust policy of your role."
        ),
        external_id_mismatch=lazy(
            "Put the External ID, exactly as your set-up page shows it, as sts:ExternalId (StringEquals) "
            "into the trust policy of your role."
        ),
        trust_policy_condition_failed=lazy(
            "Take every condition other than sts:ExternalId out of the trust policy's statement for our "
            "service role (MFA, source address, tags)."
        ),
        trust_policy_missing_action=lazy("Let the trust policy of your role allow sts:AssumeRole to our service role."),
        trust_policy_explicit_deny=lazy(
            "Keep the Deny in the trust policy of your role, and let it spare our service role: add "
            "ArnNotEquals on aws:PrincipalArn with our Service Role ARN to its Condition, or to the list "
            "that is there."
        ),
        trust_policy_missing_tag_session=lazy(
            "Add sts:TagSession to the actions of the trust policy's statement for our service role."
        ),
        trust_policy_missing_set_source_identity=lazy(
            "Add sts:SetSourceIdentity to the actions of the trust policy's statement for our service role."
        ),
        trust_policy_invalid_principal=lazy(
            "Copy our Service Role ARN from your set-up page into the trust policy again: AWS knows no such principal."
        ),
        trust_policy_malformed=lazy(
            "AWS does not save this trust policy: %(fault)s. Paste it into the paste box of step 2: it "
            "names the line and gives the text as it has to read."
        ),
        trust_policy_too_large=lazy(
            "The trust policy of the role is too long: %(fault)s. Use a role of its own for us, with the "
            "trust policy of your set-up page and nothing else in it."
        ),
    )
    | _of(
        2,
        PERMISSIONS,
        role_permissions_policy_missing_action=lazy(
            "Add %(action)s to the permissions policy that is attached to your role; the one on your "
            "set-up page has all that we need. If it is there already, a condition of that statement is "
            "not met: take it out."
        ),
        role_permissions_policy_wrong_key_arn=lazy(
            "Set the Resource of your role's permissions policy to your key's own ARN (not an alias, "
            "another key or another Region)."
        ),
        role_permissions_policy_explicit_deny=lazy(
            "Keep the Deny on %(action)s in the policies attached to your role, and let it spare this "
            "role: add ArnNotEquals on aws:PrincipalArn with your Role ARN to its Condition, or to the "
            "list that is there."
        ),
        permissions_policy_malformed=lazy(
            "AWS does not save this permissions policy: %(fault)s. Paste it into the paste box of step "
            "2: it names the line and gives the text as it has to read."
        ),
        permissions_policy_too_large=lazy(
            "The permissions policies are too long: %(fault)s. Attach the policy of your set-up page as "
            "a managed policy of its own to a role that is for us alone."
        ),
        role_permissions_boundary=lazy(
            "Let the permissions boundary of your role allow %(action)s on your key; a boundary limits "
            "whatever the other policies allow."
        ),
    )
)
KEY_DOCUMENT = _of(
    3,
    KEY_POLICY,
    key_policy_missing_statement=lazy("Add the statement from your set-up page to the policy of your key."),
    key_policy_wrong_principal=lazy(
        "Put your Role ARN, letter by letter, as the principal into the statement of your key's policy."
    ),
    key_policy_missing_action=lazy(
        "Add %(action)s to the statement for your role in your key's policy; the one on your set-up "
        "page has all that we need."
    ),
    key_policy_condition_failed=lazy(
        "Take the conditions (such as kms:ViaService or aws:SourceIp) out of the statement for your "
        "role in your key's policy."
    ),
    key_policy_explicit_deny=lazy(
        "Keep the Deny in your key's policy, and let it spare your role: add ArnNotEquals on "
        "aws:PrincipalArn with your Role ARN to its Condition, or to the list that is there."
    ),
    key_policy_invalid_principal=lazy(
        "Check that the role exists, then put its ARN into the key policy again: AWS does not save a "
        "principal that it does not know."
    ),
    key_policy_malformed=lazy(
        "AWS does not save this key policy: %(fault)s. Paste it into the paste box of step 3: it "
        "names the line and gives the whole policy as it has to read."
    ),
    key_policy_too_large=lazy(
        "The key policy is too long: %(fault)s. Take statements out that nobody needs, or put "
        "several principals into one statement, then add the statement of your set-up page again."
    ),
    key_policy_lockout_check=lazy(
        "Keep the statement that lets your own administrators change the key policy: AWS refuses a "
        "policy that would lock you out."
    ),
) | _of(
    3,
    customer_rcp_deny=lazy(
        "Ask whoever runs your AWS Organization to let the resource control policy allow %(action)s "
        "to us; nothing in your account mends it."
    ),
    grant_missing=lazy(
        "Add the statement from your set-up page to the policy of your key, or create the grant "
        "again: no grant allows this."
    ),
)
OURS = _of(
    5,
    our_identity_policy_missing_assume_role=lazy("Kore.ai adds the Role ARN to the policy of its service role."),
    our_identity_policy_missing_tag_session=lazy(
        "Kore.ai lets its service role tag the session, or stops sending tags."
    ),
    our_identity_policy_missing_set_source_identity=lazy(
        "Kore.ai lets its service role set the source identity, or stops sending it."
    ),
    our_explicit_deny=lazy("Kore.ai finds the policy on its own side that denies this and corrects it."),
    our_session_policy=lazy("Kore.ai corrects the session policy that it sends with its requests."),
    our_session_policy_too_large=lazy("Kore.ai makes the session policy and tags that it sends smaller."),
    our_vpc_endpoint_policy=lazy("Kore.ai lets the policy of its VPC endpoint allow this."),
    our_credentials_missing=lazy("Kore.ai gives its service its AWS credentials back."),
    our_credentials_invalid=lazy("Kore.ai replaces the AWS credentials of its service: AWS does not know them."),
    our_credentials_expired=lazy("Kore.ai renews the AWS credentials of its service and tries again."),
    our_session_token_missing=lazy("Kore.ai sends the session token with its temporary credentials."),
    assumed_session_expired=lazy("Kore.ai assumes the role again and repeats the request: the session had run out."),
    our_web_identity_token_expired=lazy("Kore.ai gets a fresh identity token for its service and tries again."),
    our_clock_skew=lazy("Kore.ai sets the clock of its machine right."),
    our_signature_mismatch=lazy("Kore.ai checks its secret access key and how its requests are signed."),
    our_root_user_caller=lazy("Kore.ai calls as a role or user: AWS lets no root user assume a role."),
    our_duration_exceeds_chaining_limit=lazy(
        "Kore.ai asks for a session of one hour or less: chained roles get no more."
    ),
    our_invalid_request_parameter=lazy("Kore.ai corrects a parameter of its request."),
    our_network_unreachable=lazy(
        "Kore.ai tries again and checks its network: no answer came from AWS, so nothing is known of your set-up."
    ),
    external_id_invalid_format=lazy(
        "Kore.ai sends an External ID that AWS takes (2 to 1,224 letters, digits and + = , . @ : / -)."
    ),
    sts_region_disabled=lazy(
        "Kore.ai asks STS in another Region (us-east-1 is always on); if it is your account that AWS "
        "names, turn STS on for the Region in IAM, Account settings."
    ),
    sts_optin_region_token=lazy(
        "Kore.ai asks for tokens that opt-in Regions accept (a regional STS endpoint, or version 2 tokens)."
    ),
    sts_throttled=lazy("Kore.ai asks STS less often and tries again."),
    kms_throttled=lazy(
        "Kore.ai asks AWS KMS less often and tries again; the quota is that of your account, so tell "
        "us if other work of yours uses KMS heavily."
    ),
    new_account_not_ready=lazy("Wait until AWS has finished setting up the account (up to a day), then try again."),
    ciphertext_invalid=lazy(
        "Kore.ai checks that the ciphertext arrived unchanged: it is damaged, cut off or encoded twice."
    ),
    encryption_context_mismatch=lazy("Kore.ai sends the same encryption context for decrypting as for encrypting."),
    ciphertext_from_other_key=lazy(
        "Kore.ai decrypts with the key that encrypted: this ciphertext belongs to another key."
    ),
    plaintext_too_large=lazy(
        "Kore.ai encrypts at most 4,096 bytes with the key itself and larger data with a data key."
    ),
    dry_run_ok=lazy("Nothing is wrong: the dry run says that the request would have been allowed."),
)
ITSELF = _of(
    NOWHERE,
    iam_throttled=lazy(
        "Wait a minute, then do it again: IAM takes only so many requests at a time from one "
        "account. It says nothing of your set-up."
    ),
    propagation_delay=lazy(
        "Wait five minutes after the last change, then test again: AWS needs time until every endpoint knows it."
    ),
)

CAUSES: dict[str, Cause] = KEY | ROLE | KEY_DOCUMENT | OURS | ITSELF


# Actions on the policy and the grants of a key, which step 3 is about; all others on keys belong to step 1.
ON_KEY_POLICY = {
    "putkeypolicy",
    "getkeypolicy",
    "listkeypolicies",
    "creategrant",
    "listgrants",
    "retiregrant",
    "revokegrant",
}
USING = ("encrypt", "decrypt", "reencrypt", "generatedatakey", "describekey")


def steps(labels: tuple[str, ...], error: AwsError) -> tuple[int, ...]:
    """Return the steps in which the remedies of the causes lie, in the order of the causes."""
    return tuple(dict.fromkeys(step for label in labels if (step := step_of(label, error)) != NOWHERE))


def step_of(label: str, error: AwsError) -> int:
    """Return the step of one cause: that of the label, or of what the caller was about to do."""
    service, _, action = error.operation.lower().partition(":")
    if label == "customer_rcp_deny" and service == "sts":
        # Such a policy stands before the role that is assumed, else before the key.
        return 2
    if label == "caller_not_allowed" and service == "kms":
        return 3 if action in ON_KEY_POLICY or action.startswith(USING) else 1
    return CAUSES[label].step
