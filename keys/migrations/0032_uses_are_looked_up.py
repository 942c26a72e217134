"""What people look one use of a key up by has an index each."""


from django.db import migrations, models

from byokportal.online_index import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('keys', '0031_activation_time'),
    ]

    operations = [
        AddIndexOnline(
            model_name='branchkeyload',
            index=models.Index(fields=['tenant', 'aws_request_id'], name='keys_load_by_request'),
        ),
        AddIndexOnline(
            model_name='keyuse',
            index=models.Index(fields=['tenant', 'at', 'id'], name='keys_use_by_time'),
        ),
        AddIndexOnline(
            model_name='keyuse',
            index=models.Index(fields=['tenant', 'context_digest', 'at', 'id'], name='keys_use_by_digest'),
        ),
        AddIndexOnline(
            model_name='keyuse',
            index=models.Index(fields=['tenant', 'request_id', 'at', 'id'], name='keys_use_by_request'),
        ),
        AddIndexOnline(
            model_name='keyuse',
            index=models.Index(fields=['load', 'at', 'id'], name='keys_use_by_load'),
        ),
    ]
