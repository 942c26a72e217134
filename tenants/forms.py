"""Forms of the portal about people and automation tokens."""

from __future__ import annotations

from typing import Any

from django import forms

from tenants.models import Role


class InviteForm(forms.Form):
    email = forms.EmailField(label="Mail address", max_length=150)
    role = forms.ChoiceField(choices=Role.choices, initial=Role.ADMIN)


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)


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


class TokenForm(forms.Form):
    name = forms.CharField(label="What is it for?", max_length=120)
