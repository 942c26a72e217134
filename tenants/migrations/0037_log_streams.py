"""Receivers of the log: how far each has it, and when it gets the next lines."""

import byokportal.clock
import django.db.models.deletion
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0036_no_index_twice'),
    ]

    operations = [
        migrations.CreateModel(
            name='LogStream',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('format', models.CharField(choices=[('webhook', 'Signed batches (Standard Webhooks)'), ('otlp', 'OpenTelemetry logs (OTLP over HTTP)')], max_length=16)),
                ('description', models.CharField(max_length=120)),
                ('origin', models.CharField(max_length=300)),
                ('header_names', models.JSONField(default=list)),
                ('status', models.CharField(choices=[('on', 'On'), ('off', 'Switched off'), ('failing', 'Switched off by us: its receiver failed for days'), ('removed', 'Removed')], default='on', max_length=16)),
                ('sealed_address', models.TextField()),
                ('sealed_headers', models.TextField(blank=True)),
                ('sealed_secret', models.TextField(blank=True)),
                ('sealed_old_secret', models.TextField(blank=True)),
                ('old_secret_until', models.DateTimeField(null=True)),
                ('acknowledged', models.PositiveBigIntegerField(default=0)),
                ('attempted', models.PositiveBigIntegerField(null=True)),
                ('replays', models.PositiveIntegerField(default=0)),
                ('most_rows', models.PositiveIntegerField(default=500)),
                ('woken_at', models.DateTimeField(default=byokportal.clock.now)),
                ('due_at', models.DateTimeField(default=byokportal.clock.now, null=True)),
                ('behind_since', models.DateTimeField(default=byokportal.clock.now, null=True)),
                ('failures', models.PositiveIntegerField(default=0)),
                ('failing_since', models.DateTimeField(null=True)),
                ('told_at', models.DateTimeField(null=True)),
                ('delivered_at', models.DateTimeField(null=True)),
                ('rejected', models.PositiveBigIntegerField(default=0)),
                ('answered_at', models.DateTimeField(null=True)),
                ('answer_status', models.PositiveIntegerField(null=True)),
                ('answer', models.CharField(blank=True, max_length=500)),
                ('why', models.CharField(blank=True, max_length=200)),
                ('test_due_at', models.DateTimeField(null=True)),
                ('tested_at', models.DateTimeField(null=True)),
                ('test_why', models.CharField(blank=True, max_length=200)),
                ('claimed_at', models.DateTimeField(null=True)),
                ('turn_at', models.DateTimeField(null=True)),
                ('made_by', models.CharField(max_length=200)),
                ('created_at', models.DateTimeField(default=byokportal.clock.now, editable=False)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='log_streams', to='tenants.tenant')),
            ],
            options={
                'ordering': ['created_at', 'id'],
                'indexes': [models.Index(condition=models.Q(('due_at__isnull', False), ('status', 'on')), fields=['due_at'], name='tenants_stream_due'), models.Index(condition=models.Q(('test_due_at__isnull', False)), fields=['test_due_at'], name='tenants_stream_test_due'), models.Index(condition=models.Q(('behind_since__isnull', False), ('status', 'on')), fields=['behind_since'], name='tenants_stream_behind')],
            },
        ),
    ]
