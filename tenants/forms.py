"""Forms of the portal about people and automation tokens."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy

from byokportal.filters import PeriodForm
from byokportal.translation import translate as _
from tenants import log, roles, services
from tenants.models import LogStream, Member, Role, SignOnConnection


class InviteForm(forms.Form):
    email = forms.EmailField(label=gettext_lazy("Mail address"), max_length=150)
    role = forms.ChoiceField(label=gettext_lazy("Role"), choices=Role.choices, initial=Role.ADMIN)


class RoleForm(forms.Form):
    role = forms.ChoiceField(label=gettext_lazy("Role"), choices=Role.choices)


class SignOnForm(forms.Form):
    email = forms.EmailField(label=gettext_lazy("Your mail address at work"), max_length=150)


class DomainForm(forms.Form):
    name = forms.CharField(
        label=gettext_lazy("Mail domain"),
        max_length=253,
        help_text=gettext_lazy("What stands after the @, like acme.example."),
    )


class RolesForm(forms.Form):
    """Which role and which second factor follow from what a directory says, by either protocol."""

    role_claim = forms.CharField(
        label=gettext_lazy("Claim or attribute that names the role"),
        max_length=120,
        required=False,
        help_text=gettext_lazy("Such as groups or roles. Leave it empty to give everybody the same role."),
    )
    owners = forms.CharField(label=gettext_lazy("Its values for owners"), max_length=2000, required=False)
    admins = forms.CharField(label=gettext_lazy("Its values for admins"), max_length=2000, required=False)
    auditors = forms.CharField(
        label=gettext_lazy("Its values for auditors"),
        max_length=2000,
        required=False,
        help_text=gettext_lazy("With commas between."),
    )
    default_role = forms.ChoiceField(
        label=gettext_lazy("Who has none of these values becomes"),
        choices=[
            ("", gettext_lazy("nobody: is refused")),
            (Role.AUDITOR, gettext_lazy("Auditor")),
            (Role.ADMIN, gettext_lazy("Admin")),
        ],
        required=False,
    )
    may_make_owners = forms.BooleanField(
        label=gettext_lazy("May the directory make owners?"),
        required=False,
        help_text=gettext_lazy("Without this a value for owners counts for nothing."),
    )
    factors = forms.CharField(
        label=gettext_lazy("Values of amr or acr that mean: with a second factor"),
        max_length=2000,
        required=False,
        initial="mfa",
        help_text=gettext_lazy("Whoever comes with one of these is not asked for a second factor here."),
    )
    ROLES: ClassVar = {"owners": Role.OWNER, "admins": Role.ADMIN, "auditors": Role.AUDITOR}
    KEPT: ClassVar[tuple[str, ...]] = ("role_claim", "default_role", "may_make_owners")  # as the connection has them

    def __init__(self, *args: Any, connection: SignOnConnection | None, **kwargs: Any) -> None:
        if connection is not None:
            kwargs["initial"] = {name: getattr(connection, name) for name in self.KEPT}
            kwargs["initial"]["factors"] = ", ".join(connection.factor_values)
            for field, role in self.ROLES.items():
                values = [value for value, its in connection.role_values.items() if its == role]
                kwargs["initial"][field] = ", ".join(values)
        super().__init__(*args, **kwargs)
        self.connection = connection

    def facts(self) -> dict[str, Any]:
        """Return what the service takes."""
        given = self.cleaned_data
        values = {value: role for field, role in self.ROLES.items() for value in _listed(given[field])}
        return {
            **{name: given[name] for name in self.KEPT},
            "role_values": values,
            "factor_values": _listed(given["factors"]),
        }


class ConnectionForm(RolesForm):
    """A connection to an organisation's directory by OpenID Connect."""

    issuer = forms.CharField(
        label=gettext_lazy("Issuer"),
        max_length=500,
        help_text=gettext_lazy("The address that your directory names as `issuer`, to the letter."),
    )
    client_id = forms.CharField(label=gettext_lazy("Client ID"), max_length=200)
    client_secret = forms.CharField(
        label=gettext_lazy("Client secret"),
        max_length=500,
        strip=True,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy("Stored encrypted, and never shown again. Leave it empty to keep the one before."),
    )
    field_order = ("issuer", "client_id", "client_secret")
    KEPT: ClassVar[tuple[str, ...]] = ("issuer", "client_id", *RolesForm.KEPT)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.connection is not None:
            self.fields["issuer"].disabled = True

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "client_secret": self.cleaned_data["client_secret"]}


class SamlForm(RolesForm):
    """A connection to an organisation's directory by SAML 2.0: its metadata as an address, or pasted."""

    metadata_url = forms.CharField(
        label=gettext_lazy("Address of your directory's metadata"),
        max_length=500,
        required=False,
        help_text=gettext_lazy("We read it now and once a day, so a new certificate needs nothing of you."),
    )
    metadata = forms.CharField(
        label=gettext_lazy("Or the metadata itself"),
        max_length=100_000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false"}),
        help_text=gettext_lazy("The XML that your directory exports."),
    )
    field_order = ("metadata_url", "metadata")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        factors = self.fields["factors"]
        factors.label = gettext_lazy("Values of AuthnContextClassRef that mean: with a second factor")
        factors.initial = "https://refeds.org/profile/mfa"
        if self.connection is not None:
            self.initial["metadata_url"] = self.connection.provider.get("metadata_url", "")
            self.fields["metadata"].help_text = gettext_lazy(
                "The XML that your directory exports. Leave both empty to keep what we have, and read it no more."
            )

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = self.cleaned_data
        if self.connection is None and not given.get("metadata_url") and not given.get("metadata"):
            self.add_error("metadata_url", gettext_lazy("Give the address of the metadata, or paste it."))
        return given


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


class ModeForm(forms.Form):
    """How far the connection counts."""

    mode = forms.ChoiceField(
        label=gettext_lazy("People sign in by it"),
        choices=[
            (SignOnConnection.Mode.DRAFT, gettext_lazy("Not yet: owners try it")),
            (SignOnConnection.Mode.OFFERED, gettext_lazy("If they like: passwords and passkeys go on")),
            (SignOnConnection.Mode.REQUIRED, gettext_lazy("Always: passwords and passkeys end for this organisation")),
        ],
        widget=forms.RadioSelect,
    )
    break_glass = forms.TypedChoiceField(
        label=gettext_lazy("The owner who still signs in without it"),
        coerce=int,
        empty_value=None,
        required=False,
        help_text=gettext_lazy(
            "Needed when it is always: your way in on the day on which the directory does not answer."
        ),
    )

    def __init__(self, *args: Any, owners: QuerySet[Member], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["break_glass"]
        field.choices = [("", gettext_lazy("Nobody")), *((one.pk, one.user.email) for one in owners)]  # type: ignore[attr-defined]


class DirectoryForm(forms.Form):
    """What a directory may do that tells by SCIM who is in."""

    default_role = forms.ChoiceField(
        label=gettext_lazy("Role of whoever is in no group that has one"),
        choices=[
            ("", gettext_lazy("None: no membership")),
            (Role.AUDITOR, gettext_lazy("Auditor")),
            (Role.ADMIN, gettext_lazy("Admin")),
        ],
        required=False,
    )
    may_make_owners = forms.BooleanField(
        label=gettext_lazy("May the directory make owners?"),
        required=False,
        help_text=gettext_lazy("Without this no group can have the role of owners."),
    )


class DirectoryTokenForm(forms.Form):
    days = forms.IntegerField(
        label=gettext_lazy("For how many days?"),
        required=False,
        min_value=1,
        max_value=3_650,
        help_text=gettext_lazy(
            "Empty: until you revoke it. Two can work at a time, so that a new one takes over without a gap."
        ),
    )


class HeadRecipientForm(forms.Form):
    email = forms.EmailField(label=gettext_lazy("Mail address"), max_length=254)


class LogStreamChangeForm(forms.Form):
    """What can be changed of a stream of the log."""

    description = forms.CharField(
        label=gettext_lazy("What is it?"), max_length=120, help_text=gettext_lazy("Such as: SIEM, archive.")
    )
    headers = forms.CharField(
        label=gettext_lazy("Headers of OTLP"),
        max_length=12_000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "autocomplete": "off", "spellcheck": "false"}),
        help_text=gettext_lazy(
            "One a line, as your receiver wants them, such as Authorization: Api-Token …; stored encrypted and never "
            "shown again. Empty: none, or those there are."
        ),
    )

    def clean_headers(self) -> dict[str, str]:
        """Return name → value; what is no header is refused by the operation, with a sentence."""
        lines = [line for line in self.cleaned_data["headers"].splitlines() if line.strip()]
        found = dict[str, str]()
        for line in lines:
            name, _colon, value = line.partition(":")
            if name.strip() in found:
                raise forms.ValidationError(_("A header stands there twice. Give each once."))
            found[name.strip()] = value.strip()
        return found


class LogStreamForm(LogStreamChangeForm):
    """A new stream of the log."""

    format = forms.ChoiceField(label=gettext_lazy("Format"), choices=LogStream.Format.choices)
    address = forms.CharField(
        label=gettext_lazy("Address"),
        max_length=2000,
        help_text=gettext_lazy(
            "It begins with https://. Stored encrypted: pages show its host only. Of OTLP: that of the logs, such as "
            "https://otlp.example/v1/logs."
        ),
    )
    from_the_beginning = forms.TypedChoiceField(
        label=gettext_lazy("Begins with"),
        choices=[("yes", gettext_lazy("the first line of the log")), ("no", gettext_lazy("the next line"))],
        coerce=lambda chosen: chosen == "yes",
        initial="yes",
    )
    field_order = ("format", "description", "address", "headers", "from_the_beginning")


class RotateLogStreamForm(forms.Form):
    """How long the old secret goes on signing."""

    hours = forms.TypedChoiceField(
        label=gettext_lazy("The old secret signs too"),
        choices=[
            (24, gettext_lazy("for 24 hours")),
            (168, gettext_lazy("for a week")),
            (1, gettext_lazy("for an hour")),
            (0, gettext_lazy("not at all: it has leaked")),
        ],
        coerce=int,
    )


class ReplayLogStreamForm(forms.Form):
    """From which line on, or from when on, the log is sent again."""

    number = forms.IntegerField(
        label=gettext_lazy("From the line with the number"), required=False, min_value=1, max_value=2**63 - 1
    )
    since = forms.DateTimeField(
        label=gettext_lazy("or from this time on (UTC)"),
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )


class RemoveForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Why?"), max_length=200, help_text=gettext_lazy("It stands in the log.")
    )


class ForgetForm(forms.Form):
    """Forgetting a former member: a box to tick stands between a slip and what nobody undoes."""

    reason = forms.CharField(
        label=gettext_lazy("Why?"),
        max_length=200,
        help_text=gettext_lazy("The log keeps it for ever: do not name the person."),
    )
    sure = forms.BooleanField(
        label=gettext_lazy("I have read what is forgotten, and that nobody brings it back."),
        error_messages={"required": gettext_lazy("Tick this once you have read it.")},
    )


class AcceptForm(forms.Form):
    """What accepting an invitation takes: a password where the address has no account yet."""

    password = forms.CharField(
        label=gettext_lazy("Choose a password"),
        help_text=gettext_lazy("At least 12 characters."),
        strip=False,
        max_length=200,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, *args: Any, needs_password: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not needs_password:
            del self.fields["password"]


class AddressForm(forms.Form):
    email = forms.EmailField(label=gettext_lazy("Your new mail address"), max_length=150)


# What people read of the permissions of a token.
MAY = {
    roles.READ: gettext_lazy("Read: steps, documents, tests, the key, people, tickets and the log"),
    roles.SETUP: gettext_lazy("Set up: give and share the ARNs, run the test, write tickets"),
    roles.OPERATE: gettext_lazy("Operate the key: suspend, drop cached keys, rotate, run drills"),
    roles.PEOPLE: gettext_lazy("Manage people: invite, change roles, remove. Owners only, at most 30 days."),
}


class TokenForm(forms.Form):
    """A new automation token."""

    name = forms.CharField(label=gettext_lazy("What is it for?"), max_length=120)
    permissions = forms.MultipleChoiceField(
        label=gettext_lazy("What may it do?"),
        choices=list(MAY.items()),
        initial=[roles.READ],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": gettext_lazy("Choose what it may do.")},
    )
    days = forms.IntegerField(
        label=gettext_lazy("For how many days?"),
        initial=services.DAYS,
        min_value=1,
        max_value=services.LONGEST_DAYS,
    )
    may_change_serving_key = forms.BooleanField(
        label=gettext_lazy("May it replace, resume and leave a key in service?"),
        required=False,
        help_text=gettext_lazy(
            "Leave this off unless a program of yours has to: with it, who gets hold of the token can put another key "
            "in the place of yours."
        ),
    )

    def __init__(self, *args: Any, is_owner: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["days"].help_text = _(
            "Then it ends by itself: %(longest)s at most, %(with_people)s if it may manage people.",
            longest=services.LONGEST_DAYS,
            with_people=services.LONGEST_DAYS_WITH_PEOPLE,
        )
        if not is_owner:
            others = [one for one in MAY.items() if one[0] != roles.PEOPLE]
            self.fields["permissions"].choices = others  # type: ignore[attr-defined]


class LogForm(PeriodForm):
    """Which lines of the log somebody asks for, in the portal and by API."""

    q = forms.CharField(label=gettext_lazy("Words, person, ARN"), required=False, max_length=200)
    kind = forms.ChoiceField(
        label=gettext_lazy("What"),
        required=False,
        choices=[("", gettext_lazy("Everything")), *((kind, gettext_lazy(one[0])) for kind, one in log.KINDS.items())],
    )
    who = forms.CharField(label=gettext_lazy("Who"), required=False, max_length=200)
    request_id = forms.CharField(label=gettext_lazy("Request id"), required=False, max_length=64)

    def wanted(self) -> log.Wanted:
        """Return what a valid form asks for."""
        given = self.cleaned_data
        return log.Wanted(
            kind=given["kind"],
            who=given["who"],
            since=given["from"],
            until=given["to"],
            text=given["q"],
            request_id=given["request_id"],
        )
