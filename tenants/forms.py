"""Forms of the portal about people and automation tokens."""

from __future__ import annotations

from django import forms

from tenants.models import Role


class InviteForm(forms.Form):
    email = forms.EmailField(label="Mail address", max_length=150)
    role = forms.ChoiceField(choices=Role.choices, initial=Role.ADMIN)


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)


class TokenForm(forms.Form):
    name = forms.CharField(label="What is it for?", max_length=120)
