"""The journey: the guide's six steps, a data key there and back, then what must be noticed."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from byokportal.demo.engineer import Engineer
from byokportal.demo.portal import Api, token_of

BEGAN = time.monotonic()


def say(step: str, evidence: str) -> None:
    print(f"  {time.monotonic() - BEGAN:6.1f} s  ✓ {step:<54} {evidence}", flush=True)


def expect(held: bool, what: str, seen: object) -> None:
    """Stop with what was seen where an expectation does not hold."""
    if not held:
        raise AssertionError(f"expected {what}; saw {seen}")


def wait_for(what: str, look: Callable[[], Any], seconds: float) -> tuple[Any, float]:
    """Look until there is something, with a sign of life; return it and how long it took, in seconds."""
    began = time.monotonic()
    while True:
        found = look()
        took = time.monotonic() - began
        if found:
            _progress("")
            return found, took
        expect(took < seconds, f"{what} within {seconds:g} s", "nothing")
        _progress(f"           … {what}: {took:4.1f} s")
        time.sleep(0.1)


def _progress(text: str) -> None:
    if sys.stdout.isatty():
        print(f"\r{text:<100}\r", end="", flush=True)


def main() -> int:
    story = json.loads(Path(sys.argv[1]).read_text())
    account, credentials = next(iter(story["accounts"].items()))
    engineer = Engineer(story["aws_endpoint"], account, credentials)
    bank, careless = (Api(story["url"], tenant["id"], tenant["token"]) for tenant in story["tenants"])
    try:
        print("The six steps", flush=True)
        key_arn = six_steps(bank, engineer)
        print("A platform service", flush=True)
        service = Api(story["url"], bank.tenant, token_of(story["url"], **story["service"]))
        wrapped = use_data_keys(service)
        print("What must be noticed", flush=True)
        missing_external_id(careless, engineer, key_arn)
        disabled_key(bank, service, engineer, key_arn, wrapped, story["latency"])
    except AssertionError as error:
        _progress("")
        print(f"  {time.monotonic() - BEGAN:6.1f} s  ✗ {error}", flush=True)
        return 1
    return 0


def six_steps(api: Api, engineer: Engineer) -> str:
    """Do what the guide says, with nothing but what the API shows the tenant."""
    setup = api.get("setup")
    say("0  the values to start with", f"{setup['service_role_arn']}, {setup['external_id'][:12]}…")
    key_arn = engineer.create_key()
    say("1  CMK created", f"{key_arn}  {engineer.request_id}")
    given = api.call("PUT", "registration", {"key_arn": key_arn})
    expect(given.status == 200, "200 for the CMK ARN", given)
    say("1  CMK ARN given", f"registration {given.body['id']} is {given.body['status']}")
    role_arn = engineer.create_role("AIforWorkByokAccessRole", api.get("documents/trust-policy"))
    say("2  role with our trust policy", f"{role_arn}  {engineer.request_id}")
    policy_arn = engineer.attach_permissions(
        "AIforWorkByokAccessRole", "AIforWorkKMSPolicy", api.get("documents/permissions-policy")
    )
    say("2  permissions policy attached", f"{policy_arn}  {engineer.request_id}")
    given = api.call("PUT", "registration", {"role_arn": role_arn})
    expect(given.status == 200, "200 for the Role ARN", given)
    say("2  Role ARN given", f"request {given.request_id}")
    engineer.add_key_statement(key_arn, api.get("documents/key-policy-statement"))
    say("3  statement added to the key policy", engineer.request_id)
    shared = api.call("POST", "registration/submit", {})
    expect(shared.status == 202, "202 for sharing", shared)
    say("6  both ARNs shared", f"registration is {shared.body['status']}")
    registration, took = wait_for("step 5 and the encryption test", lambda: ended(api), 60)
    expect(registration["status"] == "active", "the registration active", registration)
    (test,) = api.get("tests")["items"]
    passed = sum(check["verdict"] == "pass" for check in test["checks"])
    say("5  configured, tested, active", f"{took:.1f} s after sharing; {passed} of {len(test['checks'])} checks passed")
    for code in ("external_id.required", "external_id.exact"):
        check = next(check for check in test["checks"] if check["code"] == code)
        expect(check["verdict"] == "pass", f"{code} proven", check)
        say(f"   {code}", f"{check['evidence'].get('aws_code', '')}  {check['evidence'].get('request_id', '')}")
    steps = {step["number"]: step["status"] for step in api.get("onboarding")["steps"]}
    expect(steps == {1: "done", 2: "done", 3: "done", 4: "skipped", 5: "done", 6: "done"}, "all steps done", steps)
    say("   the tracker", ", ".join(f"{number} {status}" for number, status in steps.items()))
    return key_arn


def ended(api: Api) -> Any:
    """Return the registration when nothing runs any more, else None."""
    registration = api.get("registration")
    return registration if registration["status"] in {"active", "rejected"} else None


def use_data_keys(service: Api) -> str:
    """Encrypt a real file under a data key, forget the key, get it back, decrypt."""
    context = {"object": "contract.pdf"}
    made = service.call("POST", "data-keys", {"context": context})
    expect(made.status == 200, "a data key", made)
    say("   data key generated", f"request {made.request_id}, keep until {made.body['cache_until']}")
    content = secrets.token_bytes(1_000_000)
    nonce = secrets.token_bytes(12)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "contract.pdf.encrypted"
        file.write_bytes(nonce + AESGCM(base64.b64decode(made.body["plaintext"])).encrypt(nonce, content, None))
        say(
            "   file encrypted locally (AES-256-GCM)",
            f"{file.stat().st_size:,} bytes, SHA-256 {hashlib.sha256(content).hexdigest()[:16]}…",
        )
        opened = service.call(
            "POST", "data-keys/decrypt", {"wrapped_key": made.body["wrapped_key"], "context": context}
        )
        expect(opened.status == 200, "the data key back", opened)
        sealed = file.read_bytes()
        back = AESGCM(base64.b64decode(opened.body["plaintext"])).decrypt(sealed[:12], sealed[12:], None)
    expect(back == content, "the same file back", "another one")
    say(
        "   data key opened, file decrypted",
        f"request {opened.request_id}, SHA-256 {hashlib.sha256(back).hexdigest()[:16]}…",
    )
    wrong = service.call(
        "POST", "data-keys/decrypt", {"wrapped_key": made.body["wrapped_key"], "context": {"object": "other.pdf"}}
    )
    expect(wrong.status == 422, "422 for another context", wrong)
    say("   another context does not open it", f"422 {wrong.body['code']}")
    many = service.call("POST", "data-keys", {"items": [{"context": {"object": str(number)}} for number in range(10)]})
    expect(
        many.status == 200 and len({item["plaintext"] for item in many.body["items"]}) == 10,
        "ten different keys",
        many.status,
    )
    say("   ten keys in one request", f"request {many.request_id}")
    return str(made.body["wrapped_key"])


def missing_external_id(api: Api, engineer: Engineer, key_arn: str) -> None:
    """A second tenant trusts our role without the External ID condition: refused, naming step 2."""
    trust = json.loads(api.get("documents/trust-policy"))
    del trust["Statement"][0]["Condition"]
    role_arn = engineer.create_role("CarelessRole", json.dumps(trust))
    say("   a role whose trust policy has no External ID", f"{role_arn}  {engineer.request_id}")
    api.call("PUT", "registration", {"key_arn": key_arn, "role_arn": role_arn})
    engineer.attach_permissions("CarelessRole", "CarelessPolicy", api.get("documents/permissions-policy"))
    shared = api.call("POST", "registration/submit", {})
    expect(shared.status == 202, "202 for sharing", shared)
    registration, took = wait_for("the test of the careless role", lambda: ended(api), 60)
    expect(
        registration["status"] == "rejected" and registration["reason"] == "insecure_trust",
        "a rejection for insecure_trust",
        registration,
    )
    step = api.get("onboarding")["steps"][1]
    expect(step["number"] == 2 and step["status"] == "failed" and step["whose_turn"] == "tenant", "step 2 failed", step)
    (test,) = api.get("tests")["items"]
    failed = next(check for check in test["checks"] if check["verdict"] == "fail")
    expect(failed["step"] == 2 and failed["document"] == "trust-policy", "the trust policy of step 2 named", failed)
    say(
        "   rejected, naming step 2 and the trust policy",
        f"{took:.1f} s; {failed['code']}: {failed['evidence'].get('request_id', '')}",
    )


def disabled_key(api: Api, service: Api, engineer: Engineer, key_arn: str, wrapped: str, latency: float) -> None:
    """The customer takes the key back, then gives it again."""
    body = {"wrapped_key": wrapped, "context": {"object": "contract.pdf"}}
    engineer.disable(key_arn)
    say("   the customer disables the key", engineer.request_id)
    refused, took = wait_for("423 for the disabled key", lambda: _status(service, body, 423), latency)
    expect(
        refused.body["code"] == "kms_key_disabled" and refused.body["retryable"] is False,
        "kms_key_disabled",
        refused.body,
    )
    say("   nothing opens any more", f"423 {refused.body['code']} after {took:.1f} s (at most {latency:g} s)")
    new = service.call("POST", "data-keys", {})
    expect(new.status == 423, "423 for a new key", new)
    state = api.get("key")
    expect(
        (state["status"], state["suspended_by"], state["whose_turn"]) == ("suspended", "aws", "tenant"),
        "suspended by aws",
        state,
    )
    say(
        "   the key page says so",
        f"{state['status']} by {state['suspended_by']}, {state['reason']}, next probe {state['next_probe_at']}",
    )
    engineer.enable(key_arn)
    say("   the customer enables the key", engineer.request_id)
    asked = api.call("POST", "key/probe", {})
    expect(asked.status == 202, "202 for Ask again now", asked)
    _, took = wait_for("recovery after Ask again now", lambda: api.get("key")["status"] == "active", 30)
    opened = service.call("POST", "data-keys/decrypt", body)
    expect(opened.status == 200, "the data key again", opened)
    say("   in service again after Ask again now", f"{took:.1f} s after it; request {opened.request_id}")


def _status(service: Api, body: dict[str, Any], wanted: int) -> Any:
    answer = service.call("POST", "data-keys/decrypt", body)
    return answer if answer.status == wanted else None


if __name__ == "__main__":
    sys.exit(main())
