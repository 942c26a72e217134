"""Fixed sentences of AWS and its SDKs → causes; what says so for certain, without a policy in play; pure.

Sources: KMS guide, "Key states of KMS keys" (table of details) and "Troubleshooting external key stores"; error
lists of the KMS and STS API references; answers of AWS recorded in public; what botocore and the other SDKs say on
the client's side.
"""

from __future__ import annotations

import re

from keys.proof.diagnosis import callers
from keys.proof.diagnosis.codes import (
    ABSENT_OR_REFUSED,
    CONTEXT,
    INACCESSIBLE,
    NO_KEY,
    NO_ROLE,
    REGION_OFF,
    STATE_OR_PERMISSION,
    STATES,
)

# The first that is found decides, so the narrower stands first. Searched in small letters with single blanks.
SENTENCES: tuple[tuple[str, tuple[str, ...]], ...] = (
    # external key stores (the first sentence of each message)
    (r"proxy rejected the request because of an invalid uri path", ("xks_proxy_misconfigured",)),
    (
        r"cannot establish a tls connection|xks_proxy_invalid_tls|certificate .{0,80}external key store proxy",
        ("xks_proxy_tls",),
    ),
    (r"could not authenticate aws kms|proxy credentials failed to authenticate", ("xks_proxy_credentials_wrong",)),
    (
        r"kms cannot (?:communicate with|connect to|reach) the external key store proxy",
        ("xks_proxy_unreachable", "xks_proxy_misconfigured"),
    ),
    (r"proxy did not respond (?:in time|to the request in the time)|xks_proxy_timed_out", ("xks_proxy_timeout",)),
    (
        (
            r"(?:cannot|could not|unable to) (?:communicate with|reach|connect to) the external key manager"
            r"|proxy .{0,60}external key manager .{0,40}(?:unavailable|unreachable|not (?:available|reachable))"
            r"|external key manager is (?:unavailable|unreachable|not reachable)"
        ),
        ("xks_key_manager_unreachable",),
    ),
    (r"external key store proxy is in an unhealthy state|proxy is unhealthy", ("xks_proxy_unhealthy",)),
    (r"cannot interpret the response", ("xks_proxy_bad_response",)),
    (r"proxy denied access to the operation|xks_proxy_access_denied", ("xks_proxy_denied",)),
    (r"could not find the external key\b", ("xks_external_key_not_found",)),
    (r"external key is not enabled|status of the external key must be enabled", ("xks_external_key_disabled",)),
    (
        r"external key does not support the requested|usage of the external key must|key spec of the external key must",
        ("xks_external_key_wrong_usage",),
    ),
    (
        r"it does not support the requested (?:cryptographic )?operation",
        ("xks_external_key_wrong_usage", "xks_proxy_misconfigured", "xks_proxy_bad_response"),
    ),
    (
        (
            r"(?:ciphertext|additional authenticated data).{0,120}(?:corrupted"
            r"|missing),? (?:missing, )?or otherwise invalid"
        ),
        CONTEXT,
    ),
    (
        (
            r"(?:proxy|external key (?:store|manager)).{0,160}(?:request rate|throttl|too many|capacity|exceeded"
            r"|rate limit)|due to a high (?:request rate|rate of requests)"
        ),
        ("xks_throttled",),
    ),
    (
        (
            r"external key store proxy.{0,80}(?:configur|vpc endpoint service|uri)|xks_proxy_invalid_configuration"
            r"|xks_vpc_endpoint"
        ),
        ("xks_proxy_misconfigured",),
    ),
    (r"xks_proxy_not_reachable", ("xks_proxy_unreachable", "xks_key_manager_unreachable")),
    # custom key stores
    (r"(?<!origin is aws_)cloudhsm|cluster_not_found|user_locked_out", ("custom_key_store_cloudhsm_unreachable",)),
    (
        (
            r"key.{0,300} is unavailable\b|connectionstate of the custom key store"
            r"|custom key store .{0,60}(?:is not connected|disconnected|connectionstate)|key state .{0,20}unavailable"
        ),
        ("custom_key_store_disconnected",),
    ),
    # key states; where another service tells nothing apart, any of these and any policy
    (
        (
            r"does not exist,? .{0,80}(?:not|n't) have permission|kms ?key ?(?:is )?not ?accessible|(?:kms"
            r"|encryption) key .{0,40}inaccessible"
        ),
        INACCESSIBLE,
    ),
    (
        callers.IN_ANOTHER_SERVICE.pattern,
        STATE_OR_PERMISSION,
    ),
    (callers.ABSENT_OR_REFUSED.pattern, ABSENT_OR_REFUSED),
    (r"pending deletion \(or pending replica deletion\)", ("key_pending_deletion", "key_pending_replica_deletion")),
    (r"pending replica deletion|pendingreplicadeletion", ("key_pending_replica_deletion", "key_pending_deletion")),
    # CancelKeyDeletion of a key that was saved already: it stays disabled.
    (r"is not pending deletion", ("key_disabled",)),
    (r"pending deletion|pendingdeletion", ("key_pending_deletion", "key_pending_replica_deletion")),
    (r"pending import|pendingimport", ("key_pending_import", "key_material_expired_or_deleted")),
    (r"key material .{0,60}(?:expired|deleted)", ("key_material_expired_or_deleted", "key_pending_import")),
    (r"\bis creating\b", ("mrk_replica_creating",)),
    (r"\bis updating\b", ("mrk_primary_updating",)),
    (r"not in (?:a |an? )?valid state|in an (?:invalid|incorrect|inactive) state|not in a usable state", STATES),
    (r"\bis disabled\b|(?:cmk|key) is not enabled|key .{0,80}\bdisabled\b", ("key_disabled",)),
    (r"state of the (?:specified resource|kms key).{0,20} not valid", STATES),
    # the kind of key
    (r"is not a multi-?region (?:primary )?key|not a multi-?region primary", ("mrk_not_primary",)),
    (
        (
            r"key usage is \w+,? which is not valid|(?:key ?usage|keyusage) .{0,60}(?:not valid|incompatible"
            r"|not supported)"
        ),
        ("key_wrong_usage",),
    ),
    (
        (
            r"incompatible with (?:the )?key ?spec|keyspec .{0,60}(?:not valid|incompatible)"
            r"|not compatible with (?:the )?key ?spec"
        ),
        ("key_wrong_spec",),
    ),
    (r"origin is \w+,? which is not valid|unsupported origin", ("key_wrong_origin",)),
    # which key
    (r"key aliases are not supported|alias.{0,40}(?:is|are) not supported", ("alias_given_instead_of_key",)),
    (
        r"\balias\b.{0,300}(?:is not found|not found|does not exist)|invalid alias",
        ("alias_not_found", "alias_given_instead_of_key"),
    ),
    (r"specified entity or resource could not be found", NO_KEY),
    (
        (
            r"invalid arn\b(?! arn)|\bis not in (?:this|the same) region|arn is in a different region"
            r"|in a different (?:aws )?region than"
        ),
        ("key_wrong_region",),
    ),
    (
        (
            r"invalid key ?id|invalid keyid|key ?id .{0,300}is not (?:a )?valid|malformed (?:key )?arn"
            r"|not a valid (?:kms )?key|arn .{0,300}is not valid|illegal arn"
        ),
        ("key_arn_malformed",),
    ),
    (
        (
            r"invalid endpoint: https?://kms\.\.|provided region_name '[^']{0,200}' doesn't match|unknown endpoint"
            r"|invalid ?region|not a valid (?:aws )?region|unable to construct an endpoint|no region (?:found"
            r"|determinable)|region .{0,40}is not valid"
        ),
        ("key_arn_malformed",),
    ),
    (r"key '?arn:aws[^ ]{0,300}:key/mrk-[^ ]{0,60} does not exist", (*NO_KEY, "mrk_replica_missing")),
    (
        (
            r"key '?[^ ]{0,2000} does not exist|(?:cmk|kms key|customer master key)\b.{0,200}(?:not found"
            r"|cannot be found|does not exist)"
        ),
        NO_KEY,
    ),
    (r"partition .{0,20}\baws[a-z-]*\b.{0,20} is not valid|different partition", ("wrong_partition",)),
    # IAM, of step 4
    (r"role with name .{0,200}cannot be found|role .{0,200}(?:not found|does not exist)\b.{0,80}nosuchentity", NO_ROLE),
    # STS
    (r"exceeds the 1 ?hour session limit", ("our_duration_exceeds_chaining_limit",)),
    (r"exceeds the maxsessionduration", ("role_max_session_duration_exceeded",)),
    (r"multifactorauthentication failed|must provide both mfa", ("trust_policy_condition_failed",)),
    (
        r"may not be assumed by root|cannot be called by root|root (?:user|account).{0,60}(?:not|cannot)",
        ("our_root_user_caller",),
    ),
    (r"sts is not activated|not activated in this region", REGION_OFF),
    (
        r"packed (?:policy|size)|allotted space|session policy .{0,40}too (?:large|long)",
        ("our_session_policy_too_large",),
    ),
    (r"transitive tag|tag key.{0,60}(?:conflict|duplicate)|duplicate tag keys", ("our_invalid_request_parameter",)),
    (
        (
            r"(?:web identity|identity ?token|id token|jwt|\btoken)\b.{0,40}expired: current date|token too old"
            r"|web identity token.{0,80}expired"
        ),
        ("our_web_identity_token_expired",),
    ),
    (
        (
            r"couldn't retrieve verification key|incorrect token audience|no openidconnect provider"
            r"|invalid identity token|identity provider"
        ),
        ("our_web_identity_token_expired", "our_credentials_invalid"),
    ),
    # our clock, signature and credentials
    (
        (
            r"signature expired|signature not yet current|request time .{0,40}too large|time too skewed"
            r"|requesttimetooskewed|clock skew|request has expired|is now earlier than|is still later than"
            r"|not within .{0,20}minutes"
        ),
        ("our_clock_skew",),
    ),
    (
        (
            r"signature we calculated does not match|credential should be scoped|authorization header requires"
            r"|signature .{0,60}does not match"
        ),
        ("our_signature_mismatch",),
    ),
    (
        r"no region specified|must specify a region|region is missing|missing region in config",
        ("our_invalid_request_parameter",),
    ),
    (
        (
            r"no (?:valid )?(?:credential )?providers? in chain|unable to (?:locate|load|find) (?:aws )?(?:credentials"
            r"|authorization)|could not (?:load|find) credentials|missing credentials|partial credentials"
            r"|no (?:aws )?credentials|without credentials|couldn't find aws credentials|no ec2 imds role"
            r"|unable to get (?:iam|aws) (?:security )?credentials|(?:retrieve|retrieving|get|load|loading"
            r"|refresh) (?:cached )?(?:static )?credentials.{0,80}(?:empty|imds|metadata|not found|no ec2)"
            r"|missing authentication token|profile .{0,200}could not be found|error when retrieving credentials"
            r"|error retrieving metadata"
        ),
        ("our_credentials_missing",),
    ),
    (r"sso session .{0,80}expired|session has expired", ("our_credentials_expired",)),
    (
        (
            r"need(?:s)? a subscription|not subscribed|not signed up|pending verification|account .{0,60}(?:activation"
            r"|is being verified|not ready)"
        ),
        ("new_account_not_ready",),
    ),
    # rates
    (r"operations involving aws kms", ("kms_throttled",)),
    # requests of ours
    (
        (
            r"identifies? a (?:cmk|kms key) that can perform|key id in the request does not identify"
            r"|cannot decrypt the data|not (?:the )?(?:same )?key .{0,60}encrypt"
        ),
        ("ciphertext_from_other_key",),
    ),
    (r"dryrun option is set|would have succeeded", ("dry_run_ok",)),
)

# --- a denial in somebody else's words ---------------------------------------------------------------------------

DENIAL = re.compile(
    r"access (?:is |was )?denied|accessdenied|403 forbidden|(?:cannot|could not|couldn't|unable to|failed to"
    r"|not able to) (?:be )?assumed?\b|not authorized to assume"
)
ASSUMING = re.compile(r"\bassumed?\b")

# --- no answer -------------------------------------------------------------------------------------------------

SILENCE = re.compile(
    r"time(?:d)? ?-?out|no such host|could not connect|connection (?:refused|reset|closed|was closed|aborted)"
    r"|unreachable|enotfound|econnre|etimedout|"
    r"getaddrinfo|name or service not known|nodename nor servname|unknownhost|temporary failure in name resolution"
    r"|ssl validation failed|failed to connect|"
    r"failed to establish|deadline exceeded|unable to execute http request|bytes read, but total|eof\b|dial tcp"
    r"|remote end closed|network is|tls handshake|request send failed|send request failed|max retries exceeded with url"
    r"|could not resolve|name resolution|proxy url|dns error|trying to connect|lookup address|execution expired"
    r"|no response from"
)
HOST = re.compile(r"\b(?:kms|sts)(?:-fips)?\.([\w-]{0,40})\.(?:amazonaws\.com|api\.aws)")
PATTERNS = tuple((re.compile(pattern), found) for pattern, found in SENTENCES)
