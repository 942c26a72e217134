"""Operations on the documents of steps 2 and 3: what is chosen for them, and their texts."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.template.loader import render_to_string
from django.utils.translation import get_language

from byokportal import clock
from byokportal.errors import InvalidInput
from byokportal.translation import translate as _
from keys import actions, arns, branchkeys, errors
from keys.access import Access
from keys.models import DocumentChoices, KeyRegistration, choices_of
from keys.policies import cloudformation, documents
from keys.policies.choices import Choices
from keys.policies.values import Values
from keys.services.registration import shown_registration
from tenants import audit, roles, transactions
from tenants.audit import Actor
from tenants.models import Tenant

# Documents that are whole in each language.
CHANGE_REQUESTS = {"en": "texts/change-request.md", "de": "texts/change-request.de.md"}

Status = KeyRegistration.Status


@dataclass(frozen=True, slots=True)
class Texts:
    """All that the documents of one tenant are made of, read once."""

    access: Access
    beside: documents.Beside
    choices: Choices

    def document(self, name: str) -> str:
        """Return one document, filled in.

        Raises:
            DocumentUnknown: there is none of that name.
            ArnsMissing: it names an ARN that the tenant has not given yet.
        """
        if name not in documents.NAMES:
            raise errors.DocumentUnknown(names=", ".join(documents.NAMES))
        given = {"key_arn": self.access.key, "role_arn": self.access.role}
        missing = [arn for arn in documents.needs(name, self.choices) if not given[arn]]
        if missing:
            raise errors.ArnsMissing(names=" and ".join(missing), missing=missing)
        return documents.of(name, self.access, beside=self.beside, choices=self.choices)

    @property
    def narrow(self) -> str:
        """Which narrower actions they hold: `serving`, `moving` (with kms:Encrypt); `later` where the registration has
        other ones than were chosen since; "" where they are the guide's."""
        if self.access.is_narrow != (self.choices.actions == actions.Variant.NARROW):
            return "later"
        if not self.access.is_narrow:
            return ""
        return "moving" if actions.ENCRYPT in self.access.actions else "serving"

    @property
    def quick_create_link(self) -> str:
        """The address that opens CloudFormation with everything filled in; "" where there is none."""
        key = self.access.key
        if key is None and not self.choices.makes_key:
            return ""
        region = key.region if key and not self.choices.makes_key else ""
        values = Values(self.access, self.beside, self.choices)
        return cloudformation.quick_create_link(values, settings.CFN_TEMPLATE_URL, region=region)


def texts_of(
    tenant: Tenant, registration: KeyRegistration | None, *, among: list[KeyRegistration] | None = None
) -> Texts:
    """Return what the tenant's documents are made of.

    Args:
        registration: the one that people mean (`shown_registration`), None while there is none.
        among: all of the tenant's registrations that are not retired, where they are read already.
    """
    choices = choices_of(tenant)
    beside = beside_of(registration) if among is None or registration is None else registration.beside_among(among)
    if choices.makes_key and registration is not None:
        # The new key stands beside all that the same role has to reach still.
        beside = documents.Beside(KeyRegistration.objects.keys_of_role(registration), ())
    return Texts(access_of(tenant, registration), beside, choices)


def document(tenant: Tenant, name: str) -> str:
    """Return one document of the guide, filled in with the tenant's own values.

    Raises:
        DocumentUnknown, ArnsMissing: as `Texts.document` does.
    """
    return texts_of(tenant, shown_registration(tenant)).document(name)


def change_request(tenant: Tenant) -> str:
    """Return the change request for the people who own AWS, as Markdown in the reader's language: what, why, the exact
    documents, how to check and how to undo; without documents while the key is neither given nor to be made."""
    texts = texts_of(tenant, shown_registration(tenant))
    values = Values(texts.access, texts.beside, texts.choices)
    is_ready = texts.access.key is not None or texts.choices.makes_key
    role_arn = values.role_arn if not texts.choices.makes_key else str(texts.access.role or "")
    statement = values.statement(role_arn or "<the Role ARN>")
    scripts = {name: texts.document(name) if is_ready else "" for name in documents.SCRIPTS}
    return render_to_string(
        CHANGE_REQUESTS.get(get_language() or "", CHANGE_REQUESTS["en"]),
        {
            # a name may hold what Markdown reads as signs of its own
            "organisation": "".join(sign for sign in tenant.name if sign.isalnum() or sign in " .,&()-'/"),
            "role_name": values.role_name,
            "service_role": str(texts.access.service_role),
            "external_id": texts.access.external_id,
            "actions": texts.access.actions,
            "makes_key": texts.choices.makes_key,
            "key_arn": str(texts.access.key or ""),
            "role_arn": role_arn,
            "statement": documents.render(statement),
            **scripts,
        },
    )


def access_of(tenant: Tenant, registration: KeyRegistration | None) -> Access:
    """Return how our service role reaches the key, as far as the tenant has given its ARNs."""
    if registration is not None:
        return branchkeys.way_to(tenant, registration)
    return Access.of_texts(
        tenant=str(tenant.pk),
        service_role_arn=tenant.service_role.arn,
        external_id=tenant.external_id,
        variant=choices_of(tenant).actions,
    )


def beside_of(registration: KeyRegistration | None) -> documents.Beside:
    return KeyRegistration.objects.beside(registration) if registration else documents.ALONE


@transactions.atomic
def choose_documents(tenant: Tenant, choices: Choices, *, actor: Actor) -> Choices:
    """Keep what the tenant wants its documents to say beside the guide's policies; every document says it from then on.

    Args:
        choices: read already by `Choices.read`.

    Raises:
        InvalidInput: the permissions boundary lies in another partition than our service role.
        RegistrationBusy: other actions are chosen while a registration is shared already and being worked on.
    """
    roles.require(actor, "keys.choose_documents", tenant)
    partition = arns.partition_of(tenant.service_role.arn)
    if choices.permissions_boundary and arns.partition_of(choices.permissions_boundary) != partition:
        raise InvalidInput(
            errors={
                "permissions_boundary": [
                    _("This is not in the partition %(partition)s, where your role has to be.", partition=partition)
                ]
            }
        )
    facts = {
        "role_path": choices.role_path,
        "permissions_boundary": choices.permissions_boundary,
        "tags": [list(pair) for pair in choices.tags],
        "makes_key": choices.makes_key,
        "actions": choices.actions,
        "changed_at": clock.now(),
    }
    _choose_actions(tenant, choices.actions)
    if not DocumentChoices.objects.filter(tenant=tenant).update(**facts):
        DocumentChoices.objects.create(tenant=tenant, **facts)
    audit.record(
        "keys.documents.chosen",
        tenant=tenant,
        actor=actor,
        role_path=choices.role_path,
        permissions_boundary=choices.permissions_boundary,
        tags=[f"{key}={value}" for key, value in choices.tags],
        makes_key=choices.makes_key,
        actions=choices.actions,
    )
    return choices


def _choose_actions(tenant: Tenant, variant: str) -> None:
    """Give the registration in preparation the actions that were chosen; one that is shared keeps those it is tested
    for, and one that serves keeps its own until another takes over."""
    others = KeyRegistration.objects.of(tenant).in_preparation().exclude(actions=variant)
    registration = others.select_for_update(no_key=True).first()
    if registration is None:
        return
    if registration.status not in {Status.DRAFT, Status.REJECTED}:
        raise errors.RegistrationBusy(status=registration.status_in_english, wanted="changed")
    KeyRegistration.objects.filter(pk=registration.pk).update(actions=variant, changed_at=clock.now())
