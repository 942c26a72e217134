"""Where in the database a text stands: what tests ask of a person who was erased."""

from __future__ import annotations

from django.apps import apps
from django.db.models import TextField
from django.db.models.functions import Cast

from tenants.personal_fields import FIELDS


def everywhere(text: str) -> list[str]:
    """Return each column of the database in which a text stands."""
    found = []
    for name, columns in FIELDS.items():
        rows = apps.get_model(name)._base_manager.all()
        for column in columns:
            if rows.annotate(as_text=Cast(column, TextField())).filter(as_text__icontains=text).exists():
                found.append(f"{name}.{column}")
    return found
