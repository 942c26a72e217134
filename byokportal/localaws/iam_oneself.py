"""IAM about the caller itself: the user that is meant where a request names none (IAM API reference, "UserName")."""

from __future__ import annotations

from collections.abc import Mapping

from byokportal.localaws import moto_adapter, operations
from byokportal.localaws.errors import AwsError
from byokportal.localaws.identities import Caller


def named(caller: Caller, action: str, form: Mapping[str, str]) -> dict[str, str]:
    """Return the request with the caller's own name where it may and does leave a user out.

    Raises:
        AwsError: ValidationError where the caller is no user.
    """
    shape = operations.of("iam", action).input_shape
    if shape is None or "UserName" not in shape.members or "UserName" in shape.required_members or "UserName" in form:
        return dict(form)
    if caller.principal.is_root and action == "GetUser":
        return dict(form)
    if ":user/" not in caller.principal.arn:
        raise AwsError("ValidationError", "Must specify userName when calling with non-User credentials")
    return {**form, "UserName": caller.principal.arn.rpartition("/")[2]}


def root_user(caller: Caller) -> moto_adapter.Answer:
    """Return what GetUser says to the root user of an account (IAM API reference, GetUser)."""
    text = (
        '<GetUserResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><GetUserResult><User>'
        f"<UserId>{caller.account}</UserId><Arn>{caller.principal.arn}</Arn>"
        "<CreateDate>2026-01-01T00:00:00Z</CreateDate></User></GetUserResult>"
        "<ResponseMetadata><RequestId></RequestId></ResponseMetadata></GetUserResponse>"
    )
    return moto_adapter.Answer(200, text.encode(), "text/xml")
