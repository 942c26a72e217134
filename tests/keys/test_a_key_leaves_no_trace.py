"""A canary: one branch key and one data key, looked for in everything that leaves this process
or stays behind in it."""

from __future__ import annotations

import base64
import io
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import reports_in_memory
from celery.signals import before_task_publish
from conftest import Customer
from django.core.cache import cache as shared_cache
from django.db import connection
from django.test import Client
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from byokportal import tracing
from byokportal.errors import DomainError
from byokportal.localaws.testing import LocalAws
from keys import aws as aws_of_ours
from keys import datakeys, lifecycle
from keys.aws import hot, sessions
from keys.datakeys import Engine
from keys.datakeys.ledger import links
from keys.models import KeyRegistration
from tenants.models import ServiceAccount, Tenant

LOUD = ("", "botocore", "boto3", "urllib3", "django.db.backends", "keys", "celery", "kombu", *hot.QUIET)


def forms(secret: bytes) -> dict[str, bytes]:
    """Return what a key looks like wherever somebody writes it down."""
    return {
        "bytes": secret,
        "hex": secret.hex().encode(),
        "HEX": secret.hex().upper().encode(),
        "base64": base64.b64encode(secret).rstrip(b"="),
        "urlsafe base64": base64.urlsafe_b64encode(secret).rstrip(b"="),
        "repr": repr(secret)[2:-1].encode(),
        "list": repr(list(secret)).encode(),
    }


def found_in(place: bytes, *secrets: bytes) -> list[str]:
    return [name for secret in secrets for name, form in forms(secret).items() if form in place]


@pytest.fixture
def reported() -> Iterator[list[bytes]]:
    """What Sentry would get."""
    with reports_in_memory.collected() as found:
        yield found


@pytest.fixture
def spans(settings: Any) -> Iterator[InMemorySpanExporter]:
    """What a collector of traces would get, of every trace."""
    with reports_in_memory.traced(settings) as found:
        yield found


@pytest.fixture
def loud() -> Iterator[io.StringIO]:
    """Every logger at DEBUG, into one text, as somebody does who looks for something else."""
    text, kept = io.StringIO(), {name: logging.getLogger(name).level for name in LOUD}
    handler = logging.StreamHandler(text)
    logging.getLogger().addHandler(handler)
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.DEBUG)
    connection.force_debug_cursor = True
    yield text
    connection.force_debug_cursor = False
    logging.getLogger().removeHandler(handler)
    for name, level in kept.items():
        logging.getLogger(name).setLevel(level)


def database() -> bytes:
    """Return every value of every row of every table."""
    said = bytearray()
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            for row in cursor.fetchall():
                for value in row:
                    said += bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
                    said += b"\n"
    return bytes(said)


def failures(
    engine: Engine, tenant: Tenant, made: datakeys.NewDataKey, customer: Customer
) -> Iterator[Callable[[], Any]]:
    """Return the ways in which a request for a data key ends with an error while a key is at hand."""
    item = (made.wrapped_key, {"object": "1"})

    def without_a_row(operation: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> None:
            with pytest.MonkeyPatch.context() as patch:  # the database itself refuses: there is no such table
                patch.setattr(links, "INTO", links.INTO.replace("keys_keyuse", "keys_nowhere"))
                operation()

        return call

    def opened(blob: bytes) -> None:
        for result in datakeys.open_wrapped(
            tenant, [(blob, {"object": "1"})], caller="tests", request_id="r", engine=engine
        ):
            if isinstance(result, DomainError):
                raise result

    yield without_a_row(lambda: datakeys.generate(tenant, [{}], caller="tests", request_id="r", engine=engine))
    yield without_a_row(lambda: datakeys.open_wrapped(tenant, [item], caller="tests", request_id="r", engine=engine))
    yield without_a_row(lambda: datakeys.rewrap(tenant, [item], caller="tests", request_id="r", engine=engine))
    for place in (20, 60, 100):
        yield lambda place=place: opened(
            made.wrapped_key[:place] + bytes([made.wrapped_key[place] ^ 1]) + made.wrapped_key[place + 1 :]
        )  # type: ignore[misc]
    yield lambda: datakeys.generate(tenant, [{"": "x"}], caller="tests", request_id="r", engine=engine)
    customer.kms.disable_key(KeyId=customer.key_arn)
    engine.keys.drop(tenant.pk)
    yield lambda: datakeys.generate(tenant, [{}], caller="tests", request_id="r", engine=engine)


def report(error: DomainError, secret: bytes) -> None:
    """Log a failure and note it in a span as carelessly as can be: the key in the exception, in a local variable, in an
    attribute and in a name that was made of it."""
    careless = RuntimeError(secret.hex(), secret)
    held_in_a_local = secret  # noqa: F841
    silent = logging.getLogger("keys.careless")
    silent.propagate = False  # of this line the search in the log knows nothing
    silent.handlers = [one for one in logging.getLogger().handlers if type(one).__name__ == "Reports"]
    try:
        raise careless from error
    except RuntimeError:
        silent.exception("careless %s", secret.hex(), extra={"plaintext": secret.hex()})
    with tracing.begin("careless", "client") as span, pytest.raises(RuntimeError):
        span.set(plaintext=secret.hex(), db__statement=secret.hex())
        with tracing.begin("careless too", "server"):
            raise careless


def test_a_key_is_in_no_log_no_row_no_message_no_cache_and_no_traceback(
    active: KeyRegistration,
    tenant: Tenant,
    customer: Customer,
    aws: LocalAws,
    service: ServiceAccount,
    api_of: Callable[[ServiceAccount], Client],
    reported: list[bytes],
    spans: InMemorySpanExporter,
    loud: io.StringIO,
) -> None:
    messages: list[str] = []

    def note(**message: Any) -> None:
        messages.append(repr(message))

    before_task_publish.connect(note)
    sessions.forget_all()
    engine = Engine()
    (made,) = datakeys.generate(tenant, [{"object": "1"}], caller="tests", request_id="r", engine=engine)
    (copy,) = engine.keys._kept.values()
    branch_key, session = (
        bytes(copy.secret.reveal()),
        next(session for name, session in sessions._cache.items() if name[0] == "tenant"),
    )
    datakeys.open_wrapped(tenant, [(made.wrapped_key, {"object": "1"})], caller="tests", request_id="r", engine=engine)
    lifecycle.changed(tenant.pk, drop=True)
    datakeys.rewrap(tenant, [(made.wrapped_key, {"object": "1"})], caller="tests", request_id="r", engine=engine)
    shown = [repr(thing) for thing in (made, copy, engine.keys, engine.snapshots.of(tenant.pk), session)]
    tracebacks = []
    for fail in failures(engine, tenant, made, customer):
        with pytest.raises(DomainError) as failed:
            fail()
        assert failed.tb.tb_next is not None
        failed.value.with_traceback(failed.tb.tb_next)  # without this frame, which holds the canary itself
        tracebacks += traceback.TracebackException.from_exception(failed.value, capture_locals=True).format()
        report(failed.value, made.plaintext)
    api = api_of(service)
    answer = api.post(
        f"/api/v1/tenants/{tenant.pk}/data-keys?key={made.plaintext.hex()}",
        {"context": {"object": "1"}},
        content_type="application/json",
    )
    assert answer.status_code == 423
    before_task_publish.disconnect(note)
    logged = loud.getvalue().replace(f"?key={made.plaintext.hex()}", "")  # Django's client for tests says what it asks

    keys = (branch_key, made.plaintext)
    places = {
        "the log": logged.encode(),
        "the database": database(),
        "messages": repr(messages).encode(),
        "the shared cache": repr(vars(shared_cache).get("_cache")).encode(),
        "what is printed": repr(shown).encode(),
        "tracebacks": "".join(tracebacks).encode(),
        "spans": "".join(span.to_json() for span in spans.get_finished_spans()).encode(),
        "reports of errors": b"".join(reported),
    }
    assert b"aws.request_id" in places["spans"]
    assert b"POST /api/v1/tenants/<str:tenant>/data-keys" in places["spans"]
    assert b"KeyDisabled" in places["reports of errors"]
    assert b"open_wrapped" in places["reports of errors"]
    assert "Decrypt" in places["the log"].decode() or "POST" in places["the log"].decode()  # it was loud
    assert "branch" in places["tracebacks"].decode()  # locals were shown
    assert {where: found_in(said, *keys) for where, said in places.items()} == {where: [] for where in places}
    secrets = (session.secret_access_key, session.token)
    assert not [where for where, said in places.items() for secret in secrets if secret.encode() in said]


def test_a_branch_key_that_is_wrapped_anew_is_in_no_log(
    active: KeyRegistration, tenant: Tenant, loud: io.StringIO
) -> None:
    """Where no one session reaches both keys a branch key is opened and encrypted again, by boto3."""
    key = aws_of_ours.open_key(
        active.access(tenant),
        purpose="re-encrypt",
    )
    secret = bytes(range(200, 232))
    wrapped = key.encrypt(secret, {"tenant": str(tenant.pk)}).ciphertext
    assert key.decrypt(wrapped, {"tenant": str(tenant.pk)}).plaintext == secret
    assert "botocore.hooks" in loud.getvalue() or "Event" in loud.getvalue()
    assert found_in(loud.getvalue().encode(), secret) == []


def test_the_search_finds_what_is_there() -> None:
    secret = bytes(range(200, 232))
    assert set(found_in(b"x" + repr({"k": secret}).encode() + secret.hex().encode(), secret)) == {"hex", "repr"}
    assert found_in(base64.b64encode(secret), secret) == ["base64"]
