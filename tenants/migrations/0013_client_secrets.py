"""Client secrets are rows: the present one, and for at most a day the one before it; each token knows which made it."""

import byokportal.clock
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0012_pages_that_poll_read_little")]
    operations = [
        migrations.CreateModel(
            name="ClientSecret",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(default=byokportal.clock.now, editable=False)),
                (
                    "service_account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="secrets", to="tenants.serviceaccount"
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("expires_at", None), ("revoked_at", None)),
                        fields=("service_account",),
                        name="tenants_one_present_secret_per_account",
                    )
                ],
            },
        ),
        migrations.AddField(
            model_name="accesstoken", name="made_by", field=models.CharField(blank=True, max_length=200)
        ),
        migrations.AddField(
            model_name="accesstoken",
            name="secret",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="tokens",
                to="tenants.clientsecret",
            ),
        ),
    ]
