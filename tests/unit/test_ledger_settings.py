"""What of a DATABASE_URL the ledger's own connection takes; an option that it cannot have is refused by name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from keys.datakeys.ledger import links


def parameters(monkeypatch: pytest.MonkeyPatch, **given: Any) -> dict[str, Any]:
    django = SimpleNamespace(get_connection_params=lambda: dict(given), vendor="postgresql")
    monkeypatch.setattr(links, "connection", django)
    return links._parameters()


def test_what_a_url_names_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    made = parameters(
        monkeypatch,
        dbname="byok",
        user="byok",
        password="p",
        host="db",
        port="5433",
        connect_timeout=3,
        client_encoding="UTF8",
    )
    assert {name: made[name] for name in ("database", "user", "password", "host", "port")} == {
        "database": "byok",
        "user": "byok",
        "password": "p",
        "host": "db",
        "port": 5433,
    }


def test_tls_is_asked_for_as_django_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = parameters(monkeypatch, dbname="byok", sslmode="verify-full", sslrootcert="/ca.pem")
    assert made["dsn"] == "postgresql://?sslmode=verify-full&sslrootcert=%2Fca.pem"


def test_an_option_that_the_ledger_cannot_have_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImproperlyConfigured, match="gssencmode"):
        parameters(monkeypatch, dbname="byok", gssencmode="require")
    with pytest.raises(ImproperlyConfigured, match="gssencmode"):
        links.require_settings()
