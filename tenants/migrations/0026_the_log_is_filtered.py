"""What people filter the log by has an index each."""


from django.db import migrations, models

from byokportal.online_index import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('tenants', '0025_sign_on_by_saml'),
    ]

    operations = [
        AddIndexOnline(
            model_name='auditevent',
            index=models.Index(fields=['tenant', 'at', 'id'], name='tenants_event_by_time'),
        ),
        AddIndexOnline(
            model_name='auditevent',
            index=models.Index(fields=['tenant', 'actor', 'at', 'id'], name='tenants_event_by_actor'),
        ),
        AddIndexOnline(
            model_name='auditevent',
            index=models.Index(fields=['tenant', 'name', 'at', 'id'], name='tenants_event_by_name_time'),
        ),
        AddIndexOnline(
            model_name='auditevent',
            index=models.Index(fields=['tenant', 'request_id', 'at', 'id'], name='tenants_event_by_request'),
        ),
    ]
