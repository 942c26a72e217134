"""Forms of the portal about ARNs, policies, tests and the key in service."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from django import forms

from byokportal import secret_texts
from keys.arns import SECRETS, KeyArn, RoleArn
from keys.errors import ArnRefused
from keys.policies.choices import Choices, tags_of_text, text_of_tags

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

    def __init__(self, kind: type[KeyArn | RoleArn], *, label: str) -> None:
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
    key_arn = ArnField(KeyArn, label="CMK ARN")


class RoleArnForm(_CarefulForm):
    role_arn = ArnField(RoleArn, label="Role ARN")


class OutputsForm(_CarefulForm):
    """What a deployment printed; the service finds both ARNs in it."""

    secrets = SECRETS[:2]  # the third, forty characters in a row, is what ids in outputs look like too

    outputs = forms.CharField(
        label="Stack outputs, what terraform output -json prints, or the Role ARN alone",
        max_length=POLICY_LENGTH,
        widget=forms.Textarea(attrs={"rows": 5}),
        error_messages={"required": "Paste what it printed, or the Role ARN."},
    )

    def clean_outputs(self) -> str:
        text = str(self.cleaned_data["outputs"])
        for pattern, what in self.secrets:
            if pattern.search(text):
                raise forms.ValidationError(
                    f"This holds {what}. We did not keep it. It was sent to us, so rotate it now, "
                    "then paste the outputs alone."
                )
        return text


class DocumentChoicesForm(forms.Form):
    """What the documents say beside the guide's policies; the service reads it."""

    role_path = forms.CharField(
        label="Role path",
        required=False,
        max_length=600,
        help_text="Where your roles live, such as /security/. Empty is the top.",
    )
    permissions_boundary = forms.CharField(
        label="Permissions boundary",
        required=False,
        max_length=2048,
        help_text=(
            "The ARN of the managed policy that your organisation bounds roles by. "
            "It has to allow the KMS actions on your key, or the role can do nothing."
        ),
    )
    tags = forms.CharField(
        label="Tags",
        required=False,
        max_length=25_000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="key=value, one a line.",
    )
    makes_key = forms.BooleanField(
        label="Make the key too: with its policy, an alias and yearly rotation", required=False
    )

    def choices(self) -> Choices:
        """Return what was typed, read.

        Raises:
            InvalidInput: with the reason under its field.
        """
        data = self.cleaned_data
        return Choices.read(**{**data, "tags": tags_of_text(data["tags"])})

    @staticmethod
    def initial_of(choices: Choices) -> dict[str, object]:
        return {
            "role_path": choices.role_path,
            "permissions_boundary": choices.permissions_boundary,
            "tags": text_of_tags(choices.tags),
            "makes_key": choices.makes_key,
        }


class ValidationForm(forms.Form):
    """What became of the optional step 4."""

    outcome = forms.ChoiceField(choices=[("done", "I ran the commands"), ("skipped", "Skip this step")])


class ShareForm(forms.Form):
    """Step 6 has nothing to fill in: it confirms what stands on the page."""


class PolicyForm(_CarefulForm):
    """The paste box; nothing of it is kept."""

    secrets = SECRETS[:2]  # the third, forty characters in a row, is what ids in policies look like too

    kind = forms.ChoiceField(
        choices=[("trust", "Trust policy"), ("permissions", "Permissions policy"), ("key", "Key policy")]
    )
    policy = forms.CharField(label="Your policy", max_length=POLICY_LENGTH, widget=forms.Textarea)

    def clean_policy(self) -> str:
        text = str(self.cleaned_data["policy"])
        for pattern, what in self.secrets:
            if pattern.search(text):
                raise forms.ValidationError(
                    f"This holds {what}. We did not keep it. It was sent to us, so rotate it now, "
                    "then paste the policy without it."
                )
        return text


class OutputForm(forms.Form):
    """The box for the output of a command of step 4; nothing of it is kept,
    and what holds credentials is not shown again."""

    output = forms.CharField(
        label="What the command printed", max_length=POLICY_LENGTH, strip=False, widget=forms.Textarea
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
        label="Who is it for?",
        max_length=120,
        help_text="It stands in your log: a name or a team, such as Cloud platform.",
        error_messages={"required": "Say whom it is for: it stands in your log."},
    )
    days = forms.IntegerField(
        label="For how many days?",
        initial=30,
        min_value=1,
        max_value=90,
        error_messages=dict.fromkeys(
            ("required", "invalid", "min_value", "max_value"), "Choose 1 to 90 days, a whole number."
        ),
    )


class TestForm(forms.Form):
    """Ask for a test; a tenant that waits for its change window says until when a refusal is no verdict."""

    keep_until = forms.DateTimeField(
        label="Keep testing until (UTC)",
        required=False,
        help_text=(
            "At most seven days away. Leave it empty, and a refusal counts once AWS had time to pass on your change."
        ),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label="Why?", max_length=200, error_messages={"required": "Say why: it stands in your log."}
    )


class LeaveForm(ReasonForm):
    """Giving up BYOK: a box to tick stands between a slip and the operation."""

    sure = forms.BooleanField(
        label="From then on Kore.ai's key protects our data, and taking our key away stops nothing any more.",
        error_messages={"required": "Tick this once you have read it."},
    )


class EndHorizonForm(ReasonForm):
    """Giving up an old key before its time: a box to tick stands between a slip and what a restored backup loses."""

    sure = forms.BooleanField(
        label="I have read what a restored backup loses, and accept it.",
        error_messages={"required": "Tick this once you have read it."},
    )


class LatencyForm(forms.Form):
    seconds = forms.IntegerField(
        label="Seconds",
        min_value=0,
        max_value=900,
        error_messages=dict.fromkeys(
            ("required", "invalid", "min_value", "max_value"), "Choose 0 to 900 seconds, a whole number."
        ),
    )
