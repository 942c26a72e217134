"""Names are searched by trigrams and addresses by equality; SQLite has no trigrams, and no fleet that needs them."""

from django.db import migrations

ADDRESS = "CREATE INDEX IF NOT EXISTS support_user_by_address ON auth_user (UPPER(email))"
TRIGRAMS = [
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "CREATE INDEX IF NOT EXISTS support_fleet_name_trigrams ON support_fleetrow USING gin (UPPER(name) gin_trgm_ops)",
    "CREATE INDEX IF NOT EXISTS support_ticket_subject_trigrams ON support_ticket USING gin (UPPER(subject) gin_trgm_ops)",
    "CREATE INDEX IF NOT EXISTS support_user_address_trigrams ON auth_user USING gin (UPPER(email) gin_trgm_ops)",
]
NAMES = ["support_user_by_address", "support_fleet_name_trigrams", "support_ticket_subject_trigrams", "support_user_address_trigrams"]


def make(apps, schema_editor):
    for statement in [ADDRESS, *(TRIGRAMS if schema_editor.connection.vendor == "postgresql" else [])]:
        schema_editor.execute(statement)


def drop(apps, schema_editor):
    for name in NAMES:
        schema_editor.execute(f"DROP INDEX IF EXISTS {name}")


class Migration(migrations.Migration):
    dependencies = [
        ("support", "0010_the_fleet_is_read_by_indexes"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]
    operations = [migrations.RunPython(make, drop)]
