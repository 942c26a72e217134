"""Parameters of the JSON protocol have the types of AWS's own model: others are refused, unknown ones are not there."""

from __future__ import annotations

from functools import cache
from typing import Any

import botocore.session
from botocore.model import ServiceModel, Shape

from byokportal.localaws.errors import AwsError

KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "blob": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "timestamp": (int, float),
    "list": (list,),
    "map": (dict,),
    "structure": (dict,),
}


@cache
def _model(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(service)


def typed(service: str, operation: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of an operation that AWS knows.

    Raises:
        AwsError: UnknownOperationException, or SerializationException where a value is of another type.
    """
    if operation not in _model(service).operation_names:
        raise AwsError("UnknownOperationException", "")
    shape = _model(service).operation_model(operation).input_shape
    return _checked(shape, given) if shape is not None else {}  # type: ignore[no-any-return]


def _checked(shape: Any, given: object) -> Any:
    if not isinstance(given, KINDS[shape.type_name]) or (isinstance(given, bool) and shape.type_name != "boolean"):
        raise AwsError("SerializationException", "")
    value: Any = given
    match shape.type_name:
        case "structure":
            members: dict[str, Shape] = shape.members
            return {
                name: _checked(members[name], each)
                for name, each in value.items()
                if name in members and each is not None
            }
        case "list":
            return [_checked(shape.member, each) for each in value]
        case "map":
            return {name: _checked(shape.value, each) for name, each in value.items()}
    return value
