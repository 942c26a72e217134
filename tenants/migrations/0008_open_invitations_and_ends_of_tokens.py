"""What existed before: people without a password become open invitations, tokens get an end, proven addresses are marked.

An address that a person typed in later, and never proved, is dropped: the one that the invitation went to counts. A membership that nobody can
sign in to and nobody can be invited to (no address, or that of another member) ends; of two for one address the lesser role is kept.
"""

from datetime import timedelta

from django.contrib.auth.hashers import is_password_usable
from django.db import migrations
from django.utils import timezone

PERMISSIONS = ["read", "setup", "operate", "people"]
ROLES = ["auditor", "admin", "owner"]  # the lesser first


def proven_of(user):
    # `invite` made the user name from the address that it mailed; staff were made by hand, with any user name.
    return user.username.lower() if "@" in user.username else user.email.lower()


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

    holders = {proven_of(user): user.pk for user in User.iterator() if is_password_usable(user.password)}
    for user in User.iterator():
        proven = proven_of(user)
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
            holder = holders.get(proven)
            is_in = holder is not None and Member.filter(tenant_id=member.tenant_id, user_id=holder).exists()
            if proven and len(proven) <= 150 and not is_in:
                invitation, is_new = Invitation.get_or_create(
                    tenant_id=member.tenant_id,
                    email=proven,
                    defaults={
                        "role": member.role,
                        "invited_by": "system",
                        "created_at": now,
                        "expires_at": now + timedelta(days=7),
                    },
                )
                if not is_new:
                    Invitation.filter(pk=invitation.pk).update(role=min(invitation.role, member.role, key=ROLES.index))
                AccessToken.filter(member_id=member.pk).update(member=None, invitation=invitation)
            member.delete()  # and the tokens that it still has


class Migration(migrations.Migration):
    dependencies = [("tenants", "0007_people_come_by_a_mailed_link"), ("account", "0009_emailaddress_unique_primary_email")]
    operations = [migrations.RunPython(forwards, migrations.RunPython.noop)]
