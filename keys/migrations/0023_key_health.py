"""What probes find gets a row of its own; the old columns of the registration go in the next migration."""

from django.db import migrations, models
from django.db.models import deletion

COLUMNS = (
    "next_probe_at",
    "probe_claimed_at",
    "last_probe_at",
    "probe_asked_at",
    "is_probe_awaited",
    "woken_at",
    "probe_failures",
    "good_probes",
    "good_since",
    "denied_probes",
    "refused_since",
    "refused_code",
    "denied_since",
    "allowed_until",
    "allowed_since",
    "key_facts",
    "trust_looked_at",
    "insecure_since",
    "dense_until",
)
CHUNK = 1_000


def of(apps, schema_editor, model):
    return apps.get_model("keys", model).objects.using(schema_editor.connection.alias)


def forwards(apps, schema_editor):
    """Make a row for each registration that ever served, with what its columns say."""
    KeyHealth = apps.get_model("keys", "KeyHealth")
    served = of(apps, schema_editor, "KeyRegistration").exclude(activated_at=None)
    rows = (
        KeyHealth(
            tenant_id=one.tenant_id,
            registration=one,
            region=(one.key_arn.split(":") + [""] * 4)[3],
            **{name: getattr(one, name) for name in COLUMNS},
        )
        for one in served.order_by("pk").iterator(CHUNK)
    )
    of(apps, schema_editor, "KeyHealth").bulk_create(rows, batch_size=CHUNK)


class Migration(migrations.Migration):

    dependencies = [
        ("keys", "0022_what_a_process_has_seen"),
        ("tenants", "0020_the_transaction_of_a_stop"),
    ]

    operations = [
        migrations.CreateModel(
            name="KeyHealth",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "tenant",
                    models.ForeignKey(on_delete=deletion.PROTECT, related_name="key_health", to="tenants.tenant"),
                ),
                (
                    "registration",
                    models.ForeignKey(
                        db_index=False, on_delete=deletion.PROTECT, related_name="health", to="keys.keyregistration"
                    ),
                ),
                ("data_scope", models.CharField(default="default", max_length=64)),
                ("region", models.CharField(max_length=64)),
                ("next_probe_at", models.DateTimeField(null=True)),
                ("probe_claimed_at", models.DateTimeField(null=True)),
                ("last_probe_at", models.DateTimeField(null=True)),
                ("probe_asked_at", models.DateTimeField(null=True)),
                ("is_probe_awaited", models.BooleanField(default=False)),
                ("woken_at", models.DateTimeField(null=True)),
                ("probe_failures", models.PositiveIntegerField(default=0)),
                ("good_probes", models.PositiveIntegerField(default=0)),
                ("good_since", models.DateTimeField(null=True)),
                ("denied_probes", models.PositiveIntegerField(default=0)),
                ("refused_since", models.DateTimeField(null=True)),
                ("refused_code", models.CharField(blank=True, max_length=64)),
                ("denied_since", models.DateTimeField(null=True)),
                ("allowed_until", models.DateTimeField(null=True)),
                ("allowed_since", models.DateTimeField(null=True)),
                ("key_facts", models.JSONField(default=dict)),
                ("trust_looked_at", models.DateTimeField(null=True)),
                ("insecure_since", models.DateTimeField(null=True)),
                ("dense_until", models.DateTimeField(null=True)),
            ],
            options={"verbose_name_plural": "key health"},
        ),
        migrations.AddIndex(
            model_name="keyhealth",
            index=models.Index(fields=["next_probe_at"], name="keys_health_next_probe"),
        ),
        migrations.AddConstraint(
            model_name="keyhealth",
            constraint=models.UniqueConstraint(
                fields=("registration", "data_scope", "region"), name="keys_one_health_per_key_scope_region"
            ),
        ),
        migrations.RunPython(forwards, migrations.RunPython.noop),
    ]
