"""What existed before: people without a password become open invitations, tokens get an end, proven addresses are marked.

An address that a person typed in later, and never proved, is dropped: the one that the invitation went to counts.
"""

from datetime import timedelta

from django.contrib.auth.hashers import is_password_usable
from django.db import migrations
from django.utils import timezone

PERMISSIONS = ["read", "setup", "operate", "people"]


def forwards(apps, schema_editor):
    using = schema_editor.connection.alias
    now = timezone.now()
    User = apps.get_model("auth", "User").objects.using(using)
    Member = apps.get_model("tenants", "Member").objects.using(using)
    Invitation = apps.get_model("tenants", "Invitation").objects.using(using)
    AccessToken = apps.get_model("tenants", "AccessToken").objects.using(using)
    EmailAddress = apps.get_model("account", "EmailAddress").objects.using(using)

    tokens = AccessToken.filter(member__isnull=False)
    tokens.update(permissions=PERMISSIONS)
    tokens.filter(expires_at=None).update(expires_at=now + timedelta(days=90))
    AccessToken.filter(expires_at=None).update(expires_at=now)

    for user in User.iterator():
        # `invite` made the user name from the address that it mailed; staff were made by hand, with any user name.
        proven = user.username.lower() if "@" in user.username else user.email.lower()
        if user.email.lower() != proven:
            User.filter(pk=user.pk).update(email=proven)
        EmailAddress.filter(user_id=user.pk).exclude(email__iexact=proven).filter(verified=False).delete()
        if is_password_usable(user.password):
            EmailAddress.filter(user_id=user.pk).update(primary=False)
            mine = EmailAddress.filter(user_id=user.pk, email__iexact=proven)
            if mine.exists():
                mine.update(email=proven, verified=True, primary=True)
            elif proven and not EmailAddress.filter(email__iexact=proven, verified=True).exists():
                EmailAddress.create(user_id=user.pk, email=proven, verified=True, primary=True)
            continue
        for member in Member.filter(user_id=user.pk):
            invitation = Invitation.create(
                tenant_id=member.tenant_id,
                email=proven,
                role=member.role,
                invited_by="system",
                created_at=now,
                expires_at=now + timedelta(days=7),
            )
            AccessToken.filter(member_id=member.pk).update(member=None, invitation=invitation)
            member.delete()


class Migration(migrations.Migration):
    dependencies = [("tenants", "0007_people_come_by_a_mailed_link"), ("account", "0009_emailaddress_unique_primary_email")]
    operations = [migrations.RunPython(forwards, migrations.RunPython.noop)]
