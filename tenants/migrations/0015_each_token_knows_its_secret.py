"""Nothing asks the digest in the row of the account any more; a service account's token has a secret, and no other has one."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0014_digests_move_to_client_secrets")]
    operations = [
        migrations.RemoveField(model_name="serviceaccount", name="secret_digest"),
        migrations.AddConstraint(
            model_name="accesstoken",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("secret", None), ("service_account", None)),
                    models.Q(("secret__isnull", False), ("service_account__isnull", False)),
                    _connector="OR",
                ),
                name="tenants_token_knows_its_secret",
            ),
        ),
    ]
