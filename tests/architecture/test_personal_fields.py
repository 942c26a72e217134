"""Every text column of every table says whether it can name a person, and what becomes of it when one is erased."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db import models

from tenants.personal_fields import FIELDS, LABEL, NOBODY, TENANT_PATHS, WAYS, WHOLE

TEXTS = (models.CharField, models.TextField, models.JSONField, models.BinaryField)
# What a column is called that holds the label of an actor, or an address, whatever the table says of it.
LABELS = ("actor", "author", "_by")
ADDRESSES = ("email", "recipient", "address")


def texts_of(model: Any) -> dict[str, Any]:
    fields = model._meta.concrete_fields
    return {one.name: one for one in fields if isinstance(one, TEXTS) and not one.choices}


def test_every_text_column_is_in_the_table_and_nothing_else_is() -> None:
    found = {model._meta.label: set(texts_of(model)) for model in apps.get_models(include_auto_created=True)}
    found = {name: columns for name, columns in found.items() if columns}
    assert {name: set(columns) for name, columns in FIELDS.items()} == found


def test_what_is_kept_has_a_reason_in_words() -> None:
    for name, columns in FIELDS.items():
        for column, way in columns.items():
            assert way in WAYS or len(way.split()) >= 5, f"{name}.{column}: {way}"


def test_no_column_that_is_called_like_a_persons_is_said_to_name_nobody() -> None:
    for name, columns in FIELDS.items():
        for column, way in columns.items():
            if column.endswith(LABELS) and way != LABEL:
                kept = {"tenants.AuditEvent.actor", "keys.RestoreHold.ended_by"}  # references; two labels in one text
                assert f"{name}.{column}" in kept, f"{name}.{column} holds a label"
            if column.endswith(ADDRESSES) and column != "sealed_address":
                assert way != NOBODY, f"{name}.{column} holds an address"
        for column, one in texts_of(apps.get_model(name)).items():
            assert not isinstance(one, models.EmailField) or columns[column] != NOBODY


def test_the_paths_to_the_organisation_lead_there_and_what_replaces_a_text_fits() -> None:
    for name, path in TENANT_PATHS.items():
        model = apps.get_model(name)
        assert "tenant" not in {one.name for one in model._meta.fields}, "it needs no path"
        assert str(model._base_manager.filter(**{path: None}).query)
    for name, columns in FIELDS.items():
        for column, way in columns.items():
            if way in {WHOLE, LABEL} and name != "tenants.PersonName":
                assert apps.get_model(name)._meta.get_field(column).max_length >= 64
