"""Foreign keys whose index another one begins with have none of their own: each write of a row had two to keep."""

import django.db.models.deletion
from django.db import migrations, models

from byokportal.online_index import DropForeignKeyIndexes

TWICE = [
    ("approval", "tenant"),
    ("auditevent", "tenant"),
    ("directorygroup", "directory"),
    ("directoryuser", "directory"),
    ("headrecipient", "tenant"),
    ("onboardingmove", "step"),
    ("onboardingstep", "tenant"),
    ("signonassertion", "connection"),
    ("signonidentity", "connection"),
    ("tenanthead", "tenant"),
]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ('tenants', '0035_looks_by_person'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[DropForeignKeyIndexes("tenants", TWICE)],
            state_operations=[
                migrations.AlterField(
                    model_name='approval',
                    name='tenant',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='approvals', to='tenants.tenant'),
                ),
                migrations.AlterField(
                    model_name='auditevent',
                    name='tenant',
                    field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='events', to='tenants.tenant'),
                ),
                migrations.AlterField(
                    model_name='directorygroup',
                    name='directory',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='groups', to='tenants.directory'),
                ),
                migrations.AlterField(
                    model_name='directoryuser',
                    name='directory',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='users', to='tenants.directory'),
                ),
                migrations.AlterField(
                    model_name='headrecipient',
                    name='tenant',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='head_recipients', to='tenants.tenant'),
                ),
                migrations.AlterField(
                    model_name='onboardingmove',
                    name='step',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='moves', to='tenants.onboardingstep'),
                ),
                migrations.AlterField(
                    model_name='onboardingstep',
                    name='tenant',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='steps', to='tenants.tenant'),
                ),
                migrations.AlterField(
                    model_name='signonassertion',
                    name='connection',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenants.signonconnection'),
                ),
                migrations.AlterField(
                    model_name='signonidentity',
                    name='connection',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='identities', to='tenants.signonconnection'),
                ),
                migrations.AlterField(
                    model_name='tenanthead',
                    name='tenant',
                    field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='log_heads', to='tenants.tenant'),
                ),
            ],
        ),
    ]
