"""Forms of the portal about people and automation tokens."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import QuerySet

from tenants import roles, services
from tenants.models import Member, Role, SignOnConnection


class InviteForm(forms.Form):
    email = forms.EmailField(label="Mail address", max_length=150)
    role = forms.ChoiceField(choices=Role.choices, initial=Role.ADMIN)


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)


class SignOnForm(forms.Form):
    email = forms.EmailField(label="Your mail address at work", max_length=150)


class DomainForm(forms.Form):
    name = forms.CharField(label="Mail domain", max_length=253, help_text="What stands after the @, like acme.example.")


class ConnectionForm(forms.Form):
    """A connection to an organisation's directory by OpenID Connect."""

    issuer = forms.CharField(
        label="Issuer", max_length=500, help_text="The address that your directory names as `issuer`, to the letter."
    )
    client_id = forms.CharField(label="Client ID", max_length=200)
    client_secret = forms.CharField(
        label="Client secret",
        max_length=500,
        strip=True,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="Stored encrypted, and never shown again. Leave it empty to keep the one before.",
    )
    role_claim = forms.CharField(
        label="Claim that names the role",
        max_length=120,
        required=False,
        help_text="Such as groups or roles. Leave it empty to give everybody the same role.",
    )
    owners = forms.CharField(label="Its values for owners", max_length=2000, required=False)
    admins = forms.CharField(label="Its values for admins", max_length=2000, required=False)
    auditors = forms.CharField(
        label="Its values for auditors", max_length=2000, required=False, help_text="With commas between."
    )
    default_role = forms.ChoiceField(
        label="Who has none of these values becomes",
        choices=[("", "nobody: is refused"), (Role.AUDITOR, "Auditor"), (Role.ADMIN, "Admin")],
        required=False,
    )
    may_make_owners = forms.BooleanField(
        label="May the directory make owners?",
        required=False,
        help_text="Without this a value for owners counts for nothing.",
    )
    factors = forms.CharField(
        label="Values of amr or acr that mean: with a second factor",
        max_length=2000,
        required=False,
        initial="mfa",
        help_text="Whoever comes with one of these is not asked for a second factor here.",
    )
    ROLES = {"owners": Role.OWNER, "admins": Role.ADMIN, "auditors": Role.AUDITOR}

    def __init__(self, *args: Any, connection: SignOnConnection | None, **kwargs: Any) -> None:
        if connection is not None:
            kwargs["initial"] = {
                name: getattr(connection, name)
                for name in ("issuer", "client_id", "role_claim", "default_role", "may_make_owners")
            } | {"factors": ", ".join(connection.factor_values)}
            for field, role in self.ROLES.items():
                values = [value for value, its in connection.role_values.items() if its == role]
                kwargs["initial"][field] = ", ".join(values)
        super().__init__(*args, **kwargs)
        if connection is not None:
            self.fields["issuer"].disabled = True

    def facts(self) -> dict[str, Any]:
        """Return what the service takes."""
        given = self.cleaned_data
        same = ("issuer", "client_id", "client_secret", "role_claim", "default_role", "may_make_owners")
        values = {value: role for field, role in self.ROLES.items() for value in _listed(given[field])}
        return {
            **{name: given[name] for name in same},
            "role_values": values,
            "factor_values": _listed(given["factors"]),
        }


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


class ModeForm(forms.Form):
    """How far the connection counts."""

    mode = forms.ChoiceField(
        label="People sign in by it",
        choices=[
            (SignOnConnection.Mode.DRAFT, "Not yet: owners try it"),
            (SignOnConnection.Mode.OFFERED, "If they like: passwords and passkeys go on"),
            (SignOnConnection.Mode.REQUIRED, "Always: passwords and passkeys end for this organisation"),
        ],
        widget=forms.RadioSelect,
    )
    break_glass = forms.TypedChoiceField(
        label="The owner who still signs in without it",
        coerce=int,
        empty_value=None,
        required=False,
        help_text="Needed when it is always: your way in on the day on which the directory does not answer.",
    )

    def __init__(self, *args: Any, owners: QuerySet[Member], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["break_glass"]
        field.choices = [("", "Nobody"), *((one.pk, one.user.email) for one in owners)]  # type: ignore[attr-defined]


class RemoveForm(forms.Form):
    reason = forms.CharField(label="Why?", max_length=200, help_text="It stands in the log.")


class AcceptForm(forms.Form):
    """What accepting an invitation takes: a password where the address has no account yet."""

    password = forms.CharField(
        label="Choose a password",
        help_text="At least 12 characters.",
        strip=False,
        max_length=200,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, *args: Any, needs_password: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not needs_password:
            del self.fields["password"]


class AddressForm(forms.Form):
    email = forms.EmailField(label="Your new mail address", max_length=150)


# What people read of the permissions of a token.
MAY = {
    roles.READ: "Read: steps, documents, tests, the key, people, tickets and the log",
    roles.SETUP: "Set up: give and share the ARNs, run the test, write tickets",
    roles.OPERATE: "Operate the key: suspend, drop cached keys, rotate, run drills",
    roles.PEOPLE: "Manage people: invite, change roles, remove. Owners only, at most 30 days.",
}


class TokenForm(forms.Form):
    """A new automation token."""

    name = forms.CharField(label="What is it for?", max_length=120)
    permissions = forms.MultipleChoiceField(
        label="What may it do?",
        choices=list(MAY.items()),
        initial=[roles.READ],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose what it may do."},
    )
    days = forms.IntegerField(
        label="For how many days?",
        initial=services.DAYS,
        min_value=1,
        max_value=services.LONGEST_DAYS,
        help_text=(
            f"Then it ends by itself: {services.LONGEST_DAYS} at most, {services.LONGEST_DAYS_WITH_PEOPLE} if it may "
            "manage people."
        ),
    )
    may_change_serving_key = forms.BooleanField(
        label="May it replace, resume and leave a key in service?",
        required=False,
        help_text=(
            "Leave this off unless a program of yours has to: with it, who gets hold of the token can put another key "
            "in the place of yours."
        ),
    )

    def __init__(self, *args: Any, is_owner: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not is_owner:
            others = [one for one in MAY.items() if one[0] != roles.PEOPLE]
            self.fields["permissions"].choices = others  # type: ignore[attr-defined]
