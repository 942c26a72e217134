"""Support may drop a tenant's cached keys, a lead may close an incident."""

from django.contrib.auth.management import create_permissions
from django.db import migrations

DEEDS = {"Support": ("drop_caches",), "Support lead": ("drop_caches", "close_incident")}
PERMISSIONS = [
    ("approve_configuration", "Can approve a service-side configuration"),
    ("run_test", "Can run the encryption test"),
    ("suspend_key", "Can suspend a tenant's key"),
    ("resume_key", "Can resume a tenant's key"),
    ("drop_caches", "Can make every process forget a tenant's unwrapped keys"),
    ("close_incident", "Can close an incident on our own side"),
    ("answer_ticket", "Can answer and close tickets"),
    ("create_tenant", "Can create tenants and invite their owners"),
    ("manage_service_accounts", "Can create service accounts and rotate their secrets"),
]


def forwards(apps, schema_editor):
    # Django makes permissions after the last migration; the groups need them now.
    config = apps.get_app_config("support")
    config.models_module = True
    create_permissions(config, apps=apps, using=schema_editor.connection.alias, verbosity=0)
    config.models_module = None
    Group, Permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    mine = Permission.objects.using(schema_editor.connection.alias).filter(content_type__app_label="support")
    for group in Group.objects.using(schema_editor.connection.alias).filter(name__in=DEEDS):
        group.permissions.add(*mine.filter(codename__in=DEEDS[group.name]))


class Migration(migrations.Migration):
    dependencies = [("support", "0003_incidents_and_drills")]
    operations = [
        migrations.AlterModelOptions(name="ticket", options={"ordering": ["-created_at"], "permissions": PERMISSIONS}),
        migrations.RunPython(forwards, migrations.RunPython.noop),
    ]
