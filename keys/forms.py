"""Forms of the portal about ARNs, policies, tests and the key in service."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.utils.translation import gettext_lazy

from byokportal import bodies, secret_texts
from byokportal.filters import PeriodForm
from byokportal.translation import translate as _
from keys import key_uses
from keys.actions import Variant
from keys.arns import SECRETS, KeyArn, RoleArn
from keys.errors import ArnRefused
from keys.models import ACTIONS, KeyRegistration
from keys.policies.choices import Choices, tags_of_text, text_of_tags

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


POLICY_LENGTH = 65_536  # characters; twice the largest policy that AWS takes, for those that come escaped in an answer


class _CarefulForm(forms.Form):
    """Takes a secret that was pasted by mistake out of the form again, so that no page shows it."""

    secrets: ClassVar[tuple[tuple[re.Pattern[str], str], ...]] = SECRETS

    def clean(self) -> None:
        for name in self.errors:
            key = self.add_prefix(name)
            typed = str(self.data.get(key, ""))
            if secret_texts.found_in(typed) or any(pattern.search(typed) for pattern, _ in self.secrets):
                self.data = self.data.copy()  # type: ignore[attr-defined]
                self.data[key] = ""  # type: ignore[index]


class ArnField(forms.Field):
    """An ARN, read by its own parser, whose refusals the form shows; what is taken of this tenant,
    the service says (`keys.services.acceptance`)."""

    def __init__(self, kind: type[KeyArn | RoleArn], *, label: StrOrPromise) -> None:
        # the parser itself says that an ARN is missing
        super().__init__(label=label, required=False)
        self.kind = kind

    def to_python(self, value: Any) -> KeyArn | RoleArn:
        try:
            return self.kind.parse(str(value or ""))
        except ArnRefused as error:
            # the cause would carry the pasted text
            raise forms.ValidationError([why for found in error.errors.values() for why in found]) from None


class KeyArnForm(_CarefulForm):
    key_arn = ArnField(KeyArn, label=gettext_lazy("CMK ARN"))


class RoleArnForm(_CarefulForm):
    role_arn = ArnField(RoleArn, label=gettext_lazy("Role ARN"))


class OutputsForm(_CarefulForm):
    """What a deployment printed; the service finds both ARNs in it."""

    secrets = SECRETS[:2]  # the third, forty characters in a row, is what ids in outputs look like too

    outputs = forms.CharField(
        label=gettext_lazy("Stack outputs, what terraform output -json prints, or the Role ARN alone"),
        max_length=POLICY_LENGTH,
        widget=forms.Textarea(attrs={"rows": 5}),
        error_messages={"required": gettext_lazy("Paste what it printed, or the Role ARN.")},
    )

    def clean_outputs(self) -> str:
        text = str(self.cleaned_data["outputs"])
        for pattern, what in self.secrets:
            if pattern.search(text):
                raise forms.ValidationError(
                    _(
                        "This holds %(what)s. We did not keep it. It was sent to us, so rotate it now, "
                        "then paste the outputs alone.",
                        what=_(what),
                    )
                )
        return text


class DocumentChoicesForm(forms.Form):
    """What the documents say beside the guide's policies; the service reads it."""

    role_path = forms.CharField(
        label=gettext_lazy("Role path"),
        required=False,
        max_length=600,
        help_text=gettext_lazy("Where your roles live, such as /security/. Empty is the top."),
    )
    permissions_boundary = forms.CharField(
        label=gettext_lazy("Permissions boundary"),
        required=False,
        max_length=2048,
        help_text=gettext_lazy(
            "The ARN of the managed policy that your organisation bounds roles by. "
            "It has to allow the KMS actions on your key, or the role can do nothing."
        ),
    )
    tags = forms.CharField(
        label=gettext_lazy("Tags"),
        required=False,
        max_length=25_000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=gettext_lazy("key=value, one a line."),
    )
    makes_key = forms.BooleanField(
        label=gettext_lazy("Make the key too: with its policy, an alias and yearly rotation"), required=False
    )
    actions = forms.ChoiceField(
        label=gettext_lazy("What your policies allow us"),
        choices=ACTIONS,
        widget=forms.RadioSelect,
        required=False,
        help_text=gettext_lazy(
            "The narrower choice is enough to serve. Replacing the key needs kms:Encrypt as well, on the new key and "
            "until everything has moved: the documents then hold it, the test asks for it, and you can take it away "
            "afterwards. The same holds where you come from a key of Kore.ai. What you choose here counts from the "
            "next registration that you share."
        ),
    )

    def choices(self) -> Choices:
        """Return what was typed, read.

        Raises:
            InvalidInput: with the reason under its field.
        """
        data = self.cleaned_data
        actions = data["actions"] or Variant.GUIDE
        return Choices.read(**{**data, "actions": actions, "tags": tags_of_text(data["tags"])})

    @staticmethod
    def initial_of(choices: Choices) -> dict[str, object]:
        return {
            "role_path": choices.role_path,
            "permissions_boundary": choices.permissions_boundary,
            "tags": text_of_tags(choices.tags),
            "makes_key": choices.makes_key,
            "actions": choices.actions,
        }


class ValidationForm(forms.Form):
    """What became of the optional step 4."""

    outcome = forms.ChoiceField(
        choices=[("done", gettext_lazy("I ran the commands")), ("skipped", gettext_lazy("Skip this step"))]
    )


class ShareForm(forms.Form):
    """Step 6 has nothing to fill in: it confirms what stands on the page."""


class ActivationForm(forms.Form):
    """When a tested registration goes into service; the service reads it."""

    activation = forms.ChoiceField(
        label=gettext_lazy("When does it go into service?"),
        choices=KeyRegistration.Activation.choices,
        widget=forms.RadioSelect,
        error_messages=dict.fromkeys(("required", "invalid_choice"), gettext_lazy("Choose one of the three.")),
    )
    activate_at = forms.DateTimeField(
        label=gettext_lazy("Date and time (UTC)"),
        required=False,
        help_text=gettext_lazy("Within 90 days. A test that is not older than an hour has to pass then."),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )


class _FilesInput(forms.FileInput):
    allow_multiple_selected = True


class FilesField(forms.FileField):
    """Some files, as a list of their bytes, refused where they are too many or too long together.

    Args:
        most: files.
        limit: bytes of all files together, as sent.
    """

    def __init__(self, *, most: int, limit: int, **more: Any) -> None:
        super().__init__(widget=_FilesInput(), allow_empty_file=True, max_length=255, **more)
        self.most, self.limit = most, limit

    def clean(self, data: Any, initial: Any = None) -> list[bytes]:
        files = [super(FilesField, self).clean(one) for one in data or [None]]
        if len(files) > self.most:
            raise forms.ValidationError(_("Choose at most %(most)s files at a time.", most=self.most))
        if sum(one.size for one in files) > self.limit:
            raise forms.ValidationError(
                _(
                    "Together they are longer than %(limit)s KiB. Pack them with gzip, or compare a shorter period "
                    "at a time.",
                    limit=self.limit // 1024,
                )
            )
        return [one.read() for one in files]


class CloudTrailForm(forms.Form):
    """An export of CloudTrail; nothing of it is kept."""

    exported = FilesField(
        label=gettext_lazy("Files of CloudTrail"),
        most=20,
        limit=bodies.LIMIT_CLOUDTRAIL,
        help_text=gettext_lazy(
            "As a trail writes them (.json.gz), as JSON lines, or what aws cloudtrail lookup-events prints. "
            "Together at most 256 KiB as you send them, about 2,000 records packed with gzip."
        ),
        error_messages={"required": gettext_lazy("Choose a file of your CloudTrail.")},
    )


class PolicyForm(_CarefulForm):
    """The paste box; nothing of it is kept."""

    secrets = SECRETS[:2]  # the third, forty characters in a row, is what ids in policies look like too

    kind = forms.ChoiceField(
        label=gettext_lazy("Kind"),
        choices=[
            ("trust", gettext_lazy("Trust policy")),
            ("permissions", gettext_lazy("Permissions policy")),
            ("key", gettext_lazy("Key policy")),
        ],
    )
    policy = forms.CharField(label=gettext_lazy("Your policy"), max_length=POLICY_LENGTH, widget=forms.Textarea)

    def clean_policy(self) -> str:
        text = str(self.cleaned_data["policy"])
        for pattern, what in self.secrets:
            if pattern.search(text):
                raise forms.ValidationError(
                    _(
                        "This holds %(what)s. We did not keep it. It was sent to us, so rotate it now, "
                        "then paste the policy without it.",
                        what=_(what),
                    )
                )
        return text


class OutputForm(forms.Form):
    """The box for the output of a command of step 4; nothing of it is kept,
    and what holds credentials is not shown again."""

    output = forms.CharField(
        label=gettext_lazy("What the command printed"), max_length=POLICY_LENGTH, strip=False, widget=forms.Textarea
    )

    def forget(self) -> None:
        """Take the text out of the form again, so that no page shows it."""
        self.data = self.data.copy()  # type: ignore[attr-defined]
        self.data[self.add_prefix("output")] = ""  # type: ignore[index]

    def clean(self) -> None:
        if self.errors:  # too long: it may hold anything
            self.forget()


class LinkForm(forms.Form):
    """Who gets a link to steps 1 to 4, and for how long."""

    name = forms.CharField(
        label=gettext_lazy("Who is it for?"),
        max_length=120,
        help_text=gettext_lazy("It stands in your log: a name or a team, such as Cloud platform."),
        error_messages={"required": gettext_lazy("Say whom it is for: it stands in your log.")},
    )
    days = forms.IntegerField(
        label=gettext_lazy("For how many days?"),
        initial=30,
        min_value=1,
        max_value=90,
        error_messages=dict.fromkeys(
            ("required", "invalid", "min_value", "max_value"), gettext_lazy("Choose 1 to 90 days, a whole number.")
        ),
    )


class TestForm(forms.Form):
    """Ask for a test; a tenant that waits for its change window says until when a refusal is no verdict."""

    keep_until = forms.DateTimeField(
        label=gettext_lazy("Keep testing until (UTC)"),
        required=False,
        help_text=gettext_lazy(
            "At most seven days away. Leave it empty, and a refusal counts once AWS had time to pass on your change."
        ),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Why?"),
        max_length=200,
        error_messages={"required": gettext_lazy("Say why: it stands in your log.")},
    )


class LeaveForm(ReasonForm):
    """Giving up BYOK: a box to tick stands between a slip and the operation."""

    sure = forms.BooleanField(
        label=gettext_lazy(
            "From then on Kore.ai's key protects our data, and taking our key away stops nothing any more."
        ),
        error_messages={"required": gettext_lazy("Tick this once you have read it.")},
    )


class EndHorizonForm(ReasonForm):
    """Giving up an old key before its time: a box to tick stands between a slip and what a restored backup loses."""

    sure = forms.BooleanField(
        label=gettext_lazy("I have read what a restored backup loses, and accept it."),
        error_messages={"required": gettext_lazy("Tick this once you have read it.")},
    )


class LatencyForm(forms.Form):
    seconds = forms.IntegerField(
        label=gettext_lazy("Seconds"),
        min_value=0,
        max_value=900,
        error_messages=dict.fromkeys(
            ("required", "invalid", "min_value", "max_value"), gettext_lazy("Choose 0 to 900 seconds, a whole number.")
        ),
    )


class DaysForm(forms.Form):
    """A period of whole days, both included, in fields that are called as they stand in an address."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, label in (("from", gettext_lazy("First day (UTC)")), ("to", gettext_lazy("Last day (UTC)"))):
            day = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
            self.fields[name] = forms.DateField(label=label, required=False, input_formats=["%Y-%m-%d"], widget=day)


class KeyUsesForm(PeriodForm):
    """Which uses of the key somebody asks for, in the portal and by API."""

    service = forms.CharField(label=gettext_lazy("Service"), required=False, max_length=200)
    operation = forms.ChoiceField(
        label=gettext_lazy("What"),
        required=False,
        choices=[
            ("", gettext_lazy("Made, opened and moved")),
            *((one, gettext_lazy(done)) for one, done in key_uses.DONE.items()),
        ],
    )
    request_id = forms.CharField(label=gettext_lazy("Request id"), required=False, max_length=64)
    context_digest = forms.RegexField(
        "(?a:[0-9a-fA-F]{64})",
        label=gettext_lazy("Digest of the context"),
        required=False,
        error_messages={"invalid": gettext_lazy("A digest is 64 characters from 0 to 9 and a to f: SHA-256 in hex.")},
    )
    aws_request_id = forms.CharField(label=gettext_lazy("Request id of AWS"), required=False, max_length=128)

    def wanted(self) -> key_uses.Wanted:
        """Return what a valid form asks for."""
        given = self.cleaned_data
        return key_uses.Wanted(
            service=given["service"],
            operation=given["operation"],
            since=given["from"],
            until=given["to"],
            context_digest=given["context_digest"].lower(),
            request_id=given["request_id"],
            aws_request_id=given["aws_request_id"],
        )


class ConfirmRestoreForm(forms.Form):
    """After a restore an owner confirms what is listed, and nothing else."""

    digest = forms.CharField(widget=forms.HiddenInput, max_length=64)
    sure = forms.BooleanField(
        label=gettext_lazy("I have read all of it, and it is right."),
        error_messages={"required": gettext_lazy("Tick this once you have read it.")},
    )
