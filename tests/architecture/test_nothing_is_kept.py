"""No cache keeps an answer of ours, whatever the address, and every cookie is bound to this host by its name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from url_map import addresses

from tenants.models import Member, ServiceAccount, Tenant

pytestmark = pytest.mark.django_db


def filled(route: str, tenant: Tenant) -> str:
    """Return an address of a route; what is not there may be a 404, which is kept as little."""
    parts = []
    for part in route.replace("^", "").replace("$", "").replace("\\", "").split("/"):
        if "tenant>" in part:
            part = str(tenant.pk)
        elif "uuid:" in part or ("str:" in part and part.endswith(">")):
            part = str(uuid.uuid4())
        elif "<int:" in part:
            part = "1"
        elif "<" in part or "(" in part:
            part = "trust-policy"
        parts.append(part)
    return "/" + "/".join(parts)


ROUTES = sorted({address.route for address in addresses()})


def test_no_answer_is_kept_wherever_it_comes_from(
    alice: Member,
    sam: User,
    service: ServiceAccount,
    tenant: Tenant,
    browser_of: Callable[[Member | User], Client],
    api_of: Callable[[Member | ServiceAccount], Client],
) -> None:
    assert len(ROUTES) > 100
    for caller in (Client(), browser_of(alice), browser_of(sam)):
        for route in ROUTES:
            for method in ("get", "post"):
                answer = getattr(caller, method)(filled(route, tenant))
                assert "no-store" in answer.get("Cache-Control", ""), (route, method, answer.status_code)
                if answer.status_code == 200 and "logout" in route and method == "post":
                    break
    for api in (api_of(alice), api_of(service)):
        for route in (route for route in ROUTES if route.startswith("api/v1/") and route != "api/v1/oauth/token"):
            answer = api.get(filled(route, tenant))
            assert "no-store" in answer.get("Cache-Control", ""), route


def test_what_goes_wrong_is_not_kept_either(
    tenant: Tenant, settings: Any, alice: Member, browser_of: Callable[[Member], Client]
) -> None:
    for path in ("/nothing", "/api/v1/nothing", f"{settings.STATIC_URL}nothing.css", "/admin/nothing"):
        assert "no-store" in Client().get(path)["Cache-Control"], path
    settings.ALLOWED_HOSTS = ["byok.example"]
    assert Client().get("/accounts/login/", headers={"host": "evil.example"})["Cache-Control"] == "no-store"
    settings.SECURE_SSL_REDIRECT = True
    moved = Client().get("/accounts/login/", headers={"host": "byok.example"})
    assert (moved.status_code, "no-store" in moved["Cache-Control"]) == (301, True)


def test_files_are_kept() -> None:
    assert Client().get(f"{settings.STATIC_URL}portal/portal.css").get("Cache-Control", "") != "no-store"


ASK = """
import json, django
django.setup()
from django.conf import settings
from byokportal.kept import MessagesCookie
names = {name: getattr(settings, name) for name in dir(settings) if name.endswith("COOKIE_NAME")}
rest = {name: getattr(settings, name) for name in dir(settings) if "_COOKIE_" in name}
print(json.dumps({"names": names, "rest": rest, "messages": MessagesCookie.cookie_name}, default=str))
"""


@pytest.mark.parametrize("is_embedded", [False, True])
def test_cookies_are_bound_to_this_host_wherever_https_is_on(is_embedded: bool, tmp_path: Any) -> None:
    more = {
        "EMBEDDED": str(int(is_embedded)),
        "ALLOWED_HOSTS": "byok.example",
        "VAR_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "byokportal.settings",
    }
    answer = subprocess.run(
        [sys.executable, "-c", ASK], env={**os.environ, **more}, capture_output=True, text=True, check=True
    )
    found = json.loads(answer.stdout)
    names = {**found["names"], "MESSAGES": found["messages"]}
    assert {"SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "LANGUAGE_COOKIE_NAME"} <= set(names)
    for name, value in names.items():
        assert value.startswith("__Host-") == (not is_embedded), name
    for name, value in found["rest"].items():
        if name.endswith("_SECURE"):
            assert value is (not is_embedded), name
        if name.endswith("_DOMAIN"):
            assert value is None, name
        if name.endswith("_PATH"):
            assert value == "/", name
