"""Addresses of the evidence for auditors, as JSON and as PDF."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from keys import evidence_pdf, services
from tenants import endpoints

PERIOD = [
    OpenApiParameter("from", OpenApiTypes.DATE, description="first day, UTC; ninety days in all by default"),
    OpenApiParameter("to", OpenApiTypes.DATE, description="last day, UTC; today by default"),
]


class Evidence(endpoints.TenantView):
    """What an auditor needs of at most 400 days: keys and their states, tests with what AWS refused in them, drills
    with measured times, outages and whose doing they were, who did what, uses, and the newest signed head of the log.
    `sha256` is the digest of the canonical JSON (docs/seal.md) of all but itself."""

    problems = ("not_allowed", "invalid_input")

    @extend_schema(operation_id="get_evidence", parameters=PERIOD, responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, tenant: str) -> Response:
        return Response(self.evidence(request, tenant))

    def evidence(self, request: Request, tenant: str) -> dict[str, Any]:
        mine, asked = self.mine(request, tenant), request.query_params
        since, until = services.period(asked.get("from", ""), asked.get("to", ""))
        return services.evidence(mine, since=since, until=until, actor=self.caller(request).actor)


class EvidencePdf(Evidence):
    """The same as a document for people, with the digest of the JSON on each page."""

    @extend_schema(
        operation_id="get_evidence_pdf", parameters=PERIOD, responses={(200, "application/pdf"): OpenApiTypes.BINARY}
    )
    def get(self, request: Request, tenant: str) -> HttpResponse:  # type: ignore[override]
        return HttpResponse(evidence_pdf.render(self.evidence(request, tenant)), content_type="application/pdf")
