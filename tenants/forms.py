"""Forms of the portal about people and automation tokens."""

from __future__ import annotations

from typing import Any

from django import forms

from tenants import roles, services
from tenants.models import Role


class InviteForm(forms.Form):
    email = forms.EmailField(label="Mail address", max_length=150)
    role = forms.ChoiceField(choices=Role.choices, initial=Role.ADMIN)


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)


class DomainForm(forms.Form):
    name = forms.CharField(label="Mail domain", max_length=253, help_text="What stands after the @, like acme.example.")


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
