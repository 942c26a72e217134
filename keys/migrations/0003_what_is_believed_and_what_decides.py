"""A failed check says what we believe stands there now, and the command that tells the causes left apart."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('keys', '0002_append_only_key_use'),
    ]

    operations = [
        migrations.AddField(
            model_name='checkresult',
            name='believed',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='checkresult',
            name='decide',
            field=models.TextField(blank=True),
        ),
    ]
