"""Every operation of the API does what docs/openapi.yaml says, for each kind of caller: schemathesis sends what fits
the schema and what does not, one by one and in sequences, and compares what comes back with it.

The fixed part runs in `make test-all`. SCHEMA_EXAMPLES is how many cases an operation gets of each caller, of each
kind: `make soak` takes more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import Client
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.generation.stateful import run_state_machine_as_test

from tenants.models import Member, ServiceAccount, Tenant

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("active")]

EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "1"))
SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "openapi.yaml"
BOUNDS = settings(
    max_examples=EXAMPLES,
    database=None,
    deadline=None,
    derandomize=EXAMPLES == 1,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
CALLERS = ["owner", "auditor", "service", "outsider", "nobody"]


@pytest.fixture
def headers(
    request: pytest.FixtureRequest,
    alice: Member,
    bob: Member,
    mallory: Member,
    service: ServiceAccount,
    api_of: Callable[[Member | ServiceAccount], Client],
) -> dict[str, str]:
    """Return the headers of a caller of that kind."""
    callers = {"owner": alice, "auditor": bob, "service": service, "outsider": mallory}
    caller = callers.get(request.param)
    if caller is None:
        return {"Authorization": "Bearer nobody"}
    return {
        "Authorization": str(
            api_of(caller).defaults.get("HTTP_AUTHORIZATION") or api_of(caller).headers["authorization"]
        )
    }


@pytest.fixture(autouse=True)
def _the_connection_stays() -> Iterator[None]:
    """Keep the test's own connection open between requests, as Django's test client does."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def schema(**checks: Any) -> Any:
    # A sentence, an ARN, an address, a time or a key that is used twice: what they may be no JSON schema says.
    also = ["2xx", "400", "401", "403", "404", "409", "413", "415", "422", "423", "429", "503"]
    checks["positive_data_acceptance"] = {"expected-statuses": also}
    config = SchemathesisConfig.from_dict({"checks": checks})
    loaded = schemathesis.openapi.from_path(SCHEMA, config=config)
    loaded.app = get_wsgi_application()
    return loaded


@pytest.mark.parametrize("headers", CALLERS, indirect=True)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_each_operation(mode: GenerationMode, headers: dict[str, str], tenant: Tenant) -> None:
    found, cases = [], 0
    for result in schema().get_all_operations():
        operation = result.ok()
        mine = {"tenant": str(tenant.pk)} if "{tenant}" in operation.path else None

        @BOUNDS
        @given(case=operation.as_strategy(generation_mode=mode, path_parameters=mine))
        def send(case: Any) -> None:
            nonlocal cases
            cases += 1
            case.call_and_validate(headers=headers)

        try:
            send()
        except (Exception, BaseExceptionGroup) as error:
            found.append(f"{operation.label}: {error}")
    assert not found, "\n\n".join(found)
    assert cases >= 100


@pytest.mark.parametrize("headers", ["owner", "service"], indirect=True)
def test_sequences_of_operations(headers: dict[str, str], tenant: Tenant) -> None:
    """What one operation answers goes into the next one: an id that it made, or has removed."""
    steps = 0

    # It takes the token that we put in place of its own for one that it made up.
    class Sequences(schema(ignored_auth={"enabled": False}).as_state_machine()):  # type: ignore[misc]
        def before_call(self, case: Any) -> None:
            nonlocal steps
            steps += 1
            if "tenant" in case.path_parameters:
                case.path_parameters["tenant"] = str(tenant.pk)

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": headers}

    bounds = settings(BOUNDS, max_examples=5 * EXAMPLES, stateful_step_count=10)
    run_state_machine_as_test(Sequences, settings=bounds)
    assert steps >= 20
