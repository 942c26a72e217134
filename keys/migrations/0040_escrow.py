"""Whether there is a copy of a branch key outside the database; of those that are there nothing is known."""

from django.db import migrations, models

import byokportal.clock


class Migration(migrations.Migration):
    dependencies = [("keys", "0039_canaries")]

    operations = [
        migrations.AddField("branchkey", "escrow_attempts", models.PositiveIntegerField(default=0, db_default=0)),
        migrations.AddField("branchkey", "escrow_due_at", models.DateTimeField(null=True)),
        migrations.AddField("branchkey", "escrowed_at", models.DateTimeField(null=True)),
        migrations.AddField("branchkey", "wrapped_at", models.DateTimeField(null=True)),
        migrations.AlterField("branchkey", "wrapped_at", models.DateTimeField(null=True, default=byokportal.clock.now)),
        migrations.AddIndex(
            "branchkey",
            models.Index(
                fields=["escrow_due_at"],
                condition=models.Q(escrow_due_at__isnull=False),
                name="keys_branch_key_escrow_due",
            ),
        ),
    ]
