"""Whom the DNS is asked by, and what its answers mean."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from byokportal import resolver

ROOT = Path(__file__).parents[2]


def test_a_file_stands_in_for_the_dns(tmp_path: Path, settings: object) -> None:
    (tmp_path / "dns.json").write_text(json.dumps({"a.example": ["TXT one", "TXT two words", "A 10.0.0.1"]}))
    settings.DNS_RESOLVER = f"file:{tmp_path / 'dns.json'}"  # type: ignore[attr-defined]
    assert resolver.texts("a.example", seconds=1) == ["one", "two words"]
    assert resolver.addresses("a.example", seconds=1) == ["10.0.0.1"]
    with pytest.raises(resolver.NoSuchRecord):
        resolver.texts("b.example", seconds=1)


def test_a_file_that_is_not_there_knows_nothing(tmp_path: Path, settings: object) -> None:
    settings.DNS_RESOLVER = f"file:{tmp_path / 'dns.json'}"  # type: ignore[attr-defined]
    with pytest.raises(resolver.NoSuchRecord):
        resolver.texts("a.example", seconds=1)


@pytest.mark.parametrize("text", ["localhost", "10.0.0.2:x", "10.0.0.256", "https://10.0.0.2"])
def test_a_resolver_is_an_address(text: str) -> None:
    with pytest.raises(ImproperlyConfigured):
        resolver.servers(text)


def test_resolvers_are_addresses_with_or_without_a_port() -> None:
    made = resolver.servers("10.0.0.2, 10.0.0.3:5353, 2001:4860:4860::8888")
    assert [(one.address, one.port) for one in made] == [
        ("10.0.0.2", 53),
        ("10.0.0.3", 5353),
        ("2001:4860:4860::8888", 53),
    ]


@pytest.mark.parametrize("name", ["", ".", "a..b", "x" * 64 + ".example", ("x" * 60 + ".") * 5])
def test_what_is_no_name_has_no_record(name: str, settings: object) -> None:
    settings.DNS_RESOLVER = "127.0.0.1:9"  # type: ignore[attr-defined]
    with pytest.raises((resolver.NoSuchRecord, resolver.NoAnswer)):
        resolver.texts(name, seconds=0.2)


@pytest.mark.parametrize(
    ("name", "value"), [("OUTBOUND_ALLOW", "http://127.0.0.1:9400"), ("DNS_RESOLVER", "file:/tmp/dns.json")]
)
def test_what_is_for_tests_does_not_start_with_real_aws(name: str, value: str, tmp_path: Path) -> None:
    left = {one: os.environ[one] for one in ("PATH", "HOME", "LANG") if one in os.environ}
    real = {
        "AWS_MODE": "real",
        "SECRET_KEY": "x" * 50,
        "AWS_ACCOUNT_ID": "111122223333",
        "CANARY_ACCOUNT_ID": "444455556666",
        "DATABASE_URL": "postgres://byok@db.byok.example/byok",
        "VAR_DIR": str(tmp_path),
    }
    ran = subprocess.run(
        [sys.executable, "-c", "import byokportal.settings"],
        cwd=ROOT,
        env={**left, **real, name: value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode != 0
    assert f"refused together with {name}" in ran.stderr
