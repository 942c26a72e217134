"""The registration loses what `KeyHealth` holds (0023). Backwards, the columns get back what stands there."""

from importlib import import_module

from django.db import migrations

HEALTH = import_module("keys.migrations.0023_key_health")
# On SQLite it names the table of registrations, which is made anew where columns come back.
GUARD = import_module("keys.migrations.0021_wrappings_are_insert_only").SQLITE[1]


def drop_guard(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute("DROP TRIGGER IF EXISTS keys_wrapping_no_early_end")


def make_guard(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute(GUARD, params=None)


def backwards(apps, schema_editor):
    registrations = HEALTH.of(apps, schema_editor, "KeyRegistration")
    for health in HEALTH.of(apps, schema_editor, "KeyHealth").order_by("pk").iterator(HEALTH.CHUNK):
        registrations.filter(pk=health.registration_id).update(
            **{name: getattr(health, name) for name in HEALTH.COLUMNS}
        )
    HEALTH.of(apps, schema_editor, "KeyHealth").all().delete()


class Migration(migrations.Migration):

    dependencies = [("keys", "0023_key_health")]

    operations = [
        migrations.RunPython(drop_guard, make_guard),
        migrations.RunPython(migrations.RunPython.noop, backwards),
        migrations.RemoveIndex(model_name="keyregistration", name="keys_registration_next_probe"),
        *(migrations.RemoveField(model_name="keyregistration", name=name) for name in HEALTH.COLUMNS),
        migrations.RunPython(make_guard, drop_guard),
    ]
