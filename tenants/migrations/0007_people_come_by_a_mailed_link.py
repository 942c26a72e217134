"""People come by a mailed link: invitations, removed members, and what an automation token may do."""

import byokportal.clock
import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0006_one_clock'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Invitation',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('email', models.CharField(max_length=150)),
                ('role', models.CharField(choices=[('owner', 'Owner'), ('admin', 'Admin'), ('auditor', 'Auditor')], max_length=16)),
                ('status', models.CharField(choices=[('pending', 'Invited'), ('used', 'Accepted'), ('withdrawn', 'Withdrawn')], default='pending', max_length=16)),
                ('invited_by', models.CharField(max_length=200)),
                ('sent', models.PositiveSmallIntegerField(default=1)),
                ('created_at', models.DateTimeField(default=byokportal.clock.now, editable=False)),
                ('expires_at', models.DateTimeField()),
                ('closed_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='InvitationLink',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('digest', models.CharField(max_length=64, unique=True)),
                ('created_at', models.DateTimeField(default=byokportal.clock.now, editable=False)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='accesstoken',
            name='tenants_token_has_one_holder',
        ),
        migrations.RemoveConstraint(
            model_name='member',
            name='tenants_one_membership_per_person',
        ),
        migrations.AddField(
            model_name='accesstoken',
            name='last_used_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='accesstoken',
            name='may_change_serving_key',
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name='accesstoken',
            name='permissions',
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name='member',
            name='removed_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AlterField(
            model_name='member',
            name='created_at',
            field=models.DateTimeField(default=byokportal.clock.now, editable=False),
        ),
        migrations.AddConstraint(
            model_name='member',
            constraint=models.UniqueConstraint(condition=models.Q(('removed_at', None)), fields=('tenant', 'user'), name='tenants_one_membership_per_person'),
        ),
        migrations.AddField(
            model_name='invitation',
            name='inviter',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='invitations_made', to='tenants.member'),
        ),
        migrations.AddField(
            model_name='invitation',
            name='member',
            field=models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='invitation', to='tenants.member'),
        ),
        migrations.AddField(
            model_name='invitation',
            name='tenant',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='invitations', to='tenants.tenant'),
        ),
        migrations.AddField(
            model_name='accesstoken',
            name='invitation',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='tokens', to='tenants.invitation'),
        ),
        migrations.AddConstraint(
            model_name='accesstoken',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('invitation', None), ('member__isnull', False), ('service_account', None)), models.Q(('invitation', None), ('member', None), ('service_account__isnull', False)), models.Q(('invitation__isnull', False), ('member', None), ('service_account', None)), _connector='OR'), name='tenants_token_has_one_holder'),
        ),
        migrations.AddField(
            model_name='invitationlink',
            name='invitation',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='links', to='tenants.invitation'),
        ),
        migrations.AddConstraint(
            model_name='invitation',
            constraint=models.UniqueConstraint(condition=models.Q(('status', 'pending')), fields=('tenant', 'email'), name='tenants_one_open_invitation_per_address'),
        ),
        migrations.AddConstraint(
            model_name='invitation',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('member__isnull', False), ('status', 'used')), models.Q(models.Q(('status', 'used'), _negated=True), ('member', None)), _connector='OR'), name='tenants_used_invitation_has_its_member'),
        ),
    ]
