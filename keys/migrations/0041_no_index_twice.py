"""Foreign keys whose index another one begins with have none of their own: each write of a row had two to keep."""

import django.db.models.deletion
from django.db import migrations, models

from byokportal.online_index import DropForeignKeyIndexes

TWICE = [
    ("cachedrop", "tenant"),
    ("checkresult", "test"),
    ("encryptiontest", "registration"),
    ("encryptiontest", "tenant"),
    ("keyregistration", "tenant"),
    ("keyuse", "tenant"),
    ("keyusehour", "tenant"),
    ("keyuserollup", "tenant"),
    ("keyusetotal", "tenant"),
    ("roleconfiguration", "registration"),
    ("roleconfiguration", "tenant"),
    ("servicerolepolicy", "service_role"),
]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ('keys', '0040_escrow'),
        ('tenants', '0036_no_index_twice'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[DropForeignKeyIndexes("keys", TWICE)],
            state_operations=[
                migrations.AlterField(
                    model_name='cachedrop',
                    name='tenant',
                    field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='cache_drops', to='tenants.tenant'),
                ),
                migrations.AlterField(
                    model_name='checkresult',
                    name='test',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='checks', to='keys.encryptiontest'),
                ),
                migrations.AlterField(
                    model_name='encryptiontest',
                    name='registration',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='tests', to='keys.keyregistration'),
                ),
                migrations.AlterField(
                    model_name='encryptiontest',
                    name='tenant',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='tests', to='tenants.tenant'),
                ),
                migrations.AlterField(
                    model_name='keyregistration',
                    name='tenant',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='registrations', to='tenants.tenant'),
                ),
                migrations.AlterField(
                    model_name='keyuse',
                    name='tenant',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='key_uses', to='tenants.tenant'),
                ),
                migrations.AlterField(
                    model_name='keyusehour',
                    name='tenant',
                    field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='key_use_hours', to='tenants.tenant'),
                ),
                migrations.AlterField(
                    model_name='keyuserollup',
                    name='tenant',
                    field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='key_use_roll_ups', to='tenants.tenant'),
                ),
                migrations.AlterField(
                    model_name='keyusetotal',
                    name='tenant',
                    field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='key_use_totals', to='tenants.tenant'),
                ),
                migrations.AlterField(
                    model_name='roleconfiguration',
                    name='registration',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='configurations', to='keys.keyregistration'),
                ),
                migrations.AlterField(
                    model_name='roleconfiguration',
                    name='tenant',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='role_configurations', to='tenants.tenant'),
                ),
                migrations.AlterField(
                    model_name='servicerolepolicy',
                    name='service_role',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='policies', to='tenants.servicerole'),
                ),
            ],
        ),
    ]
