"""The test itself says that it waits for Kore.ai, not only step 5."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('keys', '0003_what_is_believed_and_what_decides'),
    ]

    operations = [
        migrations.AlterField(
            model_name='encryptiontest',
            name='status',
            field=models.CharField(choices=[('queued', 'Queued'), ('running', 'Running'), ('waiting', 'Waiting to try again'), ('waiting_for_kore', 'Waiting for Kore.ai'), ('finished', 'Finished'), ('cancelled', 'Cancelled')], default='queued', max_length=16),
        ),
    ]
