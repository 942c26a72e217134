"""The three groups of the back office and what each may see and do; people are put into them, permissions never are."""

from django.contrib.auth.management import create_permissions
from django.db import migrations

VIEWED = {
    "tenants": ("tenant", "member", "serviceaccount", "servicerole", "onboardingstep", "auditevent"),
    "keys": ("keyregistration", "encryptiontest", "roleconfiguration"),
    "support": ("ticket", "notice"),
    "auth": ("user",),
}
SUPPORT = ("approve_configuration", "run_test", "answer_ticket")
LEAD = (*SUPPORT, "suspend_key", "resume_key", "create_tenant", "manage_service_accounts")
GROUPS = {"Support": SUPPORT, "Support lead": LEAD, "Auditor": ()}


def forwards(apps, schema_editor):
    # Django makes permissions after the last migration; the groups need them now.
    for label in VIEWED:
        config = apps.get_app_config(label)
        config.models_module = True
        create_permissions(config, apps=apps, using=schema_editor.connection.alias, verbosity=0)
        config.models_module = None
    Group, Permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    permissions = Permission.objects.using(schema_editor.connection.alias)
    viewing = [
        permissions.get(content_type__app_label=label, codename=f"view_{model}")
        for label, models in VIEWED.items()
        for model in models
    ]
    for name, deeds in GROUPS.items():
        group, _ = Group.objects.using(schema_editor.connection.alias).get_or_create(name=name)
        doing = [permissions.get(content_type__app_label="support", codename=deed) for deed in deeds]
        group.permissions.set([*viewing, *doing])


def backwards(apps, schema_editor):
    apps.get_model("auth", "Group").objects.using(schema_editor.connection.alias).filter(name__in=GROUPS).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("support", "0001_initial"),
        ("keys", "0001_initial"),
        ("tenants", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(forwards, backwards)]
