"""AWS's codes and the names of parameters → causes, where no sentence says more; pure.

Sources: error lists of the KMS, STS and IAM API references; the services that pass KMS's errors on (SNS, SQS, Lambda,
Kinesis, RDS) in theirs; what botocore and the other SDKs call the errors of their own side.
"""

from __future__ import annotations

import re

STATES = (
    "key_disabled",
    "key_pending_deletion",
    "key_pending_replica_deletion",
    "key_pending_import",
    "key_material_expired_or_deleted",
    "custom_key_store_disconnected",
    "mrk_replica_creating",
    "mrk_primary_updating",
)
CONTEXT = ("encryption_context_mismatch", "ciphertext_invalid")
# A key id that KMS does not know: absent, in another Region, or a replica that was never made.
NO_KEY = ("key_not_found", "key_wrong_region")
TOKEN = ("our_credentials_invalid", "our_session_token_missing", "sts_optin_region_token")
INACCESSIBLE = (
    "key_not_found",
    "key_wrong_region",
    "key_disabled",
    "key_pending_deletion",
    "key_policy_missing_statement",
    "key_policy_wrong_principal",
    "key_policy_missing_action",
    "role_permissions_policy_missing_action",
    "role_permissions_policy_wrong_key_arn",
)
# EC2 says "incorrect state" also where the key is enabled and the launcher may not use it (Amazon EC2 Auto Scaling
# guide, "Required AWS KMS key policy for use with encrypted volumes"; github.com/hashicorp/packer/issues/12683).
STATE_OR_PERMISSION = (
    "key_disabled",
    "key_pending_deletion",
    "key_pending_import",
    "key_policy_missing_statement",
    "key_policy_wrong_principal",
    "key_policy_missing_action",
    "role_permissions_policy_missing_action",
)
# SNS and DMS: "The ciphertext references a key that doesn't exist or that you don't have access to."
ABSENT_OR_REFUSED = (
    "key_policy_missing_statement",
    "key_policy_wrong_principal",
    "key_policy_missing_action",
    "key_not_found",
    "key_wrong_region",
    "role_permissions_policy_missing_action",
    "role_permissions_policy_wrong_key_arn",
)
NO_ROLE = ("role_not_found",)
REGION_OFF = ("sts_region_disabled", "new_account_not_ready")

# --- codes, as `error_grammar.bare` gives them ----------------------------------------------------------------------

NO_ANSWER = ("our_network_unreachable",)
CODES: dict[str, tuple[str, ...]] = {
    "disabled": ("key_disabled",),
    "keydisabled": ("key_disabled",),
    "invalidstate": STATES,
    "invalidkeystate": STATES,
    # Secrets Manager: "Check that the KMS key is available, enabled, and not in an invalid state."
    "encryptionfailure": STATE_OR_PERMISSION,
    "decryptionfailure": STATE_OR_PERMISSION,
    "invalidciphertext": CONTEXT,
    "incorrectkey": ("ciphertext_from_other_key",),
    "dryrunoperation": ("dry_run_ok",),
    "notfound": NO_KEY,
    "invalidkeyusage": ("key_wrong_usage", "key_wrong_spec"),
    "unsupportedoperation": ("key_wrong_origin", "key_wrong_usage", "key_wrong_spec", "mrk_not_primary"),
    "invalidarn": ("key_arn_malformed", "alias_given_instead_of_key"),
    "invalidaliasname": ("alias_not_found", "alias_given_instead_of_key"),
    "invalidkeyid": ("key_arn_malformed", *NO_KEY),
    "invalidkey": ("key_arn_malformed", *NO_KEY),
    "incorrectkeymaterial": ("key_pending_import", "key_material_expired_or_deleted"),
    "expiredimporttoken": ("key_pending_import", "key_material_expired_or_deleted"),
    "invalidimporttoken": ("key_pending_import", "key_material_expired_or_deleted"),
    "invalidgranttoken": ("grant_missing",),
    "invalidgrantid": ("grant_missing",),
    "customkeystoreinvalidstate": ("custom_key_store_disconnected",),
    "customkeystorenotfound": ("custom_key_store_disconnected",),
    "cloudhsmclusternotactive": ("custom_key_store_cloudhsm_unreachable",),
    "cloudhsmclusternotfound": ("custom_key_store_cloudhsm_unreachable",),
    "cloudhsmclusternotrelated": ("custom_key_store_cloudhsm_unreachable",),
    "cloudhsmclusterinvalidconfiguration": ("custom_key_store_cloudhsm_unreachable",),
    "kmskeynotaccessible": INACCESSIBLE,
    "keynotaccessible": INACCESSIBLE,
    "inaccessiblekms": INACCESSIBLE,
    "xkskeynotfound": ("xks_external_key_not_found",),
    "xkskeyinvalidconfiguration": ("xks_external_key_wrong_usage", "xks_external_key_disabled"),
    "xksproxyincorrectauthenticationcredential": ("xks_proxy_credentials_wrong",),
    "xksproxyinvalidconfiguration": ("xks_proxy_misconfigured", "xks_proxy_tls"),
    "xksproxyinvalidresponse": ("xks_proxy_bad_response",),
    "xksproxyuriunreachable": (
        "xks_proxy_unreachable",
        "xks_key_manager_unreachable",
        "xks_proxy_unhealthy",
        "xks_proxy_timeout",
        "xks_proxy_tls",
    ),
    "xksproxyvpcendpointservicenotfound": ("xks_proxy_misconfigured",),
    "xksproxyvpcendpointserviceinvalidconfiguration": ("xks_proxy_misconfigured",),
    "xksproxyvpcendpointserviceinuse": ("xks_proxy_misconfigured",),
    "xksproxyuriinuse": ("xks_proxy_misconfigured",),
    "xksproxyuriendpointinuse": ("xks_proxy_misconfigured",),
    "regiondisabled": REGION_OFF,
    "packedpolicytoolarge": ("our_session_policy_too_large",),
    "invalididentitytoken": ("our_web_identity_token_expired", "our_credentials_invalid"),
    "idprejectedclaim": ("our_web_identity_token_expired", "our_credentials_invalid"),
    "idpcommunication": ("our_network_unreachable", "our_web_identity_token_expired"),
    "invalidclienttokenid": TOKEN,
    "unrecognizedclient": TOKEN,
    "invalidaccesskeyid": TOKEN,
    "invalidtoken": TOKEN,
    "authfailure": TOKEN,
    "notauthorized": TOKEN,
    "optinrequired": ("new_account_not_ready", "sts_region_disabled"),
    "subscriptionrequired": ("new_account_not_ready",),
    "pendingverification": ("new_account_not_ready",),
    "signaturedoesnotmatch": ("our_signature_mismatch", "our_clock_skew"),
    "invalidsignature": ("our_signature_mismatch", "our_clock_skew"),
    "incompletesignature": ("our_signature_mismatch",),
    "requestexpired": ("our_clock_skew",),
    "requesttimetooskewed": ("our_clock_skew",),
    "missingauthenticationtoken": ("our_credentials_missing",),
    "nocredentials": ("our_credentials_missing",),
    "nocredentialproviders": ("our_credentials_missing",),
    "partialcredentials": ("our_credentials_missing",),
    "credentialretrieval": ("our_credentials_missing",),
    "credentialsprovider": ("our_credentials_missing",),
    "credentials": ("our_credentials_missing",),
    "missingcredentials": ("our_credentials_missing",),
    "profilenotfound": ("our_credentials_missing",),
    "unauthorizedssotoken": ("our_credentials_expired",),
    "noregion": ("our_invalid_request_parameter",),
    "invalidregion": ("key_arn_malformed",),
    "unknownendpoint": ("key_arn_malformed",),
    "invalidaction": ("our_invalid_request_parameter",),
    "malformedquerystring": ("our_invalid_request_parameter",),
    "invalidparametervalue": ("our_invalid_request_parameter",),
    "invalidparametercombination": ("our_invalid_request_parameter",),
    "connecttimeout": NO_ANSWER,
    "readtimeout": NO_ANSWER,
    "endpointconnection": NO_ANSWER,
    "connectionclosed": NO_ANSWER,
    "connection": NO_ANSWER,
    "proxyconnection": NO_ANSWER,
    "httpclient": NO_ANSWER,
    "ssl": NO_ANSWER,
    "networking": NO_ANSWER,
    "timeout": NO_ANSWER,
    "requesttimeout": NO_ANSWER,
    "unknownhost": NO_ANSWER,
    "keyunavailable": ("our_network_unreachable", "kms_throttled"),
    "dependencytimeout": ("our_network_unreachable", "kms_throttled"),
    "internal": ("our_network_unreachable", "kms_throttled"),
    "serviceunavailable": ("our_network_unreachable", "kms_throttled"),
    "internalfailure": ("our_network_unreachable", "kms_throttled"),
}
# The session policy of ours that STS cannot read; the documents that IAM and KMS do not save are in `saving`.
MALFORMED_POLICY = "malformedpolicydocument"
SESSION_POLICY = ("our_invalid_request_parameter", "our_session_policy")
EXPIRED = {"expiredtoken", "tokenrefreshrequired"}
THROTTLED = {
    "throttling",
    "throttled",
    "requestthrottled",
    "toomanyrequests",
    "requestlimitexceeded",
    "slowdown",
    "limitexceeded",
    "priorrequestnotcomplete",
}
DENIED = {
    "accessdenied",
    "unauthorizedoperation",
    "unauthorized",
    "kmsaccessdenied",
    "authorizationerror",
    "authorization",
}
VALIDATION = {
    "validation",
    "paramvalidation",
    "invalidparameter",
    "missingparameter",
    "missingrequiredparameter",
    "invalidparametertype",
    "multiplevalidationerrors",
    "serialization",
    "invalidinput",
    "argument",
    "modeledinvalid",
}

KNOWN = CODES.keys() | EXPIRED | THROTTLED | DENIED | VALIDATION | {MALFORMED_POLICY}

# --- a parameter that AWS or the SDK refuses ------------------------------------------------------------------

OUR_PARAMETERS = (
    "durationseconds",
    "rolesessionname",
    "policyarns",
    "transitivetagkeys",
    "sourceidentity",
    "serialnumber",
    "tokencode",
    "numberofbytes",
    "granttokens",
    "encryptioncontext",
    "encryptionalgorithm",
    "providedcontexts",
    "webidentitytoken",
    "keyspec",
    "tags",
    "policy",
    "dryrun",
)
PARAMETERS: dict[str, tuple[str, ...]] = {
    "rolearn": ("role_arn_malformed",),
    "keyid": ("key_arn_malformed",),
    "sourcekeyid": ("key_arn_malformed",),
    "destinationkeyid": ("key_arn_malformed",),
    "externalid": ("external_id_invalid_format",),
    "plaintext": ("plaintext_too_large",),
    "ciphertextblob": ("ciphertext_invalid",),
    **dict.fromkeys(OUR_PARAMETERS, ("our_invalid_request_parameter",)),
}
PARAMETER = re.compile(r"[a-z_]{4,24}")
# Below this the SDK lists what it would have taken.
CHOICES = re.compile(r"must be one of|valid types|allowed values|enum value set")
INVALID = re.compile(
    r"validation error|failed to satisfy|parameter validation|(?:invalid|missing|unexpected"
    r"|unknown) (?:\w+ ){0,3}(?:parameter|field|key|length|type|value)|expected params|"
    r"required (?:parameter|field|key)|minimum field size|error\(?s?\)? found|must contain the parameter"
    r"|found \d+ errors? while validating|expected string length|(?:null|none)\b.{0,60}(?:rolearn|keyid|externalid)"
    r"|is a required parameter"
)
