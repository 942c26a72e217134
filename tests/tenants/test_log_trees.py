"""The sealer: every committed row gets the next number of its log once, whatever order rows are committed in, and
whoever else seals or is killed."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection, connections, transaction

from byokportal import leaves, merkle
from tenants import audit, log_trees
from tenants.models import AuditEvent, LogNode, LogTree, Sealer, Tenant


def lines(tenant: Tenant | None, count: int) -> None:
    for number in range(count):
        audit.record("tenants.tenant.created", tenant=tenant, actor=audit.SYSTEM, name=f"n{number}")


def check(tenant: Tenant | None) -> LogTree:
    """See that the numbers have no gap and that the tree is the one over exactly these rows."""
    rows = list(AuditEvent.objects.filter(tenant=tenant).exclude(seal="").order_by("seal_number"))
    tree = LogTree.objects.get(name=str(tenant.pk) if tenant else LogTree.OURS)
    assert [row.seal_number for row in rows] == list(range(1, tree.size + 1))
    hashes = []
    for row in rows:
        fields = leaves.fields_of(row.payload, row=row.pk, request_id=row.request_id)
        hashes.append(leaves.leaf(row.seal_number or 0, leaves.digests(fields, row.seal_salt or "")))
    assert [one.hex() for one in hashes] == [row.seal for row in rows]
    assert merkle.root_of(hashes).hex() == tree.root
    return tree


@pytest.mark.django_db
def test_rows_are_numbered_by_log_without_gaps(tenant: Tenant) -> None:
    lines(tenant, 5)
    lines(None, 3)
    log_trees.seal()
    before = check(tenant).size
    lines(tenant, 4)
    assert log_trees.seal() == 4
    assert log_trees.seal() == 0
    assert check(tenant).size == before + 4
    check(None)
    assert not AuditEvent.objects.not_sealed().exists()
    salts = list(AuditEvent.objects.values_list("seal_salt", flat=True))
    assert len(set(salts)) == len(salts)


@pytest.mark.django_db
def test_what_is_sealed_stays_sealed(tenant: Tenant) -> None:
    log_trees.seal()
    row = AuditEvent.objects.of(tenant).latest("pk")
    for change in ({"seal": "0" * 64}, {"seal_number": 77}, {"payload": "{}"}):
        with pytest.raises(Exception, match="append-only"), transaction.atomic():
            AuditEvent.objects.filter(pk=row.pk).update(**change)


@pytest.mark.django_db
def test_proofs_are_read_from_what_is_kept(tenant: Tenant, django_assert_max_num_queries: Any) -> None:
    lines(tenant, 600)
    log_trees.seal()
    tree = check(tenant)
    assert LogNode.objects.filter(tree=tree).count() == tree.size // 256
    root, rows = bytes.fromhex(tree.root), AuditEvent.objects.of(tenant).exclude(seal="")
    for number in (1, 2, 256, 257, 512, 513, tree.size):
        row = rows.get(seal_number=number)
        with django_assert_max_num_queries(5):
            proof = merkle.inclusion(number - 1, tree.size, log_trees.Kept(tree))
        assert merkle.verify_inclusion(bytes.fromhex(row.seal), number - 1, tree.size, proof, root)
    hashes = [bytes.fromhex(one) for one in rows.order_by("seal_number").values_list("seal", flat=True)]
    for size in (1, 255, 256, 300, 512, 599):
        assert log_trees.Kept(tree).root_at(size) == merkle.root_of(hashes[:size])


@pytest.mark.django_db
def test_it_takes_a_few_queries_however_many_rows(tenant: Tenant, django_assert_max_num_queries: Any) -> None:
    log_trees.seal()
    lines(tenant, 300)
    with django_assert_max_num_queries(13):
        assert log_trees.seal() == 300


# --- transactions of others ------------------------------------------------------------------------------------------


@pytest.fixture
def committed(transactional_db: None) -> Tenant:
    from tenants.models import ServiceRole

    role = ServiceRole.objects.create(name="r", arn="arn:aws:iam::999900001111:role/r", unique_id="AROA1")
    return Tenant.objects.create(name="Acme", service_role=role)


def in_another_connection(do: Any) -> threading.Thread:
    def run() -> None:
        try:
            do()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_rows_that_are_committed_out_of_order_leave_no_gap(committed: Tenant) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    written, go, rolled_back = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        with transaction.atomic():
            lines(committed, 1)
            written.set()
            go.wait(10)

    def lost() -> None:
        with transaction.atomic():
            lines(committed, 1)
            transaction.set_rollback(True)
        rolled_back.set()

    first = in_another_connection(slow)
    assert written.wait(10)
    in_another_connection(lost).join()
    assert rolled_back.is_set()
    lines(committed, 2)
    assert log_trees.seal() == 2
    go.set()
    first.join()
    assert log_trees.seal() == 1
    ids = AuditEvent.objects.of(committed).order_by("seal_number").values_list("pk", flat=True)
    assert list(ids) != sorted(ids)
    assert check(committed).size == 3


def test_two_sealers_and_writers_at_once_number_each_row_once(committed: Tenant) -> None:
    def write() -> None:
        for _ in range(20):
            lines(committed, 1)

    def keep_sealing() -> None:
        for _ in range(15):
            log_trees.seal()

    threads = [in_another_connection(one) for one in (write, write, keep_sealing, keep_sealing)]
    for thread in threads:
        thread.join()
    log_trees.seal()
    assert check(committed).size == 40


def test_a_sealer_that_is_killed_in_the_middle_leaves_nothing_half_done(
    committed: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(self: object) -> None:
        raise Killed

    lines(committed, 3)
    for where in ("save",):
        monkeypatch.setattr(log_trees.Growing, where, killed)
        with pytest.raises(Killed):
            log_trees.seal()
        monkeypatch.undo()
        assert AuditEvent.objects.not_sealed().count() == 3
        assert not LogTree.objects.exists()
    assert log_trees.seal() == 3
    assert check(committed).size == 3


def test_while_another_seals_nothing_is_done(committed: Tenant) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    Sealer.objects.get_or_create(pk=1)
    lines(committed, 1)
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            assert log_trees.hold()
            held.set()
            go.wait(10)

    other = in_another_connection(hold)
    assert held.wait(10)
    assert log_trees.seal() == 0
    go.set()
    other.join()
    assert log_trees.seal() == 1
