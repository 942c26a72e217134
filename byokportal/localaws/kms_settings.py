"""What KMS refuses to set of a key: tags, waiting periods, rotations (KMS API reference; KMS guide, "Resource quotas";
recorded words: localstack/localstack, tests/aws/services/kms)."""

from __future__ import annotations

from typing import Any

from moto.kms.models import Key, kms_backends

from byokportal.localaws import keystates, kms_kinds
from byokportal.localaws.errors import AwsError
from byokportal.localaws.kms_call import Call

TAGS = 50  # of a key
ROTATIONS = 25  # on demand, in the life of a key
SHORTEST, LONGEST = 7, 30  # days until a key is deleted


def check(call: Call, key: Key) -> None:
    """Refuse what an operation would set of a key.

    Raises:
        AwsError: TagException, ValidationException, UnsupportedOperationException or LimitExceededException.
    """
    match call.operation:
        case "TagResource":
            tagger = kms_backends[key.account_id][call.region].tagger
            check_tags(call.given["Tags"], set(tagger.get_tag_dict_for_resource(key.id)))
        case "ScheduleKeyDeletion":
            if not SHORTEST <= call.given.get("PendingWindowInDays", LONGEST) <= LONGEST:
                raise AwsError("ValidationException", f"PendingWindowInDays must be between {SHORTEST} and {LONGEST}")
        case "EnableKeyRotation" | "DisableKeyRotation" | "RotateKeyOnDemand":
            _rotation(call, key)


def check_tags(tags: list[dict[str, str]], kept: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """Refuse tags that a key cannot have.

    Args:
        kept: the keys of those that it has already.

    Raises:
        AwsError: TagException.
    """
    keys = [tag["TagKey"] for tag in tags]
    if any(key.lower().startswith("aws:") for key in keys):
        raise AwsError("TagException", "Tags beginning with aws: are reserved")
    if len(set(keys)) < len(keys):
        raise AwsError("TagException", "Duplicate tag keys")
    if len(kept | set(keys)) > TAGS:
        raise AwsError("TagException", "Too many tags")


def _rotation(call: Call, key: Key) -> None:
    if key.key_spec != kms_kinds.SYMMETRIC:
        raise AwsError("UnsupportedOperationException", "")
    if key.multi_region and key.multi_region_configuration["PrimaryKey"]["Arn"] != key.arn:
        raise AwsError("UnsupportedOperationException", f"{key.arn} is a multi-region replica key.")
    if call.operation == "RotateKeyOnDemand":
        keystates.check_material(key.arn, key.origin)
        if len([each for each in key.rotations if each["RotationType"] == "ON_DEMAND"]) >= ROTATIONS:
            words = "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations "
            raise AwsError("LimitExceededException", f"{words}can be performed for this key: {key.arn}")


def random_bytes(given: dict[str, Any]) -> None:
    """Refuse a GenerateRandom that says not how many, or names a key store that is not there.

    Raises:
        AwsError: ValidationException or CustomKeyStoreNotFoundException.
    """
    if "NumberOfBytes" not in given:
        raise AwsError("ValidationException", "NumberOfBytes is required.")
    if "CustomKeyStoreId" in given:
        raise AwsError("CustomKeyStoreNotFoundException", f"{given['CustomKeyStoreId']} was not found.")
