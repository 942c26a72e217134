"""Which actions on its key a tenant allows us: the guide's five patterns, or the exact names of our calls."""

from importlib import import_module

from django.db import migrations, models

# On SQLite a trigger names the table of registrations, which is made anew for a column.
PROBES = import_module("keys.migrations.0024_probes_leave_the_registration")
VARIANTS = [('guide', 'The guide’s five actions'), ('narrow', 'Only what serving needs: Decrypt, GenerateDataKeyWithoutPlaintext and DescribeKey')]


class Migration(migrations.Migration):

    dependencies = [
        ('keys', '0037_use_roll_ups'),
    ]

    operations = [
        migrations.RunPython(PROBES.drop_guard, PROBES.make_guard),
        migrations.AddField(
            model_name='documentchoices',
            name='actions',
            field=models.CharField(choices=VARIANTS, db_default='guide', default='guide', max_length=8),
        ),
        migrations.AddField(
            model_name='keyregistration',
            name='actions',
            field=models.CharField(choices=VARIANTS, db_default='guide', default='guide', max_length=8),
        ),
        migrations.RunPython(PROBES.make_guard, PROBES.drop_guard),
    ]
