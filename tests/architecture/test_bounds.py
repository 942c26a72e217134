"""Every table of ours has its bound in docs/capacity.md, and no index that another one begins with."""

from __future__ import annotations

import re
from pathlib import Path

from django.apps import apps
from django.db import models

CAPACITY = (Path(__file__).resolve().parents[2] / "docs/capacity.md").read_text()
OURS = [model for model in apps.get_models() if model._meta.managed and model.__module__.split(".")[0] in {
    "tenants", "keys", "support"}]  # fmt: skip


def test_every_table_stands_there_once_and_says_what_makes_it_grow() -> None:
    rows = re.findall(r"^\| (`(?:keys|tenants|support)\.[^|]*) \| ([^|]+) \| ([^|]*) \|$", CAPACITY, re.MULTILINE)
    named = [name for tables, _, _ in rows for name in re.findall(r"`([a-z]+\.[A-Za-z]+)`", tables)]
    assert sorted(named) == sorted(model._meta.label for model in OURS)
    assert all(grows.strip() for _, grows, _ in rows)


def test_no_foreign_key_has_an_index_that_another_one_begins_with() -> None:
    twice = []
    for model in OURS:
        first = {index.fields[0].lstrip("-") for index in model._meta.indexes if index.fields and not index.condition}
        first |= {
            one.fields[0]
            for one in model._meta.constraints
            if isinstance(one, models.UniqueConstraint) and one.fields and one.condition is None
        }
        twice += [
            f"{model._meta.label}.{field.name}"
            for field in model._meta.local_fields
            if isinstance(field, models.ForeignKey) and field.db_index and not field.unique and field.name in first
        ]
    assert twice == []
