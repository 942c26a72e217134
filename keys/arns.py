"""Role ARNs and CMK ARNs: parsed once, refused with the reason; pure.

Forms: IAM guide "IAM identifiers" (names `[A-Za-z0-9+=,.@_-]{1,64}`, paths up to 512 characters), KMS guide "Key ARN".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn, Self

from byokportal import secret_texts
from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys.errors import ArnRefused, SecretPasted

MAX_LENGTH = 2048  # characters; what AWS takes for an ARN
PARTITION = re.compile(r"aws(?:-[a-z]{1,8}){0,2}")
BEGINNING = re.compile(rf"arn:({PARTITION.pattern}):")
# Which Regions belong to a partition that is not `aws`, by how their names begin (IAM guide, "Amazon Resource
# Names", Partition).
BEGINNINGS = {
    "aws-cn": "cn-",
    "aws-us-gov": "us-gov-",
    "aws-iso": "us-iso-",
    "aws-iso-b": "us-isob-",
    "aws-iso-e": "eu-isoe-",
    "aws-iso-f": "us-isof-",
    "aws-eusc": "eusc-",
}
# The shape of a Region name ("eu-central-1", "us-gov-west-1", "eusc-de-east-1"); it goes into a host name, so
# nothing else passes. Which names AWS has is for `Rules` to say.
REGION = re.compile(r"[a-z]{2,5}(?:-[a-z]{2,10}){1,2}-[1-9][0-9]?")
ACCOUNT = re.compile(r"[0-9]{12}")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
MULTI_REGION_ID = re.compile(r"mrk-[0-9a-f]{32}")
# Who acts, as AWS names it in its own answers: a user or a role below its path, a role's session, the account itself
# (IAM guide, "IAM identifiers").
PRINCIPAL = re.compile(r"arn:(aws[a-z-]*):(?:iam|sts)::([0-9]{12}):([a-z-]+)(?:/(?:(\S+)/)?([^/\s]+))?")
ROLE_NAME = re.compile(r"[A-Za-z0-9+=,.@_-]{1,64}")
# AWS takes more in a path; `*`, `?` and `${` there would widen *our* policy, which names the ARN (design.md 6).
ROLE_PATH = re.compile(r"/(?:[A-Za-z0-9+=,.@_-]+/)*")
SECRETS = (
    (re.compile(r"(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}"), lazy("an AWS access key ID")),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"), lazy("a private key")),
    (
        re.compile(r"(?<![A-Za-z0-9/+=])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"),
        lazy("what looks like an AWS secret access key"),
    ),
)


class Parts(NamedTuple):
    """The six fields of an ARN as they stand, none of them checked."""

    prefix: str
    partition: str
    service: str
    region: str
    account: str
    resource: str


def parts(text: str) -> Parts | None:
    """Split an ARN that stands in a policy or in AWS's answer, where any field may hold a wildcard or nothing.

    Returns:
        None where the text does not have the six fields of an ARN.
    """
    found = text.split(":", 5)
    return Parts(*found) if len(found) == 6 else None


def partition_of(text: str) -> str:
    """Return the partition of a text that begins as an ARN does, also where the rest is missing; "" of any other."""
    found = BEGINNING.match(text)
    return found[1] if found else ""


def _clean(text: str, *, field: str) -> str:
    """Return the text without surrounding blanks, or refuse what can be no ARN at all."""
    found = [what for pattern, what in SECRETS if pattern.search(text) and not text.strip().startswith("arn:")]
    for what in filter(None, (*found[:1], secret_texts.found_in(text))):
        why = _(
            "This is %(what)s, not an ARN. We did not keep it. It was sent to us, so rotate it now, then give the ARN.",
            what=_(what),
        )
        raise SecretPasted(why=why, errors={field: [why]})
    text = text.strip(" \t\r\n")
    if not text:
        _refuse(field, _("The ARN is missing. Copy it from the AWS console and paste it here."))
    if len(text) > MAX_LENGTH:
        _refuse(
            field,
            _(
                "This has %(count)s characters; an ARN has at most %(max_length)s.",
                count=len(text),
                max_length=MAX_LENGTH,
            ),
        )
    for position, character in enumerate(text, start=1):
        if not 0x21 <= ord(character) <= 0x7E:
            _refuse(
                field,
                _(
                    "Character %(position)s (U+%(character)s) does not belong in an ARN: it is a blank, "
                    "invisible or a look-alike letter. Copy the ARN again from the AWS console.",
                    position=position,
                    character=f"{ord(character):04X}",
                ),
            )
    return text


def _refuse(field: str, why: str) -> NoReturn:
    raise ArnRefused(why=why, errors={field: [why]})


# Roles that AWS makes and whose trust policy nobody but AWS can edit, by the first part of their path (IAM guide,
# "Service-linked roles"; IAM Identity Center guide, "Permission sets"). The console puts roles of the customer's own
# below /service-role/: those are fine.
RESERVED = {
    "aws-service-role": lazy(
        "This is a service-linked role of AWS: only the AWS service that it belongs to can change its trust policy. "
        "Create a role of your own (step 2) and give its ARN."
    ),
    "aws-reserved": lazy(
        "This is a role that AWS keeps for itself, as IAM Identity Center makes them (aws-reserved): "
        "its trust policy cannot be edited. Create a role of your own (step 2) and give its ARN."
    ),
}


ELSEWHERE = {
    "role": lazy(
        "This role is in AWS's partition %(partition)s, and Kore.ai's service role is in %(ours)s. "
        "AWS lets nothing cross from one partition to another. "
        "Create the role in an AWS account of the partition %(ours)s and give its ARN."
    ),
    "key": lazy(
        "This key is in AWS's partition %(partition)s, and Kore.ai's service role is in %(ours)s. "
        "AWS lets nothing cross from one partition to another. "
        "Create the key in an AWS account of the partition %(ours)s and give its ARN."
    ),
}
CLOSED = {
    "role": lazy("This role is in %(whose)s. Create the role in your own AWS account and give its ARN."),
    "key": lazy("This key is in %(whose)s. Create the key in your own AWS account and give its ARN."),
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What an installation takes beside the form of an ARN:
    a value, so that this module knows neither settings nor botocore.

    Args:
        partition: of the service role. No role can be assumed, and no key used, from another partition.
        closed: account id → whose it is. No tenant has a role or a key there.
        regions: partition → the Regions that AWS has in it.
    """

    partition: str
    closed: Mapping[str, str] = field(default_factory=dict)
    regions: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def judge(self, arn: RoleArn | KeyArn) -> None:
        """Refuse an ARN of the right form that can never be used here.

        Raises:
            ArnRefused: with the reason and the next step under the ARN's field.
        """
        about, what = ("role_arn", "role") if isinstance(arn, RoleArn) else ("key_arn", "key")
        if arn.partition != self.partition:
            _refuse(
                about,
                _(ELSEWHERE[what], partition=arn.partition, ours=self.partition),
            )
        if arn.account in self.closed:
            _refuse(
                about,
                _(CLOSED[what], whose=_(self.closed[arn.account])),
            )
        if isinstance(arn, RoleArn) and (reserved := RESERVED.get(arn.path.split("/")[1].lower())):
            _refuse(about, _(reserved))
        if isinstance(arn, KeyArn) and arn.region not in self.regions.get(arn.partition, ()):
            _refuse(
                about,
                _(
                    "AWS has no Region %(region)s in its partition %(partition)s that we know of. Copy the ARN "
                    "again from the key's page in the AWS console. If AWS has opened this Region only now, "
                    "contact Kore.ai support.",
                    region=arn.region,
                    partition=arn.partition,
                ),
            )


def _checked(text: str, *, field: str, service: str, example: str) -> tuple[str, str, str, str]:
    """Split and check what both kinds share; return partition, Region, account and resource."""
    found = parts(text)
    if found is None or found.prefix != "arn":
        _refuse(field, _("This is not an ARN. It has to look like %(example)s.", example=example))
    partition, named, region, account, resource = found[1:]
    if not PARTITION.fullmatch(partition):
        _refuse(field, _("AWS has no partition of that name. It has to look like %(example)s.", example=example))
    if named != service:
        _refuse(
            field,
            _("This ARN names something else than is needed here. It has to look like %(example)s.", example=example),
        )
    if not ACCOUNT.fullmatch(account):
        _refuse(field, _("The account id in the ARN has to be 12 digits."))
    return partition, region, account, resource


@dataclass(frozen=True, slots=True)
class RoleArn:
    """The ARN of an IAM role, the tenant's or ours."""

    partition: str
    account: str
    path: str  # begins and ends with "/"
    name: str

    def __str__(self) -> str:
        return f"arn:{self.partition}:iam::{self.account}:role{self.path}{self.name}"

    @property
    def claim(self) -> str:
        """What a tenant claims: role names are unique in an account whatever their path
        and letter case (IAM quotas page)."""
        return f"{self.account}/{self.name.lower()}"

    @classmethod
    def parse(cls, text: str, *, rules: Rules | None = None) -> Self:
        """Read a Role ARN that a person typed.

        Args:
            rules: what is taken here; None reads the form alone,
                of an ARN that was judged before or only stands in a text.

        Raises:
            ArnRefused: with the reason, a full sentence, also under `errors["role_arn"]`.
        """
        field = "role_arn"
        example = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"
        text = _clean(text, field=field)
        partition, region, account, resource = _checked(
            text.replace(":sts::", ":iam::", 1) if ":assumed-role/" in text else text,
            field=field,
            service="iam",
            example=example,
        )
        if resource.startswith("assumed-role/"):
            _refuse(
                field,
                _(
                    "This is a session of a role (assumed-role). Give the role itself, like %(example)s.",
                    example=example,
                ),
            )
        if resource.startswith("user/"):
            _refuse(field, _("This is an IAM user. Create an IAM role (step 2) and give its ARN."))
        if resource == "root":
            _refuse(field, _("This is the account itself (root). Create an IAM role (step 2) and give its ARN."))
        if region:
            _refuse(field, _("An IAM ARN names no Region. It has to look like %(example)s.", example=example))
        if not resource.startswith("role/"):
            _refuse(field, _("This ARN does not name an IAM role. It has to look like %(example)s.", example=example))
        if any(sign in resource for sign in ("*", "?", "$")):
            _refuse(field, _("A Role ARN here names exactly one role: wildcards and variables (*, ?, $) are refused."))
        path, name = resource[len("role") :].rsplit("/", 1)
        path += "/"
        if not ROLE_NAME.fullmatch(name):
            _refuse(field, _("The role name has 1 to 64 characters, of letters, digits and + = , . @ _ - only."))
        if not ROLE_PATH.fullmatch(path) or len(path) > 512:
            _refuse(
                field,
                _(
                    "The path of the role may hold letters, digits and + = , . "
                    "@ _ - only, between single slashes, 512 characters at most."
                ),
            )
        role = cls(partition, account, path, name)
        if rules is not None:
            rules.judge(role)
        return role


@dataclass(frozen=True, slots=True)
class KeyArn:
    """The ARN of a KMS key of the tenant."""

    partition: str
    region: str
    account: str
    key_id: str

    def __str__(self) -> str:
        return f"arn:{self.partition}:kms:{self.region}:{self.account}:key/{self.key_id}"

    @property
    def is_multi_region(self) -> bool:
        return self.key_id.startswith("mrk-")

    @classmethod
    def parse(cls, text: str, *, rules: Rules | None = None) -> Self:
        """Read a CMK ARN that a person typed; see `RoleArn.parse`."""
        field = "key_arn"
        example = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
        text = _clean(text, field=field)
        partition, region, account, resource = _checked(text, field=field, service="kms", example=example)
        belongs = [name for name, beginning in BEGINNINGS.items() if region.startswith(beginning)] or ["aws"]
        if not REGION.fullmatch(region) or (partition not in belongs and partition in {"aws", *BEGINNINGS}):
            _refuse(
                field,
                _(
                    "The Region in the ARN is none of AWS's partition %(partition)s. It has to look like "
                    "%(example)s. Copy the ARN again from the key's page.",
                    partition=partition,
                    example=example,
                ),
            )
        if resource.startswith("alias/"):
            _refuse(
                field,
                _(
                    "This is an alias. An alias can be pointed at another key at any time; "
                    "give the ARN of the key itself (key/…)."
                ),
            )
        if not resource.startswith("key/"):
            _refuse(field, _("This ARN does not name a KMS key. It has to look like %(example)s.", example=example))
        key_id = resource[len("key/") :]
        if key_id.startswith("mrk-") and not MULTI_REGION_ID.fullmatch(key_id):
            _refuse(
                field,
                _(
                    "The id of a multi-Region key is mrk- and 32 hexadecimal digits. "
                    "Copy the ARN again from the key's page."
                ),
            )
        if not (UUID.fullmatch(key_id) or MULTI_REGION_ID.fullmatch(key_id)):
            _refuse(
                field,
                _(
                    "The key id is a UUID in small letters, or mrk- and 32 hexadecimal digits. "
                    "Copy the ARN again from the key's page."
                ),
            )
        key = cls(partition, region, account, key_id)
        if rules is not None:
            rules.judge(key)
        return key


@dataclass(frozen=True, slots=True)
class PrincipalArn:
    """The ARN of who acts, as AWS answers it: never what a person typed, so nothing is explained."""

    partition: str
    account: str
    # "user", "role", "assumed-role", "federated-user" or "root"
    kind: str
    # without its path, and without the name of a session
    name: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read the ARN of a principal; None when it is none."""
        found = PRINCIPAL.fullmatch(text)
        if found is None:
            return None
        partition, account, kind, before, last = found.groups(default="")
        return cls(partition, account, kind, before if kind == "assumed-role" else last)
