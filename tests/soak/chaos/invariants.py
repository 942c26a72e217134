"""What has to hold after every case: nothing lost, nothing twice, no key without its row, and all is done in time."""

from __future__ import annotations

import collections
import contextlib
import io
import json
import runpy
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import psycopg

from byokportal.embedded.stack import ROOT
from tests.soak.chaos.load import Load, Owner
from tests.soak.chaos.system import System
from tests.soak.upgrade import ENDED

FIRST_HEAD = 300.0  # seconds until the first head is signed, on a machine that is busy
# Rows that wait, as support/backlog.py has them: table → what of it was due before a time.
DUE = {
    "keys_roleconfiguration": "due_at <= %s",
    "keys_encryptiontest": "due_at <= %s",
    "keys_branchkey": "due_at <= %s",
    "keys_keyhealth": "next_probe_at <= %s",
    "tenants_auditevent": "at <= %s AND (followed_at IS NULL OR seal = '')",
    "support_notice": "sent_at IS NULL AND due_at <= %s",
    "support_bulkoperation": "due_at <= %s",
    "tenants_logstream": "due_at <= %s",
}
# Rows whose last run ended in an error that nobody expects.
BROKEN = {
    "keys_roleconfiguration": "failures > 0",
    "keys_encryptiontest": "failures > 0",
    "keys_branchkey": "failures > 0",
    "keys_keyhealth": "probe_failures > 0",
    "tenants_auditevent": "attempts > 0 AND followed_at IS NULL",
}


class Recovery:
    """What was waiting when a fault ended, and whether it is done."""

    def __init__(self, system: System, load: Load) -> None:
        self._system, self._load = system, load
        self.began = time.monotonic()
        self._at: Any = None  # the database's time when it answered first after the fault
        answered = load.answered
        self._tests = [one for one, (_, at) in list(answered.tests.items()) if at < self.began]
        self._submitted = [one for one, at in list(answered.submitted.items()) if at < self.began]

    def left(self) -> list[str]:
        """Return what is not done yet; the first kind that is found, because whoever asks asks again."""
        served = self._load.answered.served_at
        if waiting := [owner.tenant for owner in self._load.served if served.get(owner.tenant, 0) < self.began]:
            return [f"no data key for {one}" for one in waiting]
        if not self._system.is_ready():
            return ["a web process is not ready"]
        try:
            if self._at is None:
                ((self._at,),) = self._system.ask("SELECT clock_timestamp()")
            return self._rows()
        except psycopg.OperationalError as error:
            return [f"the database: {error}"]

    def _rows(self) -> list[str]:
        ask = self._system.ask
        for table, where in DUE.items():
            ((number,),) = ask(f"SELECT count(*) FROM {table} WHERE {where}", self._at)
            if number:
                return [f"{number} rows of {table} that were due"]
        if self._tests:
            pending = ask(
                "SELECT id FROM keys_encryptiontest WHERE id = ANY(%s::uuid[]) AND NOT status = ANY(%s)",
                self._tests,
                list(ENDED),
            )
            if pending:
                return [f"test {row[0]}" for row in pending]
        if self._submitted:
            pending = ask(
                "SELECT tenant_id, status FROM keys_keyregistration WHERE tenant_id = ANY(%s::uuid[]) "
                "AND status IN ('submitted', 'configuring', 'testing')",
                self._submitted,
            )
            return [f"{tenant} is {status}" for tenant, status in pending]
        return []


def check(system: System, load: Load) -> list[str]:
    """Compare what was answered with the database, the log and AWS; return what does not hold."""
    with load.answered.lock:
        answered, keys, operations = load.answered, list(load.answered.keys), list(load.answered.operations)
        wrong, answered.wrong = answered.wrong, []
    tests = collections.Counter(tenant for tenant, _ in list(answered.tests.values()))
    found = [*wrong, *_keys(system, keys), *_operations(system, operations)]
    found += [*_tests(system, load, tests), *_registrations(system), *_iam(system), *_uses(system), *_log(system)]
    for table, where in BROKEN.items():
        ((number,),) = system.ask(f"SELECT count(*) FROM {table} WHERE {where}")
        if number:
            found.append(f"{number} rows of {table} ended in an error that nobody expects")
    for owner in _audited(load):
        found += _verified(system, owner)
    return found


def wait_for_heads(system: System, load: Load) -> None:
    """Wait until the logs that are verified stand in a signed head: before the first one they cannot be.

    Raises:
        TimeoutError: none was signed.
    """
    for owner in _audited(load):
        system.wait("a signed head", lambda asked=owner: asked.ask("GET", "log/head")[0] == 200, FIRST_HEAD)  # type: ignore[misc]


def _audited(load: Load) -> list[Owner]:
    return [*load.served[:1], *load.operated[:1]]


def _keys(system: System, keys: list[str]) -> list[str]:
    rows = dict(system.ask("SELECT request_id, count(*) FROM keys_keyuse GROUP BY request_id"))
    without, twice = [one for one in keys if one not in rows], [one for one in keys if rows.get(one, 1) > 1]
    found = [f"{len(without)} keys left without a row: {without[:3]}"] if without else []
    return found + ([f"{len(twice)} answers have two rows: {twice[:3]}"] if twice else [])


def _operations(system: System, operations: list[tuple[str, str]]) -> list[str]:
    rows = system.ask(
        "SELECT name, payload::json -> 'data' ->> 'reason' FROM tenants_auditevent WHERE name LIKE 'keys.key.%%'"
    )
    logged = collections.Counter((name, reason) for name, reason in rows)
    wrong = [one for one in operations if logged[one] != 1]
    return [f"{event} with {reason} stands {logged[event, reason]} times in the log" for event, reason in wrong]


def _tests(system: System, load: Load, answered: collections.Counter[str]) -> list[str]:
    found = []
    rows = system.ask(
        "SELECT tenant_id::text, count(*) FROM keys_encryptiontest WHERE id::text IN "
        "(SELECT payload::json ->> 'target' FROM tenants_auditevent WHERE name = 'keys.test.requested') GROUP BY 1"
    )
    there = dict(rows)
    for owner in load.operated:
        # One that was asked for may have no answer yet.
        if not 0 <= there.get(owner.tenant, 0) - answered[owner.tenant] <= 1:
            found.append(f"{owner.tenant} has {there.get(owner.tenant, 0)} tests, {answered[owner.tenant]} answered")
    return found


def _registrations(system: System) -> list[str]:
    twice = system.ask(
        "SELECT registration_id, count(*) FROM keys_roleconfiguration WHERE action = 'add' AND status = 'done' "
        "GROUP BY registration_id HAVING count(*) > 1"
    )
    blamed = system.ask(
        "SELECT id, status, suspended_by, reason FROM keys_keyregistration WHERE status = 'rejected' "
        "OR (status = 'suspended' AND suspended_by <> 'tenant')"
    )
    found = [f"registration {one} was configured {number} times" for one, number in twice]
    return found + [f"registration {one} is {status} by {by!r}: {reason}" for one, status, by, reason in blamed]


def _iam(system: System) -> list[str]:
    """Compare what our service roles may assume with the registrations that have been configured."""
    local = system.local
    account = next(one for one in local["accounts"] if one == "999900001111")
    keys = local["accounts"][account]
    iam: Any = boto3.client(
        "iam",
        endpoint_url=local["endpoint"],
        region_name="us-east-1",
        aws_access_key_id=keys["access_key_id"],
        aws_secret_access_key=keys["secret_access_key"],
    )
    named: list[str] = []
    for (role,) in system.ask("SELECT arn FROM tenants_servicerole"):
        name = role.rpartition("/")[2]
        for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
            arn = policy["PolicyArn"]
            version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
            if isinstance(document, str):
                document = json.loads(urllib.parse.unquote(document))
            for statement in document["Statement"]:
                if statement["Effect"] == "Allow" and "Resource" in statement:
                    resources = statement["Resource"]
                    named += [resources] if isinstance(resources, str) else resources
    wanted = system.ask(
        "SELECT DISTINCT r.role_arn FROM keys_keyregistration r WHERE r.status IN "
        "('testing', 'active', 'unreachable', 'suspended', 'retiring')"
    )
    may = collections.Counter(one for one in named if ":role/" in one)
    missing = sorted({arn for (arn,) in wanted} - may.keys())
    known = {arn for (arn,) in system.ask("SELECT role_arn FROM keys_keyregistration WHERE role_arn <> ''")}
    found = [f"no service role may assume {one}" for one in missing]
    found += [f"service roles may assume {one}, which nobody registered" for one in sorted(may.keys() - known)]
    return found + [f"{one} stands {number} times in our policies" for one, number in may.items() if number > 1]


def _uses(system: System) -> list[str]:
    """Compare the hours that uses are added up to with the rows, in one statement."""
    rows = system.ask(
        "SELECT (SELECT coalesce(sum(requests), 0) FROM keys_keyusehour), "
        "(SELECT count(*) FROM keys_keyuse WHERE id <= (SELECT through FROM keys_keyusecursor WHERE id = 1))"
    )
    added, there = rows[0]
    return [] if added == there else [f"{added} uses were added up, and there are {there} rows"]


def _log(system: System) -> list[str]:
    gaps = system.ask(
        "SELECT coalesce(tenant_id::text, 'ours'), count(*), max(seal_number) FROM tenants_auditevent "
        "WHERE seal <> '' GROUP BY 1 HAVING count(*) <> max(seal_number) OR count(DISTINCT seal_number) <> count(*)"
    )
    return [f"the log of {one} has {number} sealed lines up to number {last}" for one, number, last in gaps]


def _verified(system: System, owner: Owner) -> list[str]:
    """Verify the log of one tenant as its auditor does, by the program that we give out."""
    status, head = owner.ask("GET", "log/head")
    if status != 200:
        return [f"no signed head: {status} {head}"]
    _, lines = owner.ask("GET", "events/export")
    folder = Path(system.folder) / "verified"
    folder.mkdir(exist_ok=True)
    export, signed, key = folder / "log.jsonl", folder / "head.json", folder / "log.pem"
    export.write_text(lines if isinstance(lines, str) else json.dumps(lines))
    signed.write_text(json.dumps(head))
    key.write_text(_public_key(system))
    verify, said = runpy.run_path(str(ROOT / "docs" / "examples" / "verify_log.py")), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = verify["main"]([str(export), "--head", str(signed), "--public-key", str(key)])
    return [f"the log of {owner.tenant} does not verify: {said.getvalue()[-300:]}"] if code else []


def _public_key(system: System) -> str:
    with urllib.request.urlopen(f"{system.url}/.well-known/byok-log", timeout=20) as answer:
        text = answer.read().decode()
    found = json.loads(text)
    return str(found["public_key"])
