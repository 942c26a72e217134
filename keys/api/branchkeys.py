"""Addresses of a tenant's branch keys: which key opens them, rotate the current one, leave BYOK,
withdraw a replacement."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from byokportal.errors import NotFound
from keys import branchkeys, horizon, services
from keys.api import serializers as shapes
from keys.models import BranchKey, KeyRegistration
from tenants import endpoints
from tenants.models import Tenant

SHOWN = 500  # branch keys of a tenant, newest first


class BranchKeyOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    key_arn = serializers.CharField()
    is_current = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    due_at = serializers.DateTimeField(allow_null=True)
    reason = serializers.CharField()


class RemainingOut(serializers.Serializer[Any]):
    key_arn = serializers.CharField()
    role_arn = serializers.CharField()
    count = serializers.IntegerField()
    since = serializers.DateTimeField()
    reason = serializers.CharField()
    next_at = serializers.DateTimeField(allow_null=True)


class KeptOut(serializers.Serializer[Any]):
    registration = serializers.UUIDField(source="registration_id")
    key_arn = serializers.CharField()
    role_arn = serializers.CharField()
    branch_keys = serializers.IntegerField(source="count")
    since = serializers.DateTimeField()
    needed_until = serializers.DateTimeField(source="until")
    why = serializers.CharField()
    loses = serializers.CharField()


class BranchKeysOut(serializers.Serializer[Any]):
    items = BranchKeyOut(many=True)
    remaining = RemainingOut(many=True)
    kept = KeptOut(many=True)


class EndHorizonIn(shapes.ReasonIn):
    accepts_loss = serializers.BooleanField()


def _shown(tenant: Tenant) -> Any:
    return BranchKeysOut(
        {
            "items": BranchKey.objects.of(tenant)[:SHOWN],
            "remaining": branchkeys.remaining(tenant),
            "kept": horizon.kept(tenant),
        }
    ).data


class BranchKeys(endpoints.TenantView):
    """The tenant's branch keys, what still opens only with another key than the present one,
    and which old keys backups need until when."""

    @extend_schema(operation_id="list_branch_keys", responses=BranchKeysOut)
    def get(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        return Response(_shown(mine))


class RotateBranchKey(endpoints.TenantView):
    """Put a fresh branch key in place of the current one; the old one goes on opening what it wrapped."""

    problems = ("key_not_active", "reason_missing", "not_allowed", "invalid_input")

    @extend_schema(
        operation_id="rotate_branch_key",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=shapes.ReasonIn,
        responses={202: BranchKeysOut},
    )
    def post(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        reason = self.given(request, shapes.ReasonIn)["reason"]

        def do() -> Any:
            services.rotate_branch_key(mine, reason=reason, actor=self.caller(request).actor)
            return _shown(mine)

        return self.once(request, mine, 202, do)


class Leave(endpoints.TenantView):
    """Give up BYOK: the platform's key takes over, and every branch key moves to it."""

    problems = (
        "second_person_needed",
        "key_not_active",
        "platform_key_missing",
        "registration_busy",
        "reason_missing",
        "not_allowed",
        "token_not_marked",
        "invalid_input",
    )

    @extend_schema(
        operation_id="leave_byok",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=shapes.ReasonIn,
        responses={202: shapes.KeyOut},
    )
    def post(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        reason = self.given(request, shapes.ReasonIn)["reason"]

        def do() -> Any:
            return shapes.KeyOut(services.leave(mine, reason=reason, actor=self.caller(request).actor)).data

        return self.once(request, mine, 202, do)


class Withdraw(endpoints.TenantView):
    """Give up the registration in preparation; a key that serves goes on serving."""

    problems = ("no_registration", "registration_busy", "reason_missing", "not_allowed", "invalid_input")

    @extend_schema(
        operation_id="withdraw_registration",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=shapes.ReasonIn,
        responses={204: None},
    )
    def post(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        reason = self.given(request, shapes.ReasonIn)["reason"]

        def do() -> Any:
            services.withdraw(mine, reason=reason, actor=self.caller(request).actor)
            return None

        return self.once(request, mine, 204, do)


class EndHorizon(endpoints.TenantView):
    """Give up an old key that only backups need, before its time: it is compromised.
    `loses` says what a restored backup then loses."""

    problems = ("registration_busy", "second_person_needed", "reason_missing", "not_allowed", "invalid_input")

    @extend_schema(
        operation_id="end_backup_horizon",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=EndHorizonIn,
        responses={202: BranchKeysOut},
    )
    def post(self, request: Request, tenant: str, registration: str) -> Response:
        mine = self.mine(request, tenant)
        found = (
            KeyRegistration.objects.of(mine).filter(pk=endpoints.as_uuid(registration)).select_related("tenant").first()
        )
        if found is None:
            raise NotFound
        given = self.given(request, EndHorizonIn)

        def do() -> Any:
            services.end_horizon(found, **given, actor=self.caller(request).actor)
            return _shown(mine)

        return self.once(request, mine, 202, do)
