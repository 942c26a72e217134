"""What we take of SCIM's users and groups, as models of scim2-models; everything else that comes is dropped.

A directory sends far more of a person than we need (telephone, manager, password): what is not declared here is neither
kept nor answered. The tolerances are those that Microsoft Entra ID needs (scim2_models.ScimPolicy names each).
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from typing import Annotated, Any, ClassVar

from pydantic import Field
from scim2_models import (
    AuthenticationScheme,
    Bulk,
    CaseExact,
    ChangePassword,
    ComplexAttribute,
    ETag,
    Filter,
    Meta,
    Mutability,
    Patch,
    Reference,
    Required,
    Resource,
    ResourceType,
    Schema,
    ScimPolicy,
    ServiceProviderConfig,
    Sort,
    Uniqueness,
)
from scim2_models.urn import URN

from byokportal import secret_texts
from byokportal.errors import InvalidInput
from tenants.models import DirectoryGroup, DirectoryUser
from tenants.services import GroupFacts, PersonFacts, address_of

POLICY = ScimPolicy(
    unknown=ScimPolicy.Unknown.ignore,
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)
TEXT, EMAILS, MEMBERS = 256, 10, 5_000  # characters; entries of one resource
PAGE = 100  # resources


class Name(ComplexAttribute):
    formatted: str | None = None
    """The whole name, for display."""

    family_name: str | None = None
    """The family name."""

    given_name: str | None = None
    """The given name."""


class Email(ComplexAttribute):
    value: str | None = None
    """A mail address."""

    type: str | None = Field(None, examples=["work", "home", "other"])
    """What it is for."""

    primary: bool | None = None
    """Whether it is the one that counts."""


class GroupOfUser(ComplexAttribute):
    value: Annotated[str | None, Mutability.read_only, CaseExact.true] = None
    """The id of the group."""

    display: Annotated[str | None, Mutability.read_only] = None
    """The name of the group."""


class User(Resource[Any]):
    """A person; whether it is a member follows from its address, its groups and its own sign-in."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:User")

    user_name: Annotated[str | None, Uniqueness.server, Required.true] = None
    """The name by which the directory knows the person; unique, without regard to case."""

    name: Name | None = None
    """The parts of the name."""

    Name: ClassVar[type[ComplexAttribute]] = Name

    display_name: str | None = None
    """The name for display."""

    active: bool | None = None
    """Whether the person belongs to the organisation; false ends the membership."""

    emails: list[Email] | None = None
    """Mail addresses; the primary one counts, else the one for work, else the first."""

    Emails: ClassVar[type[ComplexAttribute]] = Email

    groups: Annotated[list[GroupOfUser] | None, Mutability.read_only] = None
    """The groups that the person is in."""

    Groups: ClassVar[type[ComplexAttribute]] = GroupOfUser


class GroupMember(ComplexAttribute):
    value: Annotated[str | None, Mutability.immutable, CaseExact.true] = None
    """The id of the person."""

    ref: Annotated[Reference[User] | None, Mutability.immutable] = Field(
        None, serialization_alias="$ref", validation_alias="$ref"
    )
    """The address of the person."""


class Group(Resource[Any]):
    """A group; an owner of the organisation says which role it gives."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:Group")

    display_name: Annotated[str | None, Required.true] = None
    """The name of the group."""

    members: list[GroupMember] | None = None
    """The people in it; groups in groups are not taken."""

    Members: ClassVar[type[ComplexAttribute]] = GroupMember


# --- what comes in ------------------------------------------------------------------------------------------------


def person_facts(given: User, was_active: bool) -> PersonFacts:
    """Return what a person of the directory is, as the services take it.

    Args:
        was_active: whether the person was active before; it stays so where the directory does not say.

    Raises:
        InvalidInput, SecretPasted: a value is too long, empty, or a secret.
    """
    user_name = _text(given.user_name, "userName", needed=True)
    emails = given.emails or []
    if len(emails) > EMAILS:
        raise InvalidInput(errors={"emails": [f"At most {EMAILS} addresses are taken."]})
    kept: dict[str, Any] = {"active": given.active}
    kept["display_name"] = _text(given.display_name, "displayName")
    if given.name is not None:
        parts = ("formatted", "family_name", "given_name")
        kept["name"] = {part: _text(getattr(given.name, part), f"name.{part}") or None for part in parts}
    kept["emails"] = [
        {
            "value": _text(one.value, "emails.value") or None,
            "type": _text(one.type, "emails.type") or None,
            "primary": one.primary,
        }
        for one in emails
    ]
    return PersonFacts(
        user_name=user_name,
        external_id=_text(given.external_id, "externalId"),
        email=_address(emails, user_name),
        is_active=was_active if given.active is None else given.active,
        resource={name: value for name, value in kept.items() if value not in (None, "", [])},
    )


def group_facts(given: Group, *, members: Collection[uuid.UUID] | None = None) -> GroupFacts:
    """Return what a group of the directory is, as the services take it.

    Args:
        members: who is in it, in place of those whom it names.

    Raises:
        InvalidInput, SecretPasted: a value is too long, empty, no id, or a secret.
    """
    listed = (given.members or []) if members is None else members
    if len(listed) > MEMBERS:
        raise InvalidInput(errors={"members": [f"At most {MEMBERS} people are taken in one group."]})
    return GroupFacts(
        display_name=_text(given.display_name, "displayName", needed=True),
        external_id=_text(given.external_id, "externalId"),
        members={id_of(one.value) for one in given.members or []} if members is None else members,
    )


def _text(value: object, field: str, *, needed: bool = False) -> str:
    text = "" if value is None else str(value)
    # A name is kept in lower case too, and some letters are two then.
    if max(len(text), len(text.lower())) > TEXT:
        raise InvalidInput(errors={field: [f"It has at most {TEXT} characters."]})
    if needed and not text.strip():
        raise InvalidInput(errors={field: ["It is needed."]})
    secret_texts.refuse(text, field=field)
    return text


def id_of(value: object) -> uuid.UUID:
    """Return the id by which a group names a person.

    Raises:
        InvalidInput: it is none.
    """
    try:
        return uuid.UUID(str(value))
    except ValueError:
        raise InvalidInput(errors={"members": ["A member is named by the id that we gave the person."]}) from None


def _address(emails: Iterable[Email], user_name: str) -> str:
    """Return the address that counts, in lower case; empty when there is none that is one."""
    ordered = sorted(
        (one for one in emails if one.value), key=lambda one: (not one.primary, (one.type or "").lower() != "work")
    )
    for text in [*(str(one.value) for one in ordered), user_name]:
        try:
            return address_of(text)
        except InvalidInput:
            continue
    return ""


# --- what goes out ------------------------------------------------------------------------------------------------


def user_of(person: DirectoryUser, base: str, *, groups: Iterable[DirectoryGroup] = ()) -> User:
    """Return a person as SCIM shows it.

    Args:
        base: the address of the tenant's SCIM, without a slash at its end.
    """
    kept = dict(person.resource)
    return User(
        id=str(person.pk),
        external_id=person.external_id or None,
        user_name=person.user_name,
        name=Name(**kept["name"]) if kept.get("name") else None,
        display_name=kept.get("display_name"),
        active=kept.get("active"),
        emails=[Email(**one) for one in kept.get("emails", [])] or None,
        groups=[GroupOfUser(value=str(one.pk), display=one.display_name) for one in groups] or None,
        meta=_meta("User", f"{base}/Users/{person.pk}", person),
    )


def group_of(group: DirectoryGroup, base: str, *, people: Iterable[DirectoryUser] = ()) -> Group:
    """Return a group as SCIM shows it."""
    members = [GroupMember(value=str(one.pk), ref=Reference["User"](f"{base}/Users/{one.pk}")) for one in people]
    return Group(
        id=str(group.pk),
        external_id=group.external_id or None,
        display_name=group.display_name,
        members=members or None,
        meta=_meta("Group", f"{base}/Groups/{group.pk}", group),
    )


def _meta(kind: str, location: str, row: DirectoryUser | DirectoryGroup) -> Meta:
    return Meta(resource_type=kind, created=row.created_at, last_modified=row.changed_at, location=location)


# --- what we say of ourselves -------------------------------------------------------------------------------------


def configuration(base: str) -> ServiceProviderConfig:
    """Return what of SCIM there is here."""
    return ServiceProviderConfig(
        documentation_uri=None,
        patch=Patch(supported=True),
        bulk=Bulk(supported=False, max_operations=0, max_payload_size=0),
        filter=Filter(supported=True, max_results=PAGE),
        change_password=ChangePassword(supported=False),
        sort=Sort(supported=False),
        etag=ETag(supported=False),
        authentication_schemes=[
            AuthenticationScheme(
                type=AuthenticationScheme.Type.oauthbearertoken,
                name="Bearer token",
                description="The token that an owner of the organisation made on the page Sign-on.",
                primary=True,
            )
        ],
        meta=Meta(resource_type="ServiceProviderConfig", location=f"{base}/ServiceProviderConfig"),
    )


def resource_types(base: str) -> list[ResourceType]:
    """Return the kinds of resources there are."""
    found = [ResourceType.from_resource(model) for model in (User, Group)]
    for one in found:
        one.meta = Meta(resource_type="ResourceType", location=f"{base}/ResourceTypes/{one.id}")
    return found


def schemas(base: str) -> list[Schema]:
    """Return what resources consist of."""
    found = [model.to_schema() for model in (User, Group)]
    for one in found:
        one.meta = Meta(resource_type="Schema", location=f"{base}/Schemas/{one.id}")
    return found
