"""Data keys through the engine: isolation between tenants, rewrap, and no key without a row."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import OTHER_CUSTOMER, Customer, acting
from django.db import DatabaseError, connection

from byokportal.localaws.testing import LocalAws
from keys import datakeys, errors, lifecycle, services
from keys.models import BranchKey, KeyRegistration, KeyUse
from tenants.models import Member, Tenant


def test_a_key_opens_only_with_its_context(tenant: Tenant, active: KeyRegistration) -> None:
    (made,) = datakeys.generate(tenant, [{"object": "1"}], caller="tests", request_id="r")
    right, wrong = datakeys.open_wrapped(
        tenant,
        [(made.wrapped_key, {"object": "1"}), (made.wrapped_key, {"object": "2"})],
        caller="tests",
        request_id="r",
    )
    assert isinstance(right, datakeys.OpenedDataKey)
    assert right.plaintext == made.plaintext
    assert isinstance(wrong, errors.BlobUnreadable)


def test_a_blob_of_one_tenant_never_opens_for_another(
    tenant: Tenant, active: KeyRegistration, mallory: Member, aws: LocalAws, work: Callable[[], None]
) -> None:
    Customer(aws, account=OTHER_CUSTOMER).follow_the_guide(mallory.tenant, acting(mallory))
    services.submit_registration(mallory.tenant, actor=acting(mallory))
    work()
    (made,) = datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    (refused,) = datakeys.open_wrapped(mallory.tenant, [(made.wrapped_key, {})], caller="tests", request_id="r")
    assert isinstance(refused, errors.BlobUnreadable)


def test_without_a_key_in_service_nothing_is_given_out(tenant: Tenant) -> None:
    with pytest.raises(errors.KeyNotActive):
        datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    assert not KeyUse.objects.exists()


def test_one_row_a_request_says_who_got_how_many(tenant: Tenant, active: KeyRegistration) -> None:
    datakeys.generate(tenant, [{}] * 7, caller="service:search", request_id="r-7")
    use = KeyUse.objects.get()
    assert (use.operation, use.count, use.caller, use.request_id) == ("generate", 7, "service:search", "r-7")


def test_no_key_without_a_row(tenant: Tenant, active: KeyRegistration) -> None:
    with connection.cursor() as cursor:  # the table takes no rows until the end of this test
        if connection.vendor == "postgresql":
            cursor.execute(
                "CREATE TRIGGER no_rows BEFORE INSERT ON keys_keyuse EXECUTE FUNCTION keys_use_append_only()"
            )
        else:
            cursor.execute(
                "CREATE TRIGGER no_rows BEFORE INSERT ON keys_keyuse BEGIN SELECT RAISE(ABORT, 'no rows'); END"
            )
    with pytest.raises(DatabaseError):
        datakeys.generate(tenant, [{}], caller="tests", request_id="r")


def test_concurrent_first_requests_agree_on_one_branch_key(tenant: Tenant, active: KeyRegistration) -> None:
    for _ in range(3):
        datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    assert BranchKey.objects.of(tenant).count() == 1


def test_rewrap_leaves_a_current_blob_as_it_is_and_moves_an_old_one(tenant: Tenant, active: KeyRegistration) -> None:
    (old,) = datakeys.generate(tenant, [{"a": "b"}], caller="tests", request_id="r")
    assert datakeys.rewrap(tenant, [(old.wrapped_key, {"a": "b"})], caller="tests", request_id="r") == [old.wrapped_key]
    BranchKey.objects.of(tenant).update(is_current=False)
    lifecycle.changed(tenant.pk)
    (moved,) = datakeys.rewrap(tenant, [(old.wrapped_key, {"a": "b"})], caller="tests", request_id="r")
    assert isinstance(moved, bytes)
    assert moved != old.wrapped_key
    (opened,) = datakeys.open_wrapped(tenant, [(moved, {"a": "b"})], caller="tests", request_id="r")
    assert isinstance(opened, datakeys.OpenedDataKey)
    assert opened.plaintext == old.plaintext


def test_the_uses_of_keys_cannot_be_changed(tenant: Tenant, active: KeyRegistration) -> None:
    from django.db import DatabaseError, transaction

    datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    for attempt in (lambda: KeyUse.objects.update(count=0), lambda: KeyUse.objects.all().delete()):
        with pytest.raises(DatabaseError), transaction.atomic():
            attempt()
