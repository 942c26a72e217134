"""When a tested registration goes into service."""

from importlib import import_module

from django.db import migrations, models

# On SQLite a trigger names the table of registrations, which is made anew for a constraint.
PROBES = import_module("keys.migrations.0024_probes_leave_the_registration")


class Migration(migrations.Migration):

    dependencies = [
        ('keys', '0030_the_maker_of_a_link'),
        ('tenants', '0024_all_that_is_approved'),
    ]

    operations = [
        migrations.RunPython(PROBES.drop_guard, PROBES.make_guard),
        migrations.AddField(
            model_name='keyregistration',
            name='activate_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='keyregistration',
            name='activation',
            field=models.CharField(choices=[('when_tested', 'As soon as the test passes'), ('at_time', 'At a time that you choose'), ('by_button', 'When you press Activate')], db_default='when_tested', default='when_tested', max_length=16),
        ),
        migrations.AddField(
            model_name='keyregistration',
            name='activation_due_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='keyregistration',
            name='activation_missed',
            field=models.CharField(blank=True, choices=[('not_tested', 'no test had passed by then'), ('test_failed', 'the test found something to change'), ('suspended', 'the key that it replaces is suspended'), ('taken', 'its role cannot be used')], db_default='', max_length=16),
        ),
        migrations.AddField(
            model_name='keyregistration',
            name='tested_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddIndex(
            model_name='keyregistration',
            index=models.Index(fields=['activation_due_at'], name='keys_activation_due'),
        ),
        migrations.AddConstraint(
            model_name='keyregistration',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('activation', 'at_time'), _negated=True), ('activate_at__isnull', False), _connector='OR'), name='keys_at_time_says_when'),
        ),
        migrations.RunPython(PROBES.make_guard, PROBES.drop_guard),
    ]
