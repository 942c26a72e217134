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
    Mutation("a deleted principal is buried", GATE + "iam.py", "identities.bury(state, *buried)", "pass"),
    Mutation(
        "AssumeRole is authorised", GATE + "sts.py", "if role is None or not decision.allowed:", "if role is None:"
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
    Mutation("a session lasts fifteen minutes at least", GATE + "sts.py", "if int(text) < 900:", "if False:"),
    Mutation("a session lasts twelve hours at most", GATE + "sts.py", "if int(text) > 43_200:", "if False:"),
    Mutation(
        "the External ID reaches the trust policy", GATE + "sts.py", 'context["sts:ExternalId"] = external_id', "pass"
    ),
    Mutation("the root user assumes no role", GATE + "sts.py", "if caller.principal.is_root:", "if False:"),
    Mutation("parameters have their letters", GATE + "sts.py", "if not pattern.fullmatch(value):", "if False:"),
    Mutation("parameters have their least length", GATE + "sts.py", "if len(value) < least:", "if False:"),
    Mutation("parameters have their greatest length", GATE + "sts.py", "if len(value) > most:", "if False:"),
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
        "given = shapes.typed(service, operation, _object(body))",
        "given = _object(body)",
    ),
    Mutation(
        "a grant is for a role, not for its name",
        GATE + "identities.py",
        "grant.grantee_principal = unique_id if grant.grantee_principal == arn else grant.grantee_principal",
        "pass",
    ),
    Mutation("a session policy has a size", GATE + "sts.py", "if len(text) > 2048:", "if False:"),
    Mutation("IAM is authorised", GATE + "iam.py", "if not decision.allowed:", "if False:"),
    Mutation(
        "a managed policy has a size",
        GATE + "iam.py",
        "MANAGED, INLINE, TRUST = 6_144,",
        "MANAGED, INLINE, TRUST = 60_144,",
    ),
    Mutation(
        "inline policies have a size",
        GATE + "iam.py",
        "INLINE, TRUST = 6_144, 10_240,",
        "INLINE, TRUST = 6_144, 100_240,",
    ),
    Mutation("a trust policy has a size", GATE + "iam.py", "10_240, 2_048", "10_240, 20_048"),
    Mutation("white space is not counted", GATE + "iam.py", r'len(re.sub(r"\s", "", text))', "len(text)"),
    Mutation("ten policies are attached", GATE + "iam.py", "ATTACHED = 10", "ATTACHED = 100"),
    Mutation(
        "a key's policies are asked",
        GATE + "kms_call.py",
        '        if not decision.allowed:\n            raise denials.kms(self.caller, f"kms:{action}"',
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
        'call.begin(call.given.get("DestinationKeyId"), "ReEncryptTo", context=new)',
        'call.key(call.given.get("DestinationKeyId"))',
    ),
    Mutation(
        "ReEncrypt needs From",
        GATE + "kms_crypto.py",
        'call.given.get("SourceKeyId"), old, "ReEncryptFrom")',
        'call.given.get("SourceKeyId"), old, "ReEncryptTo")',
    ),
    Mutation("a dry run does nothing", GATE + "kms_call.py", 'if self.given.get("DryRun"):', "if False:"),
    Mutation(
        "a symmetric key is no key pair",
        GATE + "kms.py",
        'if call.operation in {"GetPublicKey", "Sign", "Verify"} and key.private_key is None:',
        "if False:",
    ),
    Mutation("a key is of its kind", GATE + "kms_crypto.py", 'if key.key_usage != "ENCRYPT_DECRYPT":', "if False:"),
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
    Mutation("the trail is authorised", GATE + "cloudtrail.py", "if not decision.allowed:", "if False:"),
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
        "return conditions.holds(condition, request.context, variables=variables)",
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
    "iam": "iam",
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
    "a session lasts fifteen minutes at least": "fifteen minutes",
    "a session lasts twelve hours at most": "twelve hours",
    "the External ID reaches the trust policy": "external id is",
    "the root user assumes no role": "root user",
    "parameters have their letters": "with a space",
    "parameters have their least length": "of one character",
    "parameters have their greatest length": "of 65 characters",
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
