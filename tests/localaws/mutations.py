"""Switch off each rule of the gate in turn, in a copy, and see the conformance table go red: `make mutate`."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GATE, PURE = "byokportal/localaws/", "keys/policies/"


@dataclass(frozen=True)
class Mutation:
    """One rule, and the change that switches it off."""

    rule: str
    file: str
    old: str
    new: str


MUTATIONS = [
    Mutation(
        "the signature is compared",
        GATE + "signatures.py",
        "if not hmac.compare_digest(_signature(request, scope, secret, at), scope.signature):",
        "if False:",
    ),
    Mutation("a clock that is behind is refused", GATE + "signatures.py", "if off > window:", "if False:"),
    Mutation("a clock that is ahead is refused", GATE + "signatures.py", "if off < -window:", "if False:"),
    Mutation("KMS takes five minutes only", GATE + "signatures.py", '"kms": 300,', '"kms": 900,'),
    Mutation("the scope names the service", GATE + "wire.py", "if scope.service != service:", "if False:"),
    Mutation(
        "the scope names a Region",
        GATE + "wire.py",
        "if not moto_adapter.is_region(service, scope.region):",
        "if False:",
    ),
    Mutation(
        "a token belongs to its access key",
        GATE + "identities.py",
        "if session is None or session.access_key_id != access_key_id:",
        "if session is None:",
    ),
    Mutation("a session ends", GATE + "identities.py", "if session.expires_at <= now:", "if False:"),
    Mutation("an access key can be switched off", GATE + "identities.py", ' and key.status == "Active"', ""),
    Mutation(
        "a deleted role's sessions may do nothing",
        GATE + "identities.py",
        "return Caller(principal, (), (), session, access_key_id, tags)",
        "return Caller(principal, (ADMINISTRATOR,), (), session, access_key_id, tags)",
    ),
    Mutation(
        "a principal has to exist",
        GATE + "identities.py",
        "                if not _exists(state, name, now):",
        "                if False:",
    ),
    Mutation(
        "a deleted principal is buried",
        GATE + "iam.py",
        "identities.bury(state, str(about.arn), str(about.id))",
        "pass",
    ),
    Mutation(
        "AssumeRole is authorised", GATE + "sts.py", "if role is None or not evaluation.allowed:", "if role is None:"
    ),
    Mutation(
        "a role has to exist",
        GATE + "identities.py",
        "if role.arn == arn), None)\n        return _role(account, role) if role else None\n    user",
        "if role.arn.lower() == arn.lower()), None)\n        return _role(account, role) if role else None\n    user",
    ),
    Mutation(
        "role chaining lasts an hour",
        GATE + "sts.py",
        "if caller.session is not None and duration > CHAINED:",
        "if False:",
    ),
    Mutation("a role has a longest session", GATE + "sts.py", "if duration > role.max_session:", "if False:"),
    Mutation(
        "the External ID reaches the trust policy", GATE + "sts.py", 'context["sts:ExternalId"] = external_id', "pass"
    ),
    Mutation("the root user assumes no role", GATE + "sts.py", "if caller.principal.is_root:", "if False:"),
    Mutation(
        "parameters have their letters",
        GATE + "constraints.py",
        """ and not _pattern(""",
        " and False and not _pattern(",
    ),
    Mutation("parameters have their least", GATE + "constraints.py", 'if size < facts.get("min", size):', "if False:"),
    Mutation("parameters have their most", GATE + "constraints.py", 'if size > facts.get("max", size):', "if False:"),
    Mutation("parameters are there", GATE + "constraints.py", "if given.get(name) is None:", "if False:"),
    Mutation(
        "parameters are one of a set", GATE + "constraints.py", 'if "enum" in facts and value', "if False and value"
    ),
    Mutation(
        "members of lists are looked at", GATE + "constraints.py", '    elif kind == "list":\n', "    elif False:\n"
    ),
    Mutation("texts in lists are looked at", GATE + "constraints.py", "    if failed:\n", "    if False:\n"),
    Mutation(
        "secrets are not repeated",
        GATE + "constraints.py",
        'if shape.type_name == "blob" or shape.metadata.get("sensitive"):',
        "if False:",
    ),
    Mutation(
        "IAM has words of its own", GATE + "constraints.py", 'if "regular expression" in words and', "if False and"
    ),
    Mutation("a blob is base64", GATE + "shapes.py", "if _decoded(value) is None:", "if False:"),
    Mutation(
        "a number of a form is one",
        GATE + "shapes.py",
        "if not INTEGER.fullmatch(text) or",
        "if not text.isdigit() and False or",
    ),
    Mutation(
        "what is left out is unknown",
        GATE + "operations.py",
        "if name in DONE[service]:",
        "if name in model(service).operation_names:",
    ),
    Mutation("tags need sts:TagSession", GATE + "sts.py", '*(["sts:TagSession"] if tags else [])', "*()"),
    Mutation(
        "a source identity needs its permission",
        GATE + "sts.py",
        '*(["sts:SetSourceIdentity"] if source_identity else [])',
        "*()",
    ),
    Mutation("a session policy is kept", GATE + "sts.py", "        policy=policy,\n", "        policy=None,\n"),
    Mutation("managed session policies count", GATE + "sts.py", "found.append(managed)", "pass"),
    Mutation(
        "a managed session policy has to be there",
        GATE + "sts.py",
        "        if managed is None:",
        "        if managed is None:\n            continue\n        if managed is None:",
    ),
    Mutation("a user has what its group has", GATE + "identities.py", "if user in group.users", "if False"),
    Mutation(
        "everybody named is each session named",
        PURE + "evaluator.py",
        '    if principal == "*":\n        return "exact"',
        '    if principal == "*":\n        return "direct"',
    ),
    Mutation("the organization is known", GATE + "identities.py", "    if caller.organization:", "    if False:"),
    Mutation(
        "parameters have their types",
        GATE + "wire.py",
        "shapes.typed(service, operation, _object(body)) if target",
        "_object(body) if target",
    ),
    Mutation(
        "a grant is for a role, not for its name",
        GATE + "identities.py",
        "grant.grantee_principal = unique_id if grant.grantee_principal == arn else grant.grantee_principal",
        "pass",
    ),
    Mutation("a session policy has a size", GATE + "sts.py", "if len(text) > 2048:", "if False:"),
    Mutation("IAM is authorised", GATE + "iam.py", "if not evaluation.allowed:", "if False:"),
    Mutation(
        "a managed policy has a size", GATE + "iam_limits.py", "MANAGED, TRUST = 6_144,", "MANAGED, TRUST = 60_144,"
    ),
    Mutation("inline policies have a size", GATE + "iam_limits.py", '"Role": 10_240', '"Role": 100_240'),
    Mutation("a user's inline policies are fewer", GATE + "iam_limits.py", '"User": 2_048', '"User": 10_240'),
    Mutation("a group's inline policies are fewer", GATE + "iam_limits.py", '"Group": 5_120', '"Group": 10_240'),
    Mutation("a trust policy has a size", GATE + "iam_limits.py", "6_144, 2_048", "6_144, 20_048"),
    Mutation("white space is not counted", GATE + "iam_limits.py", r'len(re.sub(r"\s", "", text))', "len(text)"),
    Mutation("ten policies are attached", GATE + "iam_limits.py", "ATTACHED, GROUPS = 10,", "ATTACHED, GROUPS = 100,"),
    Mutation(
        "a user is in ten groups", GATE + "iam_limits.py", "ATTACHED, GROUPS = 10, 10", "ATTACHED, GROUPS = 10, 100"
    ),
    Mutation("a policy in use is kept", GATE + "iam_limits.py", "if any(arn in row.managed_policies or", "if any("),
    Mutation("a boundary in use is kept", GATE + "iam_limits.py", "or _boundary_of(row) == arn for", "for"),
    Mutation("a policy's versions go first", GATE + "iam_limits.py", "if len(policy.versions) > 1:", "if False:"),
    Mutation("what a user has goes first", GATE + "iam_limits.py", "        if has:\n", "        if False:\n"),
    Mutation("a boundary is there", GATE + "iam_limits.py", 'if form.get("PermissionsBoundary") and', "if False and"),
    Mutation("names know no case", GATE + "iam_limits.py", "if name.lower() in taken:", "if False:"),
    Mutation(
        "what is attached is an ARN",
        GATE + "iam_limits.py",
        'if not form["PolicyArn"].startswith("arn:"):',
        "if False:",
    ),
    Mutation("IAM's markers are numbers", GATE + "iam_limits.py", 'if "Marker" in form and', "if False and"),
    Mutation("only AWS changes its roles", GATE + "iam_linked_roles.py", "action in REFUSED and", "False and"),
    Mutation(
        "few linked roles have a suffix",
        GATE + "iam_linked_roles.py",
        'if form.get("CustomSuffix") and service',
        "if False and service",
    ),
    Mutation("a linked role is there once", GATE + "iam_linked_roles.py", "if name and any(", "if False and any("),
    Mutation(
        "one's own role is not linked",
        GATE + "iam_linked_roles.py",
        'action == "DeleteServiceLinkedRole" and not',
        "False and not",
    ),
    Mutation("a session is no user", GATE + "iam_oneself.py", 'if ":user/" not in caller.principal.arn:', "if False:"),
    Mutation(
        "oneself is meant",
        GATE + "iam_oneself.py",
        '"UserName": caller.principal.arn.rpartition("/")[2]',
        '"UserName": "somebody"',
    ),
    Mutation("a group is simulated", GATE + "iam_simulation.py", " or identities.group_by_arn(state, source)", ""),
    Mutation("a user has its path", GATE + "iam.py", "return next(found, f", "return next(iter(()), f"),
    Mutation(
        "a transitive key has its tag",
        GATE + "sts.py",
        "if not {key.lower() for key in asked} <=",
        "if False and {key.lower() for key in asked} <=",
    ),
    Mutation(
        "tag keys know no case",
        GATE + "sts.py",
        "if len({key.lower() for key, _ in pairs}) <",
        "if len({key for key, _ in pairs}) <",
    ),
    Mutation("a transitive tag stays", GATE + "sts.py", "if {key.lower() for key in tags} &", "if set() &"),
    Mutation("AWS's tags are AWS's", GATE + "sts.py", 'if any(key.lower().startswith("aws:")', 'if any(key == "aws:"'),
    Mutation(
        "a key's policies are asked",
        GATE + "kms_call.py",
        '        if not evaluation.allowed:\n            raise denials.kms(self.caller, f"kms:{action}"',
        '        if False:\n            raise denials.kms(self.caller, f"kms:{action}"',
    ),
    Mutation(
        "nobody administers another account's key",
        GATE + "kms_call.py",
        "if key.account_id != self.caller.account and self.operation not in ACROSS_ACCOUNTS:",
        "if False:",
    ),
    Mutation("a key has its state", GATE + "keystates.py", "if operation in refused:", "if False:"),
    Mutation(
        "only a deletion is cancelled",
        GATE + "keystates.py",
        'if operation == "CancelKeyDeletion" and state not in DELETED:',
        "if False:",
    ),
    Mutation("imported keys do not rotate", GATE + "keystates.py", 'and origin != "AWS_KMS":', "and False:"),
    Mutation("a key has its Region", GATE + "kms_call.py", "if parts[3] != self.region:", "if False:"),
    Mutation(
        "an alias is not taken everywhere",
        GATE + "kms_call.py",
        'if plain.startswith("alias/") and self.operation not in TAKES_ALIAS:',
        "if False:",
    ),
    Mutation(
        "the encryption context is exact",
        GATE + "ciphertexts.py",
        "header + _canonical(context))\n    except",
        "header + _canonical({}))\n    except",
    ),
    Mutation(
        "the key that made it opens it", GATE + "kms_crypto.py", "if not ciphertexts.is_of(key, made_by):", "if False:"
    ),
    Mutation(
        "ReEncrypt needs To",
        GATE + "kms_crypto.py",
        'call.begin(call.given["DestinationKeyId"], "ReEncryptTo", context=new)',
        'call.key(call.given["DestinationKeyId"])',
    ),
    Mutation("ReEncrypt needs From", GATE + "kms_crypto.py", 'old, "ReEncryptFrom", alg', 'old, "ReEncryptTo", alg'),
    Mutation("a dry run does nothing", GATE + "kms_call.py", 'if self.given.get("DryRun"):', "if False:"),
    Mutation(
        "a symmetric key is no key pair", GATE + "kms_pairs.py", "    if key.private_key is None:", "    if False:"
    ),
    Mutation("a key is of its kind", GATE + "kms_kinds.py", "if key.key_usage != NEEDS[operation]:", "if False:"),
    Mutation(
        "a key has its algorithms",
        GATE + "kms_kinds.py",
        "if algorithm not in SPECS[key.key_spec][key.key_usage]:",
        "if False:",
    ),
    Mutation(
        "a key of another kind opens nothing",
        GATE + "kms_crypto.py",
        "if key.key_usage != kms_kinds.NEEDS[call.operation]:",
        "if False:",
    ),
    Mutation(
        "usage and spec go together",
        GATE + "kms_kinds.py",
        "if spec in SPECS and usage not in SPECS[spec]:",
        "if False:",
    ),
    Mutation("a usage has to be said", GATE + "kms_kinds.py", "if usage is None and spec != SYMMETRIC:", "if False:"),
    Mutation(
        "a key has one spec",
        GATE + "kms_kinds.py",
        'if "KeySpec" in given and "CustomerMasterKeySpec" in given:',
        "if False:",
    ),
    Mutation(
        "a key store has to be there", GATE + "kms_kinds.py", '    if "CustomKeyStoreId" in given:', "    if False:"
    ),
    Mutation("a key pair takes so much", GATE + "kms_pairs.py", "if len(plaintext) > longest:", "if False:"),
    Mutation("a digest has its length", GATE + "kms_pairs.py", "if len(message) != digest.digest_size:", "if False:"),
    Mutation(
        "a signature is verified",
        GATE + "kms_pairs.py",
        '    except InvalidSignature:\n        raise AwsError("KMSInvalidSignatureException", "") from None\n',
        "    except InvalidSignature:\n        pass\n",
    ),
    Mutation(
        "a code is compared",
        GATE + "kms_pairs.py",
        "if not hmac.compare_digest(",
        "if False and not hmac.compare_digest(",
    ),
    Mutation(
        "a data key pair has its context",
        GATE + "kms_pairs.py",
        "ciphertexts.seal(key, plain, context)",
        "ciphertexts.seal(key, plain, {})",
    ),
    Mutation(
        "AWS's tags of keys are AWS's",
        GATE + "kms_settings.py",
        'if any(key.lower().startswith("aws:") for key in keys):',
        "if False:",
    ),
    Mutation("a tag key comes once", GATE + "kms_settings.py", "if len(set(keys)) < len(keys):", "if False:"),
    Mutation("fifty tags are enough", GATE + "kms_settings.py", "if len(kept | set(keys)) > TAGS:", "if False:"),
    Mutation("all tags of a key count", GATE + "kms_settings.py", "len(kept | set(keys))", "len(set(keys))"),
    Mutation(
        "a deletion waits a week", GATE + "kms_settings.py", "SHORTEST, LONGEST = 7, 30", "SHORTEST, LONGEST = 1, 30"
    ),
    Mutation(
        "a deletion waits a month at most",
        GATE + "kms_settings.py",
        "SHORTEST, LONGEST = 7, 30",
        "SHORTEST, LONGEST = 7, 365",
    ),
    Mutation(
        "a key pair does not rotate", GATE + "kms_settings.py", "if key.key_spec != kms_kinds.SYMMETRIC:", "if False:"
    ),
    Mutation("a replica does not rotate", GATE + "kms_settings.py", "if key.multi_region and", "if False and"),
    Mutation("a key rotates so often", GATE + "kms_settings.py", "ROTATIONS = 25", "ROTATIONS = 250"),
    Mutation("how many has to be said", GATE + "kms_settings.py", 'if "NumberOfBytes" not in given:', "if False:"),
    Mutation(
        "KMS's markers are its own",
        GATE + "kms_pages.py",
        "if not (marker.isascii() and",
        "if False and not (marker.isascii() and",
    ),
    Mutation("a page has its end", GATE + "kms_pages.py", "[first:last]", "[first:]"),
    Mutation("CreateGrant is not granted alone", GATE + "grants.py", 'if asked == {"CreateGrant"}:', "if False:"),
    Mutation("a grant is for what its key does", GATE + "grants.py", "    if others:", "    if False:"),
    Mutation("a constraint is for contexts", GATE + "grants.py", "(operation not in WITH_CONTEXT or _fits", "(_fits"),
    Mutation(
        "a grant gives on what it has",
        GATE + "grants.py",
        '        and set(given["Operations"]) <= set(grant.operations)\n',
        "",
    ),
    Mutation(
        "a grant gives on its constraint",
        GATE + "grants.py",
        "        and _as_strict(",
        "        and True or _as_strict(",
    ),
    Mutation("a name makes one grant", GATE + "grants.py", 'if "Name" not in given:', "if True:"),
    Mutation("the account retires", GATE + "kms_call.py", "[leaves_it] if may else []", "[]"),
    Mutation(
        "not all of an account retire",
        GATE + "kms_call.py",
        "if not evaluation.allowed and (denied or not grants.retires(grant, self.caller)):",
        "if denied:",
    ),
    Mutation("a deny keeps from retiring", GATE + "kms_call.py", "(denied or not grants", "(not grants"),
    Mutation("grants are asked", GATE + "grants.py", "            return str(grant.id)", '            return ""'),
    Mutation("a grant has its operations", GATE + "grants.py", "and operation in grant.operations", "and True"),
    Mutation("a grant has its context", GATE + "grants.py", "and dict(exact) != dict(context):", "and False:"),
    Mutation(
        "no key policy locks its author out",
        GATE + "key_policies.py",
        "will not allow you to update the key policy in the future.",
        "x",
    ),
    Mutation(
        "a primary waits for its replicas",
        GATE + "kms.py",
        'if call.operation == "ScheduleKeyDeletion" and _has_replicas(key):',
        "if False:",
    ),
    Mutation(
        "the trail keeps plaintexts out",
        GATE + "cloudtrail.py",
        "for name in KMS_FIELDS if name in asked.given",
        "for name in asked.given",
    ),
    Mutation("the trail is authorised", GATE + "cloudtrail.py", "if not evaluation.allowed:", "if False:"),
    Mutation(
        "a deny comes first",
        PURE + "evaluator.py",
        'for hit in _hits(policy, "Deny", request, layer, bounded=bool(boundaries)):',
        "for hit in ():",
    ),
    Mutation(
        "an SCP has to allow",
        PURE + "evaluator.py",
        "if not all(any(_allows(policy, request, SCP) for policy in level) for level in above):",
        "if False:",
    ),
    Mutation(
        "every level of SCPs has to allow",
        PURE + "evaluator.py",
        "for policy in level) for level in above):",
        "for policy in level) for level in above[:1]):",
    ),
    Mutation(
        "an SCP may deny",
        PURE + "evaluator.py",
        "(SCP, [policy for level in above for policy in level]),",
        "(SCP, []),",
    ),
    Mutation(
        "an RCP may deny",
        PURE + "evaluator.py",
        "(RCP, [policy for level in around for policy in level]),",
        "(RCP, []),",
    ),
    Mutation(
        "the resource's policy has to allow",
        PURE + "evaluator.py",
        "if by_resource is None and (has_policy or not same_account or not who.account):",
        "if False:",
    ),
    Mutation(
        "the caller's side has to allow",
        PURE + "evaluator.py",
        'if by_identity is None and (allowed is None or by_resource is None or by_resource.how == "delegated"):',
        "if False:",
    ),
    Mutation("a boundary narrows", PURE + "evaluator.py", "return _implicit(BOUNDARY, request)", "pass"),
    Mutation("a session policy narrows", PURE + "evaluator.py", "return _implicit(SESSION, request)", "pass"),
    Mutation(
        "an account root delegates only",
        PURE + "evaluator.py",
        'return "delegated" if effect == "Allow" else "direct"',
        'return "direct"',
    ),
    Mutation(
        "conditions count",
        PURE + "evaluator.py",
        "return _in_doubt(effect, request) if met is None else met",
        "return True",
    ),
    Mutation(
        "the action counts", PURE + "evaluator.py", "or not _action_matches(statement, request.action)", "or False"
    ),
    Mutation(
        "the resource counts",
        PURE + "evaluator.py",
        "or not _resource_matches(statement, request, variables, effect, layer)",
        "or False",
    ),
    Mutation(
        "a key policy without Resource does nothing",
        PURE + "evaluator.py",
        'return layer == TRUST or (effect == "Deny" and layer != RESOURCE)',
        "return True",
    ),
    Mutation(
        "NotPrincipal spares nobody with a boundary",
        PURE + "evaluator.py",
        'if bounded and "*" not in names:',
        "if False:",
    ),
    Mutation(
        "NotPrincipal spares who is named whole",
        PURE + "evaluator.py",
        'return "*" in names or all(names & each for each in needed)',
        "return True",
    ),
    Mutation(
        "a variable without a value meets nothing",
        PURE + "conditions.py",
        "not any(result is None or result for result in results)",
        "not any(results)",
    ),
    Mutation(
        "a session's own ARN is more than its role's",
        PURE + "evaluator.py",
        'if by_resource.how == "exact" or not who.account:',
        "if not who.account:",
    ),
    Mutation(
        "a role named is narrowed by its boundary",
        PURE + "evaluator.py",
        'if by_resource.how == "exact" or not who.account:',
        "if True:",
    ),
]


HEAVY = (
    "django",
    "pytest",
    "boto3",
    "moto.iam.models",
    "moto.kms.models",
    "moto.moto_server.werkzeug_app",
    "hypothesis",
)
TABLE = "tests/localaws/test_conformance.py"
# Where a rule of a file is most likely tried: these rows run first, because the first red one ends the run.
LIKELY = {
    "signatures": "wire",
    "wire": "wire",
    "identities": "wire",
    "cloudtrail": "wire",
    "sts": "sts",
    "iam": "recorded_iam",
    "iam_limits": "recorded_iam",
    "iam_linked_roles": "recorded_iam",
    "iam_oneself": "recorded_iam",
    "iam_simulation": "recorded_iam",
    "constraints": "shape",
    "shapes": "shape",
    "operations": "shape",
    "kms_kinds": "recorded_kms",
    "kms_pairs": "recorded_kms",
    "kms_settings": "recorded_kms",
    "kms_pages": "recorded_kms",
    "grants": "recorded_kms",
    "evaluator": "sts",
}


# The rows that are most likely to go red, where the words of the rule do not say so: a part of their names.
ROWS = {
    "the signature is compared": "another secret",
    "a clock that is behind is refused": "seconds off",
    "a clock that is ahead is refused": "seconds off",
    "KMS takes five minutes only": "kms: a clock",
    "the scope names the service": "another service",
    "the scope names a Region": "a Region that there is not",
    "a token belongs to its access key": "another token",
    "a session ends": "expired session",
    "an access key can be switched off": "switched off",
    "a deleted role's sessions may do nothing": "deleted role may do nothing",
    "a principal has to exist": "does not exist",
    "a deleted principal is buried": "made again",
    "AssumeRole is authorised": "external id is",
    "a role has to exist": "another case",
    "role chaining lasts an hour": "chaining for",
    "a role has a longest session": "longer than the role",
    "the External ID reaches the trust policy": "external id is",
    "the root user assumes no role": "root user",
    "parameters have their letters": "with a space",
    "parameters have their least": "of one character",
    "parameters have their most": "of 65 characters",
    "tags need sts:TagSession": "tags need",
    "a source identity needs its permission": "source identity needs",
    "a session policy is kept": "session policy leaves",
    "a session policy has a size": "2048 characters",
    "managed session policies count": "managed session policies",
    "a managed session policy has to be there": "managed session policy that",
    "the organization is known": "organization is known",
    "a user has what its group has": "group has",
    "everybody named is each session named": "everybody is named",
    "parameters have their types": "of another type",
    "a grant is for a role, not for its name": "grant for a role",
    "IAM is authorised": "without permissions",
    "a managed policy has a size": "6145",
    "inline policies have a size": "10241",
    "a trust policy has a size": "2049",
    "white space is not counted": "6144",
    "ten policies are attached": "eleven policies",
    "a key's policies are asked": "iam policies alone",
    "nobody administers another account's key": "nobody changes",
    "a key has its state": "on a key that is Disabled",
    "only a deletion is cancelled": "CancelKeyDeletion on",
    "imported keys do not rotate": "EnableKeyRotation on a key that is PendingImport",
    "a key has its Region": "another region",
    "an alias is not taken everywhere": "alias where none",
    "the encryption context is exact": "decrypt with",
    "the key that made it opens it": "than the one that made it",
    "ReEncrypt needs To": "without to",
    "ReEncrypt needs From": "without from",
    "a dry run does nothing": "dry run",
    "a key is of its kind": "key for signing",
    "grants are asked": "grant allows",
    "a grant has its operations": "its operations only",
    "a grant has its context": "grant with another context",
    "no key policy locks its author out": "locks its author",
    "a primary waits for its replicas": "waits for their deletion",
    "the trail keeps plaintexts out": "trail shows context",
    "the trail is authorised": "trail is not for everybody",
    "a deny comes first": "deny in the key policy",
    "an SCP has to allow": "every level",
    "every level of SCPs has to allow": "every level",
    "an SCP may deny": "our organization denies",
    "an RCP may deny": "organization denies outsiders",
    "the resource's policy has to allow": "iam policies alone",
    "the caller's side has to allow": "default policy alone",
    "a boundary narrows": "boundary narrows",
    "a session policy narrows": "session policy narrows",
    "an account root delegates only": "default policy alone",
    "conditions count": "external id is",
    "the action counts": "its operations",
    "the resource counts": "allows another role",
    "a key policy without Resource does nothing": "without resource",
    "NotPrincipal spares nobody with a boundary": "nobody with a boundary",
    "NotPrincipal spares who is named whole": "principal: a deny for all but",
    "a variable without a value meets nothing": "variable without a value",
    "a session's own ARN is more than its role's": "does not narrow a session",
    "a role named is narrowed by its boundary": "boundary narrows a role",
}


class LikelyFirst:
    """A pytest plugin: rows that are said or sound to be about a rule come first, then those of its module."""

    def __init__(self, mutation: Mutation) -> None:
        self.said = ROWS.get(mutation.rule, "-")
        self.module = LIKELY.get(Path(mutation.file).stem, "kms") + "_rows"
        self.words = {word for word in re.findall(r"[a-z]+", mutation.rule.lower()) if len(word) > 4}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        def rank(item: pytest.Item) -> tuple[bool, int, bool]:
            row = getattr(item, "callspec", None) and item.callspec.params.get("row")  # type: ignore[attr-defined]
            if not row:
                return (True, 0, True)
            same = len(self.words & set(re.findall(r"[a-z]+", row.name.lower())))
            return (self.said not in row.name.replace("_", " "), -same, not row.act.__module__.endswith(self.module))

        items.sort(key=rank)


def survives(mutation: Mutation) -> bool:
    """Tell whether the table stays green with a rule switched off; runs in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        left_out = shutil.ignore_patterns(".git", ".venv", "var", ".*_cache", "static", "docs")
        shutil.copytree(ROOT, copy, ignore=left_out)
        path = copy / mutation.file
        path.write_text(path.read_text().replace(mutation.old, mutation.new))
        os.chdir(copy)
        sys.path[:] = [str(copy), *(entry for entry in sys.path if not entry.startswith(str(ROOT)) or ".venv" in entry)]
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            options = ["-q", "-x", "-p", "no:xdist", "-p", "no:cacheprovider", "--rootdir", str(copy), TABLE]
            code = pytest.main(options, plugins=[LikelyFirst(mutation)])
        return code == pytest.ExitCode.OK


def main() -> None:
    chosen = [each for each in MUTATIONS if len(sys.argv) < 2 or sys.argv[1] in each.rule]
    old = [each for each in chosen if each.old not in (ROOT / each.file).read_text()]
    if old:
        sys.exit("\n".join(f"{each.rule}: {each.file} does not hold {each.old!r}" for each in old))
    if not survives_untouched():
        sys.exit("The table is red before anything is changed.")
    alive = []
    # Each rule gets a process that has the libraries loaded and none of our code: a fork of this one.
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        for mutation, is_alive in zip(chosen, pool.imap(survives, chosen, chunksize=1), strict=True):
            alive += [mutation.rule] if is_alive else []
            print("SURVIVES" if is_alive else "red     ", mutation.rule, flush=True)
    print(f"{len(chosen) - len(alive)} of {len(chosen)} rules: the table goes red without them.")
    sys.exit(bool(alive))


def survives_untouched() -> bool:
    """Tell whether the table is green with every rule in place: a red one would prove nothing."""
    for name in HEAVY:
        importlib.import_module(name)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(survives, (Mutation("nothing", GATE + "server.py", "\n", "\n"),))


if __name__ == "__main__":
    main()
