"""The digest of each service account becomes its present secret, which made all tokens that it has."""

from django.db import migrations


def forwards(apps, schema_editor):
    using = schema_editor.connection.alias
    ClientSecret = apps.get_model("tenants", "ClientSecret").objects.using(using)
    AccessToken = apps.get_model("tenants", "AccessToken").objects.using(using)
    for account in apps.get_model("tenants", "ServiceAccount").objects.using(using).iterator():
        secret = ClientSecret.create(
            service_account_id=account.pk, digest=account.secret_digest, created_at=account.created_at
        )
        AccessToken.filter(service_account_id=account.pk).update(secret=secret)


class Migration(migrations.Migration):
    dependencies = [("tenants", "0013_client_secrets")]
    operations = [migrations.RunPython(forwards, migrations.RunPython.noop)]
