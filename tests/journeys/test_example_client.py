"""The client that service teams copy, against the live server: files, cache, retries, renewal, revocation."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from keys import services as key_services
from keys.models import KeyRegistration, KeyUse
from tenants import access, audit, authentication, limits, roles, services, tokens
from tenants.models import Member, Tenant

pytestmark = pytest.mark.django_db(transaction=True)
FILE = Path(__file__).parents[2] / "docs" / "examples" / "byok_client.py"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("byok_client", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["byok_client"] = module
    spec.loader.exec_module(module)
    return module


byok_client = load()


@pytest.fixture
def credentials(tenant: Tenant) -> tuple[str, str]:
    account, secret = services.create_service_account(
        "files", tenants=[tenant], scopes=roles.SCOPES, actor=audit.COMMAND
    )
    return str(account.pk), secret


@pytest.fixture
def client(live_server: LiveServer, active: KeyRegistration, credentials: tuple[str, str]) -> Any:
    authentication.forget_all()
    access.forget_all()
    limits.forget_all()
    return byok_client.Client(live_server.url, *credentials, timeout=5)


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 200_000])
def test_a_file_comes_back_as_it_was(client: Any, tenant: Tenant, tmp_path: Path, size: int) -> None:
    plain, sealed, back = tmp_path / "a", tmp_path / "a.byok", tmp_path / "b"
    plain.write_bytes(os.urandom(size))
    byok_client.encrypt_file(client, str(tenant.pk), str(plain), str(sealed), {"file": "a"})
    byok_client.decrypt_file(client, str(tenant.pk), str(sealed), str(back), {"file": "a"})
    assert back.read_bytes() == plain.read_bytes()
    assert KeyUse.objects.count() == 1  # the key was still in the client's cache


def test_a_file_that_was_changed_or_cut_is_refused_and_leaves_nothing(
    client: Any, tenant: Tenant, tmp_path: Path
) -> None:
    plain, sealed, back = tmp_path / "a", tmp_path / "a.byok", tmp_path / "b"
    plain.write_bytes(os.urandom(150_000))
    byok_client.encrypt_file(client, str(tenant.pk), str(plain), str(sealed))
    whole = sealed.read_bytes()
    header, chunk = 6 + 2 + 129, 65_536 + 16
    first, second = whole[header : header + chunk], whole[header + chunk : header + 2 * chunk]
    broken = {
        "a bit": whole[:-1] + bytes([whole[-1] ^ 1]),
        "cut at a chunk": whole[: header + 2 * chunk],
        "cut in a chunk": whole[:-5],
        "two swapped": whole[:header] + second + first + whole[header + 2 * chunk :],
        "one doubled": whole[:header] + first + first + second + whole[header + 2 * chunk :],
        "another magic": b"X" + whole[1:],
    }
    for name, content in broken.items():
        sealed.write_bytes(content)
        with pytest.raises(ValueError):
            byok_client.decrypt_file(client, str(tenant.pk), str(sealed), str(back))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.byok"], name
    sealed.write_bytes(whole)
    with pytest.raises(byok_client.Problem) as refused:
        byok_client.decrypt_file(client, str(tenant.pk), str(sealed), str(back), {"file": "another context"})
    assert refused.value.code == "wrapped_key_unreadable"


def test_the_cache_ends_at_cache_until(client: Any, tenant: Tenant) -> None:
    Tenant.objects.filter(pk=tenant.pk).update(revocation_latency=4)
    key = client.new_key(str(tenant.pk))
    assert key.until - time.monotonic() <= 4
    client.open_key(str(tenant.pk), key.wrapped)
    assert KeyUse.objects.count() == 1
    time.sleep(max(0.0, key.until - time.monotonic()) + 0.05)
    assert client.open_key(str(tenant.pk), key.wrapped).plaintext == key.plaintext
    assert KeyUse.objects.count() == 2
    assert key.plaintext.hex() not in repr(key) and str(key.plaintext) not in repr(key)


def test_a_token_is_renewed_and_a_used_up_share_is_waited_for(
    client: Any, tenant: Tenant, credentials: tuple[str, str], settings: Any
) -> None:
    client.new_key(str(tenant.pk))
    services_tokens = tokens.AccessToken.objects.filter(service_account=credentials[0])
    services_tokens.update(revoked_at=timezone.now())
    authentication.forget_all()
    access.forget_all()
    client.new_key(str(tenant.pk))
    assert services_tokens.count() == 2
    settings.DATA_KEYS_PER_TENANT = 1
    for _ in range(2):
        client.new_key(str(tenant.pk))


def test_a_suspended_key_is_purged_by_key_states_and_by_a_refusal(client: Any, tenant: Tenant, alice: Member) -> None:
    key = client.new_key(str(tenant.pk))
    client.follow_key_states()
    assert client.open_key(str(tenant.pk), key.wrapped) is key
    key_services.suspend(tenant, reason="stop", actor=audit.Actor.of_member(alice, via="api"))
    assert "suspended" in {change["status"] for change in client.follow_key_states()}
    with pytest.raises(byok_client.Problem) as refused:
        client.open_key(str(tenant.pk), key.wrapped)
    assert (refused.value.status, refused.value.code) == (423, "suspended")


def test_the_command_line(
    live_server: LiveServer, active: KeyRegistration, tenant: Tenant, credentials: tuple[str, str], tmp_path: Path
) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "BYOK_URL": live_server.url,
        "BYOK_CLIENT_ID": credentials[0],
        "BYOK_CLIENT_SECRET": credentials[1],
        "BYOK_TENANT": str(tenant.pk),
    }
    (tmp_path / "a").write_bytes(b"hello")
    for operation, source, target in (("encrypt", "a", "a.byok"), ("decrypt", "a.byok", "a")):
        command = [sys.executable, str(FILE), operation, str(tmp_path / source), str(tmp_path / target)]
        subprocess.run(command, env=environment, check=True, timeout=30)
    assert (tmp_path / "a").read_bytes() == b"hello"


def test_it_refuses_to_send_secrets_without_tls() -> None:
    with pytest.raises(ValueError, match="https"):
        byok_client.Client("http://byok.example.com", "id", "secret")
