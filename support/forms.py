"""Forms of tickets and of the operations of the back office."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelectMultiple
from django.contrib.auth.models import Group
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy

from support import kinds
from support.models import Ticket, WebhookEndpoint
from support.services import SUBJECT_LENGTH, TEXT_LENGTH
from tenants import roles
from tenants.models import ServiceAccount, Tenant

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


# What people open; the system opens step 5's.
TOPICS = [choice for choice in Ticket.Topic.choices if choice[0] != Ticket.Topic.CONFIGURATION]
STEPS = [
    ("", gettext_lazy("None of them")),
    *((str(number), format_lazy(gettext_lazy("Step {number}"), number=number)) for number in range(1, 7)),
]


def _step(text: str) -> int | None:
    return int(text) if text else None


class TicketForm(forms.Form):
    """A tenant's new ticket."""

    topic = forms.ChoiceField(label=gettext_lazy("Topic"), choices=TOPICS, initial=Ticket.Topic.QUESTION)
    step = forms.TypedChoiceField(
        choices=STEPS,
        coerce=_step,
        empty_value=None,
        required=False,
        label=gettext_lazy("Which step of the guide?"),
    )
    subject = forms.CharField(label=gettext_lazy("Subject"), max_length=SUBJECT_LENGTH)
    text = forms.CharField(max_length=TEXT_LENGTH, widget=forms.Textarea, label=gettext_lazy("What is it about?"))


class AnswerForm(forms.Form):
    """A tenant's answer."""

    text = forms.CharField(max_length=TEXT_LENGTH, widget=forms.Textarea, label=gettext_lazy("Your answer"))


def _kinds(label: StrOrPromise, **options: Any) -> forms.MultipleChoiceField:
    return forms.MultipleChoiceField(label=label, choices=kinds.CHOICES, widget=forms.CheckboxSelectMultiple, **options)


class WebhookChangeForm(forms.Form):
    """What can be changed of a webhook."""

    description = forms.CharField(
        label=gettext_lazy("What is it?"), max_length=120, help_text=gettext_lazy("Such as: SIEM, on call, #byok.")
    )
    kinds = _kinds(gettext_lazy("What does it get?"), error_messages={"required": gettext_lazy("Choose what it gets.")})


class WebhookForm(WebhookChangeForm):
    """A new webhook."""

    format = forms.ChoiceField(label=gettext_lazy("Format"), choices=WebhookEndpoint.Format.choices)
    address = forms.CharField(
        label=gettext_lazy("Address"),
        max_length=2000,
        required=False,
        help_text=gettext_lazy(
            "It begins with https://. Stored encrypted: pages show its host only. PagerDuty’s may stay empty."
        ),
    )
    routing_key = forms.CharField(
        label=gettext_lazy("PagerDuty’s integration key"),
        max_length=64,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy("Of an Events API v2 integration; for PagerDuty only. Stored encrypted."),
    )
    field_order = ("format", "description", "address", "routing_key", "kinds")


class RotateWebhookForm(forms.Form):
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


class ReplayForm(forms.Form):
    """From when on what was given up is sent again."""

    days = forms.TypedChoiceField(
        label=gettext_lazy("Of the last"),
        choices=[
            (1, gettext_lazy("24 hours")),
            (3, gettext_lazy("3 days")),
            (7, gettext_lazy("7 days")),
            (30, gettext_lazy("30 days")),
        ],
        coerce=int,
    )


class MailsForm(forms.Form):
    """The mails that a member chooses."""

    kinds = _kinds(gettext_lazy("Mail me about"), required=False)


class ReasonForm(forms.Form):
    """What every operation of the back office asks for."""

    reason = forms.CharField(max_length=200, help_text="It stands in the log, which the tenant reads too.")


class BulkForm(forms.Form):
    """What every operation on many tenants asks for."""

    reason = forms.CharField(
        max_length=200, help_text="It stands in our log, and in that of each tenant that it is done to."
    )


class AskForm(BulkForm):
    """A ticket for each of many tenants."""

    subject = forms.CharField(max_length=SUBJECT_LENGTH)
    text = forms.CharField(max_length=TEXT_LENGTH, widget=forms.Textarea, label="Message")
    field_order = ("subject", "text", "reason")


class WindowForm(BulkForm):
    """Until when tests that wait are repeated."""

    keep_until = forms.DateTimeField(
        label="Repeat the test until (UTC)",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="At most seven days from now.",
    )
    field_order = ("keep_until", "reason")


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


class NothingForm(forms.Form):
    """What an operation asks for that needs no word: a button."""


class OpenTicketForm(forms.Form):
    """A ticket that support opens for a tenant."""

    topic = forms.ChoiceField(choices=TOPICS, initial=Ticket.Topic.QUESTION)
    step = forms.TypedChoiceField(choices=STEPS, coerce=_step, empty_value=None, required=False)
    subject = forms.CharField(max_length=SUBJECT_LENGTH)
    text = forms.CharField(max_length=TEXT_LENGTH, widget=forms.Textarea, label="Message", help_text="They read it.")


class SortForm(forms.Form):
    """What a ticket is about, and how urgent it is."""

    topic = forms.ChoiceField(choices=Ticket.Topic.choices)
    step = forms.TypedChoiceField(choices=STEPS, coerce=_step, empty_value=None, required=False)
    priority = forms.ChoiceField(choices=Ticket.Priority.choices, help_text="Both clocks follow it.")


class ChosenForm(forms.Form):
    """One of several, which the page knows: `choices` of its `initial`."""

    chosen = forms.ChoiceField(choices=(), label="Which")

    def __init__(self, *args: Any, **options: Any) -> None:
        given = dict(options.pop("initial", None) or {})
        choices = given.pop("choices", [])
        options["initial"] = given
        super().__init__(*args, **options)
        field = self.fields["chosen"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices


class AssignForm(ChosenForm):
    """Who takes care of a ticket."""

    chosen = forms.ChoiceField(choices=(), required=False, label="Who")


class MergeForm(ChosenForm):
    """The ticket that another is merged into."""

    chosen = forms.ChoiceField(choices=(), label="Into which ticket", help_text="Open tickets of the same tenant.")
    reason = forms.CharField(max_length=200, help_text="The tenant reads it in the ticket.")


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
    # Found as one types: there may be a hundred thousand.
    tenants = forms.ModelMultipleChoiceField(
        queryset=Tenant.objects.filter(closed_at=None),
        required=False,
        widget=AutocompleteSelectMultiple(ServiceAccount._meta.get_field("tenants"), admin.site),
    )
    has_all_tenants = forms.BooleanField(required=False, label="All tenants, those to come included")
    reason = forms.CharField(max_length=200, help_text="It stands in the log, which the tenants read too.")


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


class ErasePersonForm(forms.Form):
    """Whom to erase; each address that the person had by itself."""

    person = forms.CharField(label="Mail address, or the name as the log has it", max_length=320)
    reason = forms.CharField(label="Reason, without naming the person", max_length=200)


class GroupsForm(forms.Form):
    """The groups of one of Kore.ai's people."""

    groups = forms.ModelMultipleChoiceField(Group.objects.order_by("name"), widget=forms.CheckboxSelectMultiple)
    reason = forms.CharField(max_length=200)


class NewOwnerForm(ReasonForm):
    """Whom a recovery lets in."""

    email = forms.EmailField(label="Mail address of the new owner", max_length=150)
