"""Support leads manage Kore.ai's own accounts, and recover an organisation without an owner, two of them together."""

from django.contrib.auth.management import create_permissions
from django.db import migrations

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
    ("manage_staff", "Can create, group and switch off accounts of Kore.ai's people"),
    ("recover_owner", "Can ask for the recovery of an organisation's owner, or approve one"),
]
VIEWED = {"tenants": ("ownerrecovery",)}


def forwards(apps, schema_editor):
    # Django makes permissions after the last migration; the groups need them now.
    using = schema_editor.connection.alias
    for label in ("support", *VIEWED):
        config = apps.get_app_config(label)
        config.models_module = True
        create_permissions(config, apps=apps, using=using, verbosity=0)
        config.models_module = None
    Group, Permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    permissions = Permission.objects.using(using)
    doing = permissions.filter(content_type__app_label="support", codename__in=("manage_staff", "recover_owner"))
    viewing = [
        permissions.get(content_type__app_label=label, codename=f"view_{model}")
        for label, models in VIEWED.items()
        for model in models
    ]
    for group in Group.objects.using(using).filter(name__in=("Support", "Support lead", "Auditor")):
        group.permissions.add(*viewing, *(doing if group.name == "Support lead" else ()))


class Migration(migrations.Migration):
    dependencies = [("support", "0005_one_clock"), ("tenants", "0010_recovery_of_an_owner")]
    operations = [
        migrations.AlterModelOptions(name="ticket", options={"ordering": ["-created_at"], "permissions": PERMISSIONS}),
        migrations.RunPython(forwards, migrations.RunPython.noop),
    ]
