"""What each address of the API demands of an automation token:
the URL map is walked, and the table of operations with it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from conftest import Customer, a_former_member, a_log_stream, a_webhook, acting, an_approval, invited
from django.conf import settings
from django.db import transaction
from django.test import Client
from url_map import REASON, Address, addresses, body_of

from keys import services as key_services
from keys.models import KeyRegistration
from support import services as support_services
from tenants import audit, authentication, roles, services
from tenants.models import AccessToken, DirectoryGroup, Member, SignOnConnection

pytestmark = pytest.mark.django_db
READ, SETUP, OPERATE, PEOPLE = roles.TOKEN_PERMISSIONS
NOBODY = "no token of a member"
T = "api/v1/tenants/<str:tenant>/"

# The permission that it takes.
DEMANDS: dict[str, str] = {
    f"GET {T}setup": READ,
    f"GET {T}onboarding": READ,
    f"GET {T}events": READ,
    f"GET {T}events/export": READ,
    f"GET {T}events/export.csv": READ,
    f"GET {T}log/head": READ,
    f"GET {T}log/heads": READ,
    f"GET {T}log/heads/<str:head>": READ,
    f"GET {T}events/<str:event>/inclusion": READ,
    f"GET {T}log/recipients": READ,
    f"POST {T}log/recipients": PEOPLE,
    f"DELETE {T}log/recipients/<str:recipient>": PEOPLE,
    f"GET {T}log/streams": READ,
    f"POST {T}log/streams": SETUP,
    f"GET {T}log/streams/<str:stream>": READ,
    f"PUT {T}log/streams/<str:stream>": SETUP,
    f"DELETE {T}log/streams/<str:stream>": SETUP,
    f"POST {T}log/streams/<str:stream>/rotate": SETUP,
    f"POST {T}log/streams/<str:stream>/switch-on": SETUP,
    f"POST {T}log/streams/<str:stream>/switch-off": SETUP,
    f"POST {T}log/streams/<str:stream>/test": SETUP,
    f"POST {T}log/streams/<str:stream>/replay": SETUP,
    f"GET {T}key-uses/<str:use>/inclusion": READ,
    f"GET {T}key-uses": READ,
    f"GET {T}key-uses/hours": READ,
    f"GET {T}key-uses/export": READ,
    f"GET {T}key-uses/export.csv": READ,
    f"GET {T}members": READ,
    f"GET {T}members/<str:number>": READ,
    f"PATCH {T}members/<str:number>": PEOPLE,
    f"DELETE {T}members/<str:number>": PEOPLE,
    f"GET {T}former-members": READ,
    f"GET {T}former-members/<str:former>": READ,
    f"DELETE {T}former-members/<str:former>": PEOPLE,
    f"GET {T}invitations": READ,
    f"POST {T}invitations": PEOPLE,
    f"GET {T}invitations/<str:invitation>": READ,
    f"DELETE {T}invitations/<str:invitation>": PEOPLE,
    f"POST {T}invitations/<str:invitation>/resend": PEOPLE,
    f"GET {T}approvals": READ,
    f"GET {T}approvals/<str:approval>": READ,
    f"DELETE {T}approvals/<str:approval>": OPERATE,
    f"GET {T}domains": READ,
    f"POST {T}domains": PEOPLE,
    f"GET {T}domains/<str:domain>": READ,
    f"DELETE {T}domains/<str:domain>": PEOPLE,
    f"POST {T}domains/<str:domain>/look": PEOPLE,
    f"GET {T}directory": READ,
    f"PUT {T}directory": PEOPLE,
    f"DELETE {T}directory": PEOPLE,
    f"GET {T}directory/users": READ,
    f"GET {T}directory/groups": READ,
    f"PUT {T}directory/groups/<str:group>/role": PEOPLE,
    f"DELETE {T}directory/tokens/<str:scim_token>": PEOPLE,
    f"GET {T}sign-on": READ,
    f"PUT {T}sign-on": PEOPLE,
    f"DELETE {T}sign-on": PEOPLE,
    f"PUT {T}sign-on/mode": PEOPLE,
    f"GET {T}tokens": READ,
    f"GET {T}tokens/<str:token>": READ,
    f"DELETE {T}tokens/<str:token>": NOBODY,  # but itself
    f"GET {T}documents/<str:name>": READ,
    f"GET {T}document-choices": READ,
    f"PUT {T}document-choices": SETUP,
    f"GET {T}change-request": READ,
    f"GET {T}facts": READ,
    f"GET {T}evidence": READ,
    f"GET {T}evidence/pdf": READ,
    f"GET {T}overview": READ,
    f"GET {T}facts/<str:name>": READ,
    f"GET {T}links": READ,
    f"DELETE {T}links/<str:link>": SETUP,
    f"GET {T}proposals": READ,
    f"POST {T}proposals/<str:proposal>/confirm": SETUP,
    f"POST {T}proposals/<str:proposal>/refuse": SETUP,
    f"POST {T}policy-checks": READ,
    f"POST {T}reconciliations": READ,
    f"GET {T}registration": READ,
    f"PUT {T}registration": SETUP,
    f"PUT {T}registration/outputs": SETUP,
    f"POST {T}registration/submit": SETUP,
    f"POST {T}registration/withdraw": SETUP,
    f"PUT {T}registration/activation": SETUP,
    f"POST {T}registration/activate": SETUP,
    f"GET {T}tests": READ,
    f"POST {T}tests": SETUP,
    f"GET {T}tests/<str:test>": READ,
    f"GET {T}key": READ,
    f"POST {T}key/suspend": OPERATE,
    f"POST {T}key/probe": OPERATE,
    f"POST {T}key/resume": OPERATE,
    f"POST {T}key/drop-caches": OPERATE,
    f"GET {T}key/cache-drop": READ,
    f"GET {T}key/branch-keys": READ,
    f"POST {T}key/rotate": OPERATE,
    f"POST {T}key/leave": OPERATE,
    f"POST {T}key/old/<str:registration>/end": OPERATE,
    f"GET {T}key/drills": READ,
    f"POST {T}key/drills": OPERATE,
    f"GET {T}key/drills/<str:drill>": READ,
    f"POST {T}key/drills/<str:drill>/cancel": OPERATE,
    f"GET {T}tickets": READ,
    f"POST {T}tickets": SETUP,
    f"GET {T}tickets/<str:ticket>/messages": READ,
    f"POST {T}tickets/<str:ticket>/messages": SETUP,
    f"GET {T}webhooks": READ,
    f"POST {T}webhooks": SETUP,
    f"GET {T}webhooks/<str:webhook>": READ,
    f"PUT {T}webhooks/<str:webhook>": SETUP,
    f"DELETE {T}webhooks/<str:webhook>": SETUP,
    f"POST {T}webhooks/<str:webhook>/rotate": SETUP,
    f"POST {T}webhooks/<str:webhook>/switch-on": SETUP,
    f"POST {T}webhooks/<str:webhook>/switch-off": SETUP,
    f"POST {T}webhooks/<str:webhook>/test": SETUP,
    f"POST {T}webhooks/<str:webhook>/replay": SETUP,
    f"GET {T}webhooks/<str:webhook>/deliveries": READ,
    f"POST {T}webhooks/<str:webhook>/deliveries/<str:delivery>/replay": SETUP,
    f"POST {T}data-keys": NOBODY,
    f"POST {T}data-keys/decrypt": NOBODY,
    f"POST {T}data-keys/rewrap": NOBODY,
    "GET api/v1/key-states": NOBODY,
}
# Asked beside keys.register, where a key serves already.
NO_ADDRESS = {"keys.replace"}
# While a key serves, these change it: without the mark no token does that.
MARKED = [
    f"PUT {T}registration",
    f"PUT {T}registration/outputs",
    f"POST {T}registration/submit",
    f"PUT {T}registration/activation",
    f"POST {T}registration/activate",
    f"POST {T}proposals/<str:proposal>/confirm",
    f"POST {T}key/resume",
    f"POST {T}key/leave",
    f"POST {T}key/old/<str:registration>/end",
]
OPEN = {"POST api/v1/oauth/token"}  # gives out service accounts' tokens; it takes none


def mounted() -> dict[str, Address]:
    """Return every method of every address of the API."""
    return {
        f"{name.upper()} {address.route}": address
        for address in addresses()
        if address.route.startswith("api/v1/")
        for name in address.view.view_class.http_method_names
        if name != "options" and hasattr(address.view.view_class, name)
    }


ADDRESSES = mounted()


def test_every_address_is_in_the_table() -> None:
    assert sorted(set(ADDRESSES) - OPEN) == sorted(DEMANDS)


class World:
    """An organisation with something behind every address."""

    def __init__(self, alice: Member, active: KeyRegistration) -> None:
        self.alice, tenant = alice, alice.tenant
        ticket = support_services.open_ticket(tenant, topic="question", subject="s", text="t", actor=acting(alice))
        drill = key_services.start_drill(tenant, actor=acting(alice))
        link, _ = key_services.make_link(tenant, name="Cloud platform", actor=acting(alice))
        proposal = key_services.propose(link, text="arn:aws:iam::111122223333:role/Proposed")
        facts = {"issuer": "https://login.acme.example", "client_id": "c", "sealed_secret": ""}
        SignOnConnection.objects.create(tenant=tenant, mode="draft", **facts)
        directory = services.set_directory(tenant, actor=acting(alice))
        self.named = {
            "<str:group>": DirectoryGroup.objects.create(directory=directory, display_name="Admins").pk,
            "<str:scim_token>": services.make_directory_token(directory, actor=acting(alice))[0].pk,
            "<str:link>": link.pk,
            "<str:proposal>": proposal.pk,
            "<str:tenant>": tenant.pk,
            "<str:number>": invited(tenant, "dora@acme.example", "admin").pk,
            "<str:former>": a_former_member(alice).pk,
            "<str:invitation>": services.invite(tenant, email="i@acme.example", role="admin", actor=acting(alice)).pk,
            "<str:name>": "trust-policy",
            "<str:test>": active.tests.get().pk,
            "<str:drill>": drill.pk,
            "<str:registration>": active.pk,
            "<str:recipient>": services.add_head_recipient(tenant, email="h@a.example", actor=acting(alice)).pk,
            "<str:head>": 1,
            "<str:event>": 1,
            "<str:use>": 1,
            "<str:ticket>": ticket.pk,
            "<str:stream>": a_log_stream(alice).pk,
            "<str:webhook>": (webhook := a_webhook(alice)).pk,
            "<str:delivery>": webhook.deliveries.get().message_id,
            "<str:approval>": an_approval(alice).pk,
            "<str:domain>": services.add_domain(tenant, name="acme.example", actor=acting(alice)).pk,
            "<str:token>": services.mint_token(alice, name="another", actor=acting(alice))[0].pk,
        }

    def ask(self, demand: str, permission: str, *, is_marked: bool) -> Any:
        """Return the answer to a token with one permission; what it did is undone."""
        method, route = demand.split(" ")
        for name, value in self.named.items():
            route = route.replace(name, str(value))
        with transaction.atomic():
            _, raw = services.mint_token(
                self.alice,
                name="t",
                permissions=[permission],
                days=30,
                may_change_serving_key=is_marked,
                actor=acting(self.alice),
            )
            client = Client(headers={"authorization": f"Bearer {raw}"})
            body = (
                {} if method == "GET" else {"data": body_of(ADDRESSES[demand].name), "content_type": "application/json"}
            )
            answer = getattr(client, method.lower())(f"/{route}", **body)
            transaction.set_rollback(True)
        authentication.forget_all()
        return answer


@pytest.fixture
def world(alice: Member, active: KeyRegistration) -> World:
    return World(alice, active)


def _code(answer: Any) -> str:
    return str(answer.json()["code"]) if answer.get("Content-Type") == "application/problem+json" else ""


def test_a_token_does_what_its_permission_names_and_nothing_else(world: World) -> None:
    asked = set()
    for demand, wanted in DEMANDS.items():
        for permission in roles.TOKEN_PERMISSIONS:
            answer = world.ask(demand, permission, is_marked=True)
            # No directory answers here: what is refused then is refused after the question who may.
            assert answer.status_code < 500 or _code(answer) == "address_unreachable", (demand, permission)
            if permission == wanted:
                # A made-up object is not there, and no directory answers.
                refused = {"not_found", "address_refused"}
                assert answer.status_code not in {400, 401, 403, 404, 405} or _code(answer) in refused, (
                    demand,
                    permission,
                    answer.content,
                )
            else:
                assert (answer.status_code, _code(answer)) == (403, "not_allowed"), (demand, permission)
                asked.add(answer.json()["params"]["permission"])
    of_tokens = {name for name, row in roles.OPERATIONS.items() if row.token}
    assert of_tokens - asked == NO_ADDRESS, "what a token may do has an address"


def test_without_the_mark_no_token_changes_a_key_that_serves(world: World) -> None:
    for demand in DEMANDS:
        unmarked = world.ask(demand, DEMANDS[demand] if DEMANDS[demand] != NOBODY else READ, is_marked=False)
        assert (_code(unmarked) == "token_not_marked") == (demand in MARKED), (demand, unmarked.content)


def test_a_rejected_replacement_is_tested_again_with_the_mark_only(world: World) -> None:
    serving = KeyRegistration.objects.serving().get()
    KeyRegistration.objects.create(
        tenant=serving.tenant,
        replaces=serving,
        status="rejected",
        key_arn=serving.key_arn,
        role_arn=f"{serving.role_arn}2",
    )
    again = f"POST {T}tests"
    assert _code(world.ask(again, SETUP, is_marked=False)) == "token_not_marked"
    assert world.ask(again, SETUP, is_marked=True).status_code == 202


def test_without_a_serving_key_a_draft_needs_no_mark(alice: Member, customer: Customer) -> None:
    world = World.__new__(World)
    world.alice, world.named = alice, {"<str:tenant>": alice.tenant_id}
    assert world.ask(f"PUT {T}registration", SETUP, is_marked=False).status_code == 200


def test_a_replacement_asks_for_a_fresh_sign_in(alice: Member, active: KeyRegistration, browser_of: Any) -> None:
    other = {"role_arn": "arn:aws:iam::111122223333:role/Another"}
    address = f"/tenants/{alice.tenant_id}/steps/2/"
    asked = browser_of(alice, is_fresh=False).post(address, other)
    assert asked["Location"].startswith("/accounts/")
    assert not KeyRegistration.objects.in_preparation().exists()
    assert browser_of(alice).post(address, other).status_code == 302
    submitted = browser_of(alice, is_fresh=False).post(f"/tenants/{alice.tenant_id}/steps/6/", {"confirmed": "on"})
    assert submitted["Location"].startswith("/accounts/")
    assert KeyRegistration.objects.in_preparation().get().status == "draft"


def test_an_answer_that_is_kept_for_one_token_is_not_shown_to_another(world: World) -> None:
    tenant = world.alice.tenant
    answers = []
    for permission in (OPERATE, READ):
        _, raw = services.mint_token(world.alice, name=permission, permissions=[permission], actor=acting(world.alice))
        client = Client(headers={"authorization": f"Bearer {raw}", "idempotency-key": "one"})
        answers.append(client.post(f"/api/v1/tenants/{tenant.pk}/key/suspend", REASON, content_type="application/json"))
    assert [answer.status_code for answer in answers] == [200, 403]


def test_the_automation_of_an_invited_owner_presses_the_tenants_own_button(
    alice: Member, active: KeyRegistration
) -> None:
    """Its Suspend is the tenant's, which staff cannot undo."""
    invitation = services.invite(alice.tenant, email="eve@acme.example", role="owner", actor=acting(alice))
    AccessToken.objects.all().delete()
    _, raw = services.mint_token_of_invitation(
        invitation, name="t", permissions=[OPERATE, SETUP], may_change_serving_key=True, actor=audit.COMMAND
    )
    client = Client(headers={"authorization": f"Bearer {raw}"})
    base = f"/api/v1/tenants/{alice.tenant_id}"
    suspended = client.post(f"{base}/key/suspend", REASON, content_type="application/json")
    assert suspended.json()["suspended_by"] == "tenant"
    ticket = client.post(
        f"{base}/tickets", {"topic": "question", "subject": "s", "text": "t"}, content_type="application/json"
    ).json()
    answered = client.post(f"{base}/tickets/{ticket['id']}/messages", {"text": "t"}, content_type="application/json")
    assert answered.json()["status"] == "waiting_for_kore"


# --- the table of operations -----------------------------------------------------------------------------------


def asked_for() -> set[str]:
    """Return the operations that our code asks the table for:
    by a call, or by what names the operation where one call is made for many."""
    found = set()
    for app in ("tenants", "keys", "support", "byokportal"):
        for path in Path(settings.BASE_DIR, app).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                    if node.value.value and [getattr(one, "id", "") for one in node.targets] == ["operation"]:
                        found.add(node.value.value)
                elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Operation":
                    names = [one.value for one in node.keywords if one.arg == "name"]
                    found |= {one.value for one in names if isinstance(one, ast.Constant)}
                elif (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and isinstance(node.func.value, ast.Name)
                    and (node.func.value.id == "roles" or node.func.attr == "require_scope")
                    # What staff may look at is a permission of Django's, no operation.
                    and node.func.attr != "staff_sees"
                    and len(node.args) > 1
                ):
                    found |= {
                        each.value
                        for each in ast.walk(node.args[1])
                        if isinstance(each, ast.Constant) and isinstance(each.value, str)
                    }
    return found


def test_every_row_of_the_table_is_asked_for_and_nothing_asks_for_a_row_that_is_not_there() -> None:
    asked = asked_for()
    assert sorted(asked - set(roles.OPERATIONS)) == []
    assert sorted(set(roles.OPERATIONS) - asked) == []


def test_a_token_touches_no_token_no_second_factor_and_nothing_of_staff() -> None:
    for name in (
        "tenants.mint_token",
        "tenants.revoke_token",
        "tenants.revoke_any_token",
        "tenants.reset_second_factor",
    ):
        assert roles.OPERATIONS[name].token == "", name
    for name, row in roles.OPERATIONS.items():
        assert row.members or not row.token, name
        assert row.is_fresh or not row.needs_mark, name
