"""Who asks while something breaks: services for data keys, owners for operations, new customers for step 5.

All repeat what they may repeat, with the same Idempotency-Key, until they have an answer; each answer is kept for
`tests.soak.chaos.invariants` to compare with the database.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import json
import random
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import botocore.exceptions

from byokportal.demo.engineer import Engineer
from byokportal.demo.portal import Api
from byokportal.embedded.demo import SCOPES
from tests.soak.chaos.system import System
from tests.soak.upgrade import ENDED, byok_client

CLIENTS, PAUSE = 3, 0.05  # threads that ask for data keys; seconds between the requests of one
SERVED, OPERATED = 2, 3  # tenants whose keys are asked for; tenants whose owners operate them
NEW = 60  # customers that wait at the door: a restart of the drill is cheaper than making one under a fault
STOPPED_WITHIN = 5.0  # seconds after Suspend in which every process stops (design.md 8)
PATIENCE = 150.0  # seconds for which anybody repeats


@dataclass
class Answered:
    """All that was answered, and what should never have been."""

    tries: collections.Counter[str] = field(default_factory=collections.Counter)
    keys: list[str] = field(default_factory=list)  # request ids of answers with a data key
    operations: list[tuple[str, str]] = field(default_factory=list)  # event and reason of each that was done
    tests: dict[str, tuple[str, float]] = field(default_factory=dict)  # id → tenant, when it was asked for
    submitted: dict[str, float] = field(default_factory=dict)  # tenant → when it shared both ARNs
    served_at: dict[str, float] = field(default_factory=dict)  # tenant → when its last data key came
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)

    def note(self, what: str) -> None:
        with self.lock:
            self.tries[what] += 1

    def refuse(self, sentence: str) -> None:
        with self.lock:
            self.wrong.append(sentence[:400])


class Service(byok_client.Client):  # type: ignore[misc]
    """The client of our documentation, each of whose tries is kept."""

    answered: Answered

    def _send(self, method: str, path: str, headers: dict[str, str], content: bytes | None) -> Any:
        request_id = str(uuid.uuid4())
        try:
            answer = super()._send(method, path, {**headers, "X-Request-ID": request_id}, content)
        except byok_client.Problem as problem:
            self.answered.note(f"data key: {problem.status} {problem.code}")
            if problem.status not in {503, 429, 409} or not problem.body.get("retryable"):
                self.answered.refuse(f"{method} {path.rpartition('/')[2]}: {problem}")
            raise
        except (OSError, http.client.HTTPException) as error:
            self.answered.note(f"data key: lost ({type(error).__name__})")
            raise
        self.answered.note("data key: 200")
        if "/data-keys" in path:
            with self.answered.lock:
                self.answered.keys.append(request_id)
        return answer


class Owner:
    """One tenant's automation: it repeats an operation with the same Idempotency-Key until there is an answer."""

    def __init__(self, answered: Answered, api: Api) -> None:
        self.answered, self.tenant = answered, api.tenant
        self._api, self._port = api, int(api.url.rpartition(":")[2])

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Return status and body of the answer that counts.

        Raises:
            TimeoutError: there was none in all that time.
        """
        key, end = str(uuid.uuid4()), time.monotonic() + PATIENCE
        while time.monotonic() < end and not self.answered.over.is_set():
            try:
                status, found = self._once(method, path, body, key)
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.answered.note(f"owner: lost ({type(error).__name__})")
                time.sleep(0.3)
                continue
            code = found.get("code", "") if isinstance(found, dict) and status >= 400 else ""
            self.answered.note(f"owner: {status} {code}".strip())
            if status >= 500 and status != 503:
                self.answered.refuse(f"the owner: {method} {path}: {status} {found}")
            if status < 400 or not (isinstance(found, dict) and found.get("retryable")):
                return status, found
            time.sleep(min(2.0, float(found.get("retry_after") or 1)) * random.uniform(0.5, 1.0))
        raise TimeoutError(f"the owner: {method} {path} was not answered within {PATIENCE:g} s")

    def _once(self, method: str, path: str, body: Any, key: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self._api.token}", "Content-Type": "application/json"}
        if method == "POST":
            headers["Idempotency-Key"] = key
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, f"/api/v1/tenants/{self.tenant}/{path}", content, headers)
            answer = connection.getresponse()
            text = answer.read()
            kind = answer.headers.get("Content-Type", "").partition(";")[0]
            is_json = kind in {"application/json", "application/problem+json"}
            return answer.status, json.loads(text) if is_json else text.decode()
        finally:
            connection.close()

    def until(self, what: str, is_so: Callable[[], object]) -> bool:
        """Ask again until it is so; False: the drill ended first.

        Raises:
            TimeoutError: it never was.
        """
        end = time.monotonic() + PATIENCE * 2
        while not is_so():
            if self.answered.over.wait(0.4):
                return False
            if time.monotonic() > end:
                raise TimeoutError(f"{self.tenant}: not {what} in {PATIENCE * 2:g} s")
        return True


class Load:
    """All who ask, in threads of their own."""

    def __init__(self, system: System, run: dict[str, Any]) -> None:
        self.answered, self._system, self._run = Answered(), system, run
        self._engineer_of = next(iter(run["accounts"].items()))
        self._door = self._make_tenants(SERVED + OPERATED + NEW)
        self._threads: list[threading.Thread] = []
        wanted = [part for scope in SCOPES for part in ("--scope", scope)]
        self._account = json.loads(system.manage("create_service_account", "--name", "chaos", "--all-tenants", *wanted))
        self.served = [self._onboarded() for _ in range(SERVED)]
        self.operated = [self._onboarded() for _ in range(OPERATED)]

    def begin(self) -> None:
        for _ in range(CLIENTS):
            self._thread(self._ask_for_keys)
        for owner in self.operated:
            self._thread(self._operate, owner)

    def onboard(self) -> threading.Thread:
        """Let one more customer come."""
        return self._thread(self._onboarded)

    def end(self) -> None:
        self.answered.over.set()
        for thread in self._threads:
            thread.join(30)

    def _thread(self, do: Callable[..., Any], *arguments: Any) -> threading.Thread:
        def doing() -> None:
            try:
                do(*arguments)
            except Exception as error:
                if not self.answered.over.is_set():
                    self.answered.refuse(f"{do.__name__} ended: {type(error).__name__}: {error}")

        thread = threading.Thread(target=doing, daemon=True)
        thread.start()
        self._threads.append(thread)
        return thread

    def service(self, timeout: float = PATIENCE) -> Service:
        client = Service(self._run["url"], self._account["client_id"], self._account["client_secret"], timeout=timeout)
        client.answered = self.answered
        return client

    # --- data keys ------------------------------------------------------------------------------------------------

    def _ask_for_keys(self) -> None:
        client, made = self.service(), list[tuple[str, dict[str, str], Any]]()
        while not self.answered.over.is_set():
            tenant, context = random.choice(self.served).tenant, {"object": str(uuid.uuid4())}
            if not made or random.random() < 0.5:
                made.append((tenant, context, client.new_key(tenant, context)))
                if len(made) > 200:
                    made.pop(random.randrange(1, 200))  # the first of all stays
            else:
                tenant, context, key = random.choice(made)
                client.purge(tenant)
                if client.open_key(tenant, key.wrapped, context).plaintext != key.plaintext:
                    self.answered.refuse(f"another plaintext for {tenant}")
            self.answered.served_at[tenant] = time.monotonic()
            time.sleep(PAUSE)

    # --- operations -----------------------------------------------------------------------------------------------

    def _operate(self, owner: Owner) -> None:
        """Suspend, see that no key leaves, resume, test; again and again."""
        while not self.answered.over.is_set():
            try:
                self._round(owner)
            except TimeoutError as error:
                if not self.answered.over.is_set():
                    self.answered.refuse(str(error))

    def _round(self, owner: Owner) -> None:
        answered = self.answered
        if owner.ask("GET", "key")[1].get("status") != "suspended":  # else a round was broken off
            self._press(owner, "suspend", "keys.key.suspended")
            answered.over.wait(STOPPED_WITHIN)
            self._see_none_leave(owner)
        self._press(owner, "resume", "keys.key.resumed")
        if not owner.until("active", lambda: owner.ask("GET", "key")[1].get("status") == "active"):
            return
        status, asked = owner.ask("POST", "tests", {})
        if status != 202:
            answered.refuse(f"{owner.tenant}: no test: {status} {asked}")
            return
        answered.tests[asked["id"]] = (owner.tenant, time.monotonic())
        owner.until("tested", lambda: self._is_tested(owner, asked["id"]))

    def _see_none_leave(self, owner: Owner) -> None:
        service = byok_client.Client(
            self._run["url"], self._account["client_id"], self._account["client_secret"], timeout=0.0
        )
        for _ in range(4):
            with contextlib.suppress(byok_client.Problem, OSError, http.client.HTTPException):
                service.new_key(owner.tenant, {"object": "1"})
                self.answered.refuse(f"{owner.tenant} was suspended, and a key left")
            time.sleep(0.5)

    def _press(self, owner: Owner, button: str, event: str) -> None:
        reason = f"chaos {uuid.uuid4()}"
        status, found = owner.ask("POST", f"key/{button}", {"reason": reason})
        if status != 200:
            self.answered.refuse(f"{owner.tenant}: {button}: {status} {found}")
            return
        with self.answered.lock:
            self.answered.operations.append((event, reason))

    def _is_tested(self, owner: Owner, test: str) -> bool:
        _, found = owner.ask("GET", f"tests/{test}")
        if found.get("status") not in ENDED:
            return False
        if found["verdict"] != "pass":
            not_passed = {one["code"]: one["verdict"] for one in found["checks"] if one["verdict"] != "pass"}
            self.answered.refuse(f"{owner.tenant}: a test ended {found['status']}, {found['verdict']}: {not_passed}")
        return True

    # --- new customers ----------------------------------------------------------------------------------------------

    def _make_tenants(self, number: int) -> list[dict[str, str]]:
        code = (
            "from django.core.management import call_command\n"
            f"for n in range({number}):\n"
            "    call_command('create_tenant', name=f'Chaos {n}', owner=f'owner{n}@chaos.example')\n"
        )
        told = self._system.manage("shell", "--no-imports", "-c", code)
        return [json.loads(line) for line in told.splitlines() if line.startswith("{")]

    def _onboarded(self) -> Owner:
        """Bring the next customer from the door through the six steps."""
        with self.answered.lock:
            if not self._door:
                raise AssertionError("more customers came than were made: raise NEW")
            made, number = self._door.pop(), len(self._door)
        owner = Owner(self.answered, Api(self._run["url"], made["tenant"], made["automation_token"]))
        account, credentials = self._engineer_of
        engineer, role = Engineer(self._run["aws_endpoint"], account, credentials), f"Chaos{number}"
        role_arn = f"arn:aws:iam::{account}:role/{role}"
        key_arn = _patient(engineer.create_key)
        owner.ask("PUT", "registration", {"key_arn": key_arn})
        trust = _text(owner, "trust-policy")
        _patient(lambda: engineer.create_role(role, trust))
        owner.ask("PUT", "registration", {"role_arn": role_arn})
        permissions, statement = _text(owner, "permissions-policy"), _text(owner, "key-policy-statement")
        _patient(lambda: engineer.attach_permissions(role, role, permissions))
        _patient(lambda: engineer.add_key_statement(key_arn, statement))
        status, found = owner.ask("POST", "registration/submit", {})
        if status != 202:
            self.answered.refuse(f"{owner.tenant}: not submitted: {status} {found}")
            return owner
        self.answered.submitted[owner.tenant] = time.monotonic()
        owner.until("active", lambda: owner.ask("GET", "key")[1].get("status") == "active")
        return owner


def _text(owner: Owner, document: str) -> str:
    status, found = owner.ask("GET", f"documents/{document}")
    if status != 200:
        raise AssertionError(f"{document}: {status} {found}")
    return found if isinstance(found, str) else json.dumps(found)


def _patient(do: Callable[[], Any]) -> Any:
    """Do something at AWS as an engineer does: once more when AWS fails; what is there already is there."""
    for _ in range(60):
        try:
            return do()
        except botocore.exceptions.ClientError as error:
            if error.response["Error"]["Code"] == "EntityAlreadyExists":
                return None
        except botocore.exceptions.BotoCoreError:
            pass
        time.sleep(0.5)
    raise TimeoutError("the customer's engineer got no answer from AWS")
