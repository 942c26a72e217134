"""`make fuzz`: Schemathesis asks every operation of docs/openapi.yaml, as a service and as an owner; not part of the suite.

It makes requests out of the schema, right and wrong ones, and holds each answer against it: no 500, no status and no content type
that is not documented, no body of another shape. In process, each request in a transaction of its own that is taken back.
FUZZ_EXAMPLES says how many requests an operation gets at most in the last of its phases (40); HYPOTHESIS_SEED repeats a run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from conftest import acting
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from django.test import Client
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from schemathesis.specs.openapi import checks as openapi

from byokportal.localaws.testing import LocalAws
from keys import datakeys, services
from keys.models import KeyRegistration
from support import services as support_services
from tenants import audit
from tenants.models import Member, ServiceAccount

schema = schemathesis.openapi.from_path(Path(__file__).parents[2] / "docs" / "openapi.yaml")
schema.app = get_wsgi_application()
CHECKS: list[Any] = [
    schemathesis.checks.not_a_server_error,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_headers_conformance,
    openapi.response_schema_conformance,
]


@pytest.fixture
def ids(active: KeyRegistration, alice: Member) -> dict[str, str]:
    """What there is in Acme Bank, for the parameters of paths."""
    ticket = support_services.open_ticket(alice.tenant, topic="question", subject="s", text="t", actor=audit.SYSTEM)
    return {
        "tenant": str(alice.tenant_id),
        "test": str(active.tests.get().pk),
        "ticket": str(ticket.pk),
        "drill": str(services.start_drill(alice.tenant, actor=acting(alice)).pk),
    }


@pytest.fixture(params=["service", "owner"])
def bearer(
    request: pytest.FixtureRequest, alice: Member, service: ServiceAccount, api_of: Callable[..., Client]
) -> str:
    return str(api_of(service if request.param == "service" else alice).defaults["HTTP_AUTHORIZATION"])


@pytest.fixture(autouse=True)
def _the_connection_stays() -> Iterator[None]:
    """Let no request close the connection in whose transaction it is, as Django's own test client does."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@schema.parametrize()
@hypothesis_settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "40")),
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
def test_the_answer_is_one_that_the_schema_names(
    case: Any, bearer: str, ids: dict[str, str], aws: LocalAws, settings: Any
) -> None:
    settings.DATA_KEYS_PER_CALLER = settings.DATA_KEYS_PER_TENANT = 10**9
    given = {name: ids.get(name, value) for name, value in (case.path_parameters or {}).items()}
    case.path_parameters = given
    one = transaction.atomic()
    one._from_testcase = True  # type: ignore[attr-defined]  # the row of a use refuses to be written inside any other
    with one:
        answer = case.call(headers={"Authorization": bearer})
        transaction.set_rollback(True)
    datakeys.start_anew()
    case.validate_response(answer, checks=CHECKS)
