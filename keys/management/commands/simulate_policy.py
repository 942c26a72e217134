"""Ask the policy evaluator from a shell: JSON lines in, verdicts out."""

from __future__ import annotations

from typing import Any

from keys.management.jsonlines import JsonLinesCommand
from keys.policies import simulation


class Command(JsonLinesCommand):
    help = (
        "Reads JSON lines (id, action, resource, principal, identityPolicies, resourcePolicy, context and, "
        "where they are, resourceAccount, sessionPolicy, permissionBoundaries, scps, rcps) "
        "and prints a JSON line (id, verdict, because) for each. A line that cannot be read gets an error line; "
        "the rest go on."
    )
    max_line = 1024 * 1024  # bytes: more than all policies of one request can have

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        return dict(simulation.simulate(question))
