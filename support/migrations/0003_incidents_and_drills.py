"""The groups of the back office see incidents and revocation drills too."""

from django.contrib.auth.management import create_permissions
from django.db import migrations

VIEWED = ("incident", "revocationdrill")
GROUPS = ("Support", "Support lead", "Auditor")


def forwards(apps, schema_editor):
    # Django makes permissions after the last migration; the groups need them now.
    config = apps.get_app_config("keys")
    config.models_module = True
    create_permissions(config, apps=apps, using=schema_editor.connection.alias, verbosity=0)
    config.models_module = None
    Group, Permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    viewing = Permission.objects.using(schema_editor.connection.alias).filter(
        content_type__app_label="keys", codename__in=[f"view_{model}" for model in VIEWED]
    )
    for group in Group.objects.using(schema_editor.connection.alias).filter(name__in=GROUPS):
        group.permissions.add(*viewing)


class Migration(migrations.Migration):
    dependencies = [("support", "0002_groups"), ("keys", "0008_health")]
    operations = [migrations.RunPython(forwards, migrations.RunPython.noop)]
