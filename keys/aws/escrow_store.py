"""Objects in the S3 bucket that holds copies of wrapped branch keys: written once, never replaced, read back whole, and
deleted, version by version, where their organisation is closed.

`If-None-Match: *` makes a second write of a name fail with 412 (Amazon S3 User Guide, "Conditional writes"); other
stores that speak S3 know it too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import boto3
from botocore.config import Config
from django.conf import settings

from keys import errors
from keys.aws import faults

CONFIG = Config(
    connect_timeout=3,  # seconds
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 2},
    s3={"addressing_style": "path"},
)
LARGEST = 64 * 1024  # bytes of an object; ours have about one thousand

_lock = threading.Lock()
_made: dict[tuple[str, ...], Any] = {}


def put(name: str, body: bytes) -> None:
    """Write an object; one that is there already is left as it is.

    Raises:
        DomainError: what `keys.aws.faults` makes of the answer.
    """

    def write() -> None:
        try:
            _client().put_object(
                Bucket=settings.ESCROW_BUCKET,
                Key=name,
                Body=body,
                ContentType="application/json",
                IfNoneMatch="*",
            )
        except faults.RAISED as error:
            if faults.code_of(error) != "PreconditionFailed":
                raise

    _call("s3:PutObject", write)


def read(name: str) -> bytes:
    """Return an object, cut off after `LARGEST` bytes and one.

    Raises:
        DomainError: as `put`.
    """

    def whole() -> bytes:
        answer = _client().get_object(Bucket=settings.ESCROW_BUCKET, Key=name)
        return bytes(answer["Body"].read(LARGEST + 1))

    body: bytes = _call("s3:GetObject", whole)
    return body


def names(prefix: str) -> Iterator[str]:
    """Yield the names of all objects below a prefix, page by page.

    Raises:
        DomainError: as `put`.
    """
    pages = iter(_client().get_paginator("list_objects_v2").paginate(Bucket=settings.ESCROW_BUCKET, Prefix=prefix))
    while (page := _call("s3:ListBucket", lambda: next(pages, None))) is not None:
        yield from (str(one["Key"]) for one in page.get("Contents", ()))


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an object, or the mark that it was deleted.

    Args:
        id: "null" in a bucket without versions.
    """

    name: str
    id: str


def versions(prefix: str) -> Iterator[Version]:
    """Yield all versions and deletion marks of the objects below a prefix, page by page; it needs
    s3:ListBucketVersions (Amazon S3 User Guide, "Deleting object versions from a versioning-enabled bucket").

    Raises:
        DomainError: as `put`.
    """
    asked = {"Bucket": settings.ESCROW_BUCKET, "Prefix": prefix}
    pages = iter(_client().get_paginator("list_object_versions").paginate(**asked))
    while (page := _call("s3:ListBucketVersions", lambda: next(pages, None))) is not None:
        for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
            yield Version(str(one["Key"]), str(one["VersionId"]))


def delete(version: Version) -> None:
    """Delete one version for good; Object Lock refuses that until its retention ends (s3:DeleteObjectVersion).

    Raises:
        DomainError: as `put`.
    """
    asked = {"Bucket": settings.ESCROW_BUCKET, "Key": version.name, "VersionId": version.id}
    _call("s3:DeleteObjectVersion", lambda: _client().delete_object(**asked))


def kept_until(version: Version) -> datetime | None:
    """Return until when Object Lock keeps a version; None: it does not, or does not say (s3:GetObjectVersion with
    s3:GetObjectRetention: without the second, HeadObject leaves the date out).

    Raises:
        DomainError: as `put`.
    """
    asked = {"Bucket": settings.ESCROW_BUCKET, "Key": version.name, "VersionId": version.id}
    answer = _call("s3:GetObjectVersion", lambda: _client().head_object(**asked))
    until: datetime | None = answer.get("ObjectLockRetainUntilDate")
    return until


def _call(action: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except faults.RAISED as error:
        raise faults.translate(error, action, denied=errors.OwnAccessBroken) from error


def _client() -> Any:
    facts = (
        settings.ESCROW_REGION,
        settings.ESCROW_ENDPOINT_URL,
        settings.ESCROW_ACCESS_KEY_ID,
        settings.ESCROW_SECRET_ACCESS_KEY,
    )
    with _lock:  # creating clients in a shared session is not thread-safe
        if facts not in _made:
            region, endpoint, key_id, secret = facts
            _made[facts] = boto3.Session().client(
                "s3",
                region_name=region or None,
                endpoint_url=endpoint or None,
                aws_access_key_id=key_id or None,
                aws_secret_access_key=secret or None,
                config=CONFIG,
            )
        return _made[facts]
