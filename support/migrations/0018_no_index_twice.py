"""Foreign keys whose index another one begins with have none of their own: each write of a row had two to keep."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from byokportal.online_index import DropForeignKeyIndexes

TWICE = [
    ("bulkoperation", "requested_by"),
    ("mailchoice", "member"),
    ("notice", "event"),
    ("savedview", "user"),
    ("ticketmessage", "tenant"),
    ("webhookdelivery", "endpoint"),
    ("webhookdelivery", "event"),
]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ('support', '0017_clocks_of_open_tickets'),
        ('tenants', '0036_no_index_twice'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[DropForeignKeyIndexes("support", TWICE)],
            state_operations=[
                migrations.AlterField(
                    model_name='bulkoperation',
                    name='requested_by',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
                ),
                migrations.AlterField(
                    model_name='mailchoice',
                    name='member',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='mail_choices', to='tenants.member'),
                ),
                migrations.AlterField(
                    model_name='notice',
                    name='event',
                    field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='notices', to='tenants.auditevent'),
                ),
                migrations.AlterField(
                    model_name='savedview',
                    name='user',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='fleet_views', to=settings.AUTH_USER_MODEL),
                ),
                migrations.AlterField(
                    model_name='ticketmessage',
                    name='tenant',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='ticket_messages', to='tenants.tenant'),
                ),
                migrations.AlterField(
                    model_name='webhookdelivery',
                    name='endpoint',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='deliveries', to='support.webhookendpoint'),
                ),
                migrations.AlterField(
                    model_name='webhookdelivery',
                    name='event',
                    field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='webhook_deliveries', to='tenants.auditevent'),
                ),
            ],
        ),
    ]
