"""A cursor that is none of ours is refused at each paged address, however long it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import a_webhook
from django.test import Client

from tenants.models import Member

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "openapi.yaml"
HOSTILE = ("9" * 5_000, "0" * 20 + "9" * 4_400, "0" * 20 + "9" * 19, "9" * 20, "²", "-1", "\x00", "1e9", "' OR 1=1 --")


def paged() -> list[str]:
    """Return the addresses that take a cursor."""
    paths = yaml.load(SCHEMA.read_text(), Loader=yaml.CSafeLoader)["paths"]
    return sorted(
        path
        for path, item in paths.items()
        if any(one.get("name") == "cursor" for one in item.get("get", {}).get("parameters", ()))
    )


@pytest.mark.parametrize("path", paged())
def test_a_cursor_of_nobody_is_refused(path: str, alice: Member, api_of: Callable[[Member], Client]) -> None:
    webhook = a_webhook(alice)
    url = path.replace("{tenant}", str(alice.tenant_id)).replace("{webhook}", str(webhook.pk))
    assert "{" not in url
    client = api_of(alice)
    answered = {cursor[:30]: client.get(url, {"cursor": cursor}).status_code for cursor in HOSTILE}
    assert set(answered.values()) <= {400, 422}, answered
