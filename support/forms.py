"""Forms of tickets and of the operations of the back office."""

from __future__ import annotations

from django import forms
from django.contrib.auth.models import Group

from support.models import Ticket
from support.services import SUBJECT_LENGTH, TEXT_LENGTH
from tenants import roles
from tenants.models import Tenant


class TicketForm(forms.Form):
    """A tenant's new ticket."""

    topic = forms.ChoiceField(
        choices=[choice for choice in Ticket.Topic.choices if choice[0] != Ticket.Topic.CONFIGURATION]
    )
    subject = forms.CharField(max_length=SUBJECT_LENGTH)
    text = forms.CharField(max_length=TEXT_LENGTH, widget=forms.Textarea, label="What is it about?")


class AnswerForm(forms.Form):
    """A tenant's answer."""

    text = forms.CharField(max_length=TEXT_LENGTH, widget=forms.Textarea, label="Your answer")


class ReasonForm(forms.Form):
    """What every operation of the back office asks for."""

    reason = forms.CharField(max_length=200, help_text="It stands in the log, which the tenant reads too.")


class ClosingForm(forms.Form):
    """What closing an incident asks for."""

    reason = forms.CharField(
        max_length=200,
        label="What did you find?",
        help_text="Say what shows that AWS refuses them by their own doing. It stands in our log beside your name.",
    )


class ReplyForm(forms.Form):
    """Support's answer to a ticket."""

    text = forms.CharField(max_length=TEXT_LENGTH, widget=forms.Textarea, label="Message")
    is_internal = forms.BooleanField(required=False, label="Internal: the tenant does not see it")


class AwsErrorForm(forms.Form):
    """An AWS error that a customer sent, as text; the page shows neither field again as it came."""

    MOST = 16 * 1024  # bytes: more than any SDK prints with one error

    text = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}), label="What AWS said, as it came"
    )
    operation = forms.CharField(
        required=False,
        max_length=100,
        label="What was called",
        help_text="Only if you know it and the text does not say: AssumeRole, kms:Decrypt.",
    )

    def clean_text(self) -> str:
        text: str = self.cleaned_data["text"]
        if len(text.encode(errors="replace")) > self.MOST:
            raise forms.ValidationError("This is longer than 16 KB. Paste the lines around the error only.")
        return text


class NewTenantForm(forms.Form):
    name = forms.CharField(max_length=120, label="Name of the organisation")
    owner_email = forms.EmailField(label="Mail address of its first owner", help_text="An invitation goes there.")


class FirstOwnerForm(forms.Form):
    email = forms.EmailField(label="Mail address of the first owner", max_length=150)


class RotateForm(ReasonForm):
    """How long the old client secret goes on counting."""

    hours = forms.TypedChoiceField(
        choices=[
            (24, "for 24 hours"),
            (8, "for 8 hours"),
            (1, "for an hour"),
            (0, "not at all: it and every token end now"),
        ],
        coerce=int,
        empty_value=24,  # type: ignore[arg-type]  # whatever the field coerces to
        required=False,
        label="The old secret counts",
    )
    field_order = ("hours", "reason")


class ServiceAccountForm(forms.Form):
    """What a service account may do, and for whom."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in roles.SCOPES], widget=forms.CheckboxSelectMultiple
    )
    tenants = forms.ModelMultipleChoiceField(queryset=Tenant.objects.none(), required=False)
    has_all_tenants = forms.BooleanField(required=False, label="All tenants, those to come included")
    reason = forms.CharField(max_length=200, help_text="It stands in the log, which the tenants read too.")

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["tenants"].queryset = Tenant.objects.all()  # type: ignore[attr-defined]


class NewServiceAccountForm(ServiceAccountForm):
    """A new service account; nothing of anybody's is changed, so it needs no reason."""

    name = forms.CharField(max_length=120)
    reason = None  # type: ignore[assignment]
    field_order = ("name",)


class NewStaffForm(forms.Form):
    """A new account for one of Kore.ai's people."""

    email = forms.EmailField(label="Mail address", max_length=150)
    groups = forms.ModelMultipleChoiceField(Group.objects.order_by("name"), widget=forms.CheckboxSelectMultiple)
    reason = forms.CharField(max_length=200)


class GroupsForm(forms.Form):
    """The groups of one of Kore.ai's people."""

    groups = forms.ModelMultipleChoiceField(Group.objects.order_by("name"), widget=forms.CheckboxSelectMultiple)
    reason = forms.CharField(max_length=200)


class NewOwnerForm(ReasonForm):
    """Whom a recovery lets in."""

    email = forms.EmailField(label="Mail address of the new owner", max_length=150)
