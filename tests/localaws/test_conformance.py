"""The conformance table: what AWS documents, asked of the local AWS by boto3 and,
with CONFORMANCE=real, of AWS itself."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from byokportal.localaws.testing import LocalAws

# importing them fills the table
from tests.localaws.conformance import (  # noqa: F401
    iam_rows,
    kms_rows,
    recorded_iam_rows,
    recorded_kms_rows,
    shape_rows,
    sts_rows,
    wire_rows,
)
from tests.localaws.conformance.rows import TABLE, Row
from tests.localaws.conformance.wire_rows import RawRefusal
from tests.localaws.conformance.world import World, local_world, real_world

REAL = os.environ.get("CONFORMANCE") == "real"


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = real_world() if REAL else local_world(request.getfixturevalue("aws"))
    yield made
    made.close()


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name.replace("_", " ")) for row in TABLE])
def test_what_aws_documents(world: World, row: Row) -> None:
    if REAL and row.local:
        pytest.skip("cannot be brought about from outside in real AWS")
    if not row.code:
        row.act(world)
        return
    with pytest.raises((ClientError, RawRefusal)) as caught:
        row.act(world)
    error, status = caught.value.response["Error"], caught.value.response["ResponseMetadata"]["HTTPStatusCode"]
    assert (error["Code"], status) == (row.code, row.status), error.get("Message")
    assert row.words in error.get("Message", "")
    if row.message is not None:
        assert error.get("Message", "") == row.message


def test_the_table_is_long_enough_and_every_row_has_its_page() -> None:
    assert len(TABLE) >= 520
    assert len({row.name for row in TABLE}) == len(TABLE)
    assert all(row.page.startswith(("https://docs.aws.amazon.com/", "https://github.com/")) for row in TABLE)


def test_the_local_aws_is_the_one_that_is_asked(aws: LocalAws) -> None:
    assert aws.endpoint.startswith("http://127.0.0.1:")
