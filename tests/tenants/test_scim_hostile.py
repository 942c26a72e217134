"""Whatever comes to the address of SCIM is answered in its form, and never by a bug of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import acting
from directory import verified_domain
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scim_directory import GROUP, PATCH, USER, Scim

from tenants import services
from tenants.models import DirectoryUser, Member, Tenant

pytestmark = pytest.mark.django_db
QUICK = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
TEXT = st.text(max_size=20) | st.sampled_from(["userName", "active", "emails", "members", "urn:x:y", "id", "schemas"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
PATHS = st.sampled_from(
    ["active", "emails", 'emails[type eq "work"].value', "members", "name.givenName", "id", "x", ""]
)


@pytest.fixture
def scim(tenant: Tenant, alice: Member) -> Scim:
    verified_domain(tenant)
    return Scim(alice)


def answered(scim: Scim, method: str, path: str, body: Any, kind: str = "application/scim+json") -> int:
    """Send it, and see that the answer has the form of SCIM."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode("utf-8", "surrogatepass")
    answer = Client(raise_request_exception=False).generic(
        method,
        f"/api/scim/v2/{scim.tenant.pk}/{path}",
        data,
        content_type=kind,
        headers={"authorization": f"Bearer {scim.raw}"},
    )
    assert answer.status_code < 500 or answer.status_code == 501, answer.content
    if answer.status_code >= 400:
        assert answer["Content-Type"] == "application/scim+json"
        error = answer.json()
        assert error["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
        assert error["status"] == str(answer.status_code)
    return answer.status_code


@QUICK
@given(more=st.dictionaries(TEXT, JSON, max_size=4), kind=st.sampled_from([USER, GROUP]))
def test_any_resource(scim: Scim, more: dict[str, Any], kind: str) -> None:
    path = "Users" if kind == USER else "Groups"
    answered(scim, "POST", path, {"schemas": [kind], "userName": "a", "displayName": "a", **more})


@QUICK
@given(op=st.sampled_from(["add", "replace", "remove", "Add", "x"]), path=PATHS, value=JSON)
def test_any_patch(scim: Scim, op: str, path: str, value: Any) -> None:
    person = DirectoryUser.objects.first()
    pk = str(person.pk) if person else scim.user("dora@acme.example")
    operation = {"op": op, "value": value, **({"path": path} if path else {})}
    answered(scim, "PATCH", f"Users/{pk}", {"schemas": [PATCH], "Operations": [operation]})


@QUICK
@given(text=st.text(max_size=60) | st.lists(st.sampled_from(
    ["userName", "eq", '"x"', "and", "or", "not", "(", ")", "[", "]", "emails", "active", "true", "id", "pr", "sw", "."]
), max_size=12).map(" ".join))  # fmt: skip
def test_any_filter(scim: Scim, text: str) -> None:
    answer = Client(raise_request_exception=False).get(
        f"/api/scim/v2/{scim.tenant.pk}/Users", {"filter": text.encode("utf-8", "replace").decode()},
        headers={"authorization": f"Bearer {scim.raw}"},
    )  # fmt: skip
    assert answer.status_code in {200, 400}


@pytest.mark.parametrize(("body", "kind", "status"), [
    (b" ", "application/scim+json", 400),
    (b"[]", "application/scim+json", 400),
    (b"{}", "text/plain", 415),
    (b"{}", "application/json", 400),
    (b"\xff\xfe", "application/scim+json", 400),
    (b"[" * 100_000, "application/scim+json", 400),
    (b'{"schemas": ' + b"[" * 100_000, "application/scim+json", 400),
    (b'{"userName": "\\u0000"}', "application/scim+json", 400),
    (b'{"userName": "\\ud800"}', "application/scim+json", 400),
    (b'{"userName": "a", "userName": "b"}', "application/scim+json", 400),
    (b'{"userName": ' + b"9" * 400 + b"}", "application/scim+json", 400),
    (b'{"userName": "' + b"x" * 300_000 + b'"}', "application/scim+json", 413),
])  # fmt: skip
def test_bodies_that_are_none(scim: Scim, body: bytes, kind: str, status: int) -> None:
    for method, path in (("POST", "Users"), ("POST", "Groups")):
        assert answered(scim, method, path, body, kind) == status


@pytest.mark.parametrize("facts", [
    {"userName": "\u0130" * 129},  # twice as long in lower case
    {"userName": "x" * 257}, {"userName": ""}, {"userName": None}, {"userName": "a", "externalId": "x" * 257},
    {"userName": "a", "emails": [{"value": "x"}] * 11}, {"userName": "a", "active": "perhaps"},
    {"userName": "a", "displayName": "byok_dt_" + "x" * 43}, {"userName": "a", "emails": "x"},
])  # fmt: skip
def test_values_that_do_not_fit(scim: Scim, facts: dict[str, Any]) -> None:
    assert answered(scim, "POST", "Users", {"schemas": [USER], **facts}) == 400
    assert not DirectoryUser.objects.exists()


def test_a_directory_is_bounded(scim: Scim, monkeypatch: pytest.MonkeyPatch) -> None:
    from tenants.services import directory_people

    for name in ("USERS", "GROUPS", "MEMBERSHIPS"):
        monkeypatch.setattr(directory_people, name, 1)
    person = scim.user("a@acme.example")
    assert answered(scim, "POST", "Users", {"schemas": [USER], "userName": "b"}) == 409
    scim.group("g", person)
    assert answered(scim, "POST", "Groups", {"schemas": [GROUP], "displayName": "h"}) == 409


def test_a_disconnected_directory_is_nobody(scim: Scim) -> None:
    services.remove_directory(scim.directory, reason="r", actor=acting(scim.owner))
    assert answered(scim, "GET", "Users", b"") == 401
