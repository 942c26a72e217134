"""The embedded run takes no database and no key of the shell that it is started in."""

from __future__ import annotations

from pathlib import Path

import pytest

from byokportal.embedded.stack import Stack


@pytest.mark.parametrize(
    "name", ["DATABASE_URL", "DATABASE_URL_FILE", "SECRET_KEY_FILE", "BASE_URL_FILE", "AWS_MODE_FILE"]
)
def test_what_names_anothers_server_is_not_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "/run/secrets/another")
    monkeypatch.setenv("LOG_LEVEL_FILE", "/a/file/of/theirs")
    made = Stack(tmp_path, port=0, aws_port=0, settings={}, show=print)._environment()
    assert name not in made
    assert (made["AWS_MODE"], made["LOG_LEVEL_FILE"]) == ("local", "/a/file/of/theirs")
