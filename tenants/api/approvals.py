"""Addresses of approvals: what waits for a second person, and taking back what one has asked for.

Nothing here approves: a person does, signed in on the portal.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from byokportal import pages
from tenants import endpoints, services
from tenants.models import Approval


class ApprovalOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    operation = serializers.CharField()
    sentence = serializers.CharField()
    status = serializers.SerializerMethodField()
    reason = serializers.CharField()
    requested_by = serializers.CharField(source="requested_by.user.email")
    decided_by = serializers.SerializerMethodField()
    decision_reason = serializers.CharField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    decided_at = serializers.DateTimeField(allow_null=True)

    def get_status(self, approval: Any) -> str:
        return "expired" if approval.is_expired else str(approval.status)

    def get_decided_by(self, approval: Any) -> str:
        return approval.decided_by.user.email if approval.decided_by else ""


class ApprovalsOut(serializers.Serializer[Any]):
    items = ApprovalOut(many=True)
    next = serializers.CharField(allow_null=True)


class Approvals(endpoints.TenantView):
    """What was asked for, newest first, and what a second person decided."""

    problems = ("invalid_input", "not_allowed")

    @extend_schema(operation_id="list_approvals", parameters=[endpoints.CURSOR], responses=ApprovalsOut)
    def get(self, request: Request, tenant: str) -> Response:
        rows = services.approvals_of(self.mine(request, tenant))
        return Response(ApprovalsOut(pages.numbered(rows, request.query_params.get("cursor", ""))).data)


class OneApproval(endpoints.TenantView):
    """One of them."""

    problems = ("approval_over", "not_allowed")

    @extend_schema(operation_id="get_approval", responses=ApprovalOut)
    def get(self, request: Request, tenant: str, approval: str) -> Response:
        found = services.approval_of(self.mine(request, tenant), endpoints.as_uuid(approval))
        return Response(ApprovalOut(found).data)

    @extend_schema(operation_id="withdraw_approval", request=None, responses={204: None})
    def delete(self, request: Request, tenant: str, approval: str) -> Response:
        found: Approval = services.approval_of(self.mine(request, tenant), endpoints.as_uuid(approval))
        services.withdraw_approval(found, actor=self.caller(request).actor)
        return Response(status=204)
