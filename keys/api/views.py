"""Addresses of the keys app: registration, tests, the key in service."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from byokportal import pages
from byokportal.errors import NotFound
from keys import services
from keys.api import serializers as shapes
from keys.models import EncryptionTest, RevocationDrill
from tenants import access, endpoints, roles
from tenants.models import Tenant


class PolicyChecks(endpoints.TenantView):
    """A reading of a policy that the tenant pasted; nothing of it is kept."""

    problems = ("invalid_input",)

    @extend_schema(operation_id="check_policy", request=shapes.PolicyIn, responses=shapes.ReadingOut)
    def post(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        roles.require(self.caller(request).actor, "keys.check_policy", mine)  # nothing is changed, so no service asks
        given = self.given(request, shapes.PolicyIn)
        return Response(shapes.ReadingOut(services.check_policy(mine, kind=given["kind"], text=given["policy"])).data)


class Registration(endpoints.TenantView):
    """The CMK ARN and the Role ARN: a draft until they are shared."""

    problems = (
        "invalid_input",
        "arn_refused",
        "secret_pasted",
        "registration_busy",
        "not_allowed",
        "token_not_marked",
        "no_registration",
    )

    @extend_schema(operation_id="get_registration", responses=shapes.RegistrationOut)
    def get(self, request: Request, tenant: str) -> Response:
        registration = services.shown_registration(self.mine(request, tenant))
        if registration is None:
            raise NotFound
        return Response(shapes.RegistrationOut(registration).data)

    @extend_schema(operation_id="save_registration", request=shapes.RegistrationIn, responses=shapes.RegistrationOut)
    def put(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        registration = services.save_draft(
            mine, **self.given(request, shapes.RegistrationIn), actor=self.caller(request).actor
        )
        return Response(shapes.RegistrationOut(registration).data)


class Submit(endpoints.TenantView):
    """Share both ARNs with Kore.ai (step 6)."""

    problems = (
        "second_person_needed",
        "no_registration",
        "arns_missing",
        "arn_refused",
        "role_arn_taken",
        "registration_busy",
        "service_role_full",
        "not_allowed",
        "token_not_marked",
    )

    @extend_schema(
        operation_id="submit_registration",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=None,
        responses={202: shapes.RegistrationOut},
    )
    def post(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        self.given(request, shapes.Empty)

        def do() -> Any:
            return shapes.RegistrationOut(services.submit_registration(mine, actor=self.caller(request).actor)).data

        return self.once(request, mine, 202, do, location=lambda _: reverse("api:registration", args=[mine.pk]))


class Tests(endpoints.TenantView):
    """The encryption test: ask for one, and the runs so far."""

    problems = (
        "no_registration",
        "registration_busy",
        "role_refused_by_iam",
        "not_allowed",
        "token_not_marked",
        "invalid_input",
    )

    @extend_schema(
        operation_id="start_test",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=shapes.TestIn,
        responses={202: shapes.TestStarted},
    )
    def post(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        given = self.given(request, shapes.TestIn)

        def do() -> Any:
            return shapes.TestStarted(services.start_test(mine, actor=self.caller(request).actor, **given)).data

        return self.once(request, mine, 202, do, location=lambda kept: reverse("api:test", args=[mine.pk, kept["id"]]))

    @extend_schema(operation_id="list_tests", parameters=[endpoints.CURSOR], responses=shapes.TestsOut)
    def get(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        rows = EncryptionTest.objects.of(mine).prefetch_related("checks")
        return Response(shapes.TestsOut(pages.numbered(rows, request.query_params.get("cursor", ""))).data)


class Test(endpoints.TenantView):
    """One run, check by check."""

    @extend_schema(operation_id="get_test", responses=shapes.TestOut)
    def get(self, request: Request, tenant: str, test: str) -> Response:
        mine = self.mine(request, tenant)
        found = EncryptionTest.objects.of(mine).filter(pk=endpoints.as_uuid(test)).prefetch_related("checks").first()
        if found is None:
            raise NotFound
        return Response(shapes.TestOut(found).data)


class Key(endpoints.TenantView):
    """The key in service."""

    problems = ("not_allowed",)

    @extend_schema(operation_id="get_key", responses=shapes.KeyOut)
    def get(self, request: Request, tenant: str) -> Response:
        mine = access.tenant_for(self.caller(request), tenant)
        if self.caller(request).service_account is not None:
            access.require_scope(self.caller(request), "keys.read_state")
        else:
            roles.require(self.caller(request).actor, "tenants.read", mine)
        return Response(shapes.KeyOut(services.key_state(mine)).data)


class KeyOperation(endpoints.TenantView):
    """Suspend, resume or drop caches: one operation each, with a reason."""

    operation: Any = None
    problems: tuple[str, ...] = (
        "key_not_active",
        "registration_busy",
        "reason_missing",
        "not_allowed",
        "invalid_input",
    )

    @extend_schema(parameters=[endpoints.IDEMPOTENCY_KEY], request=shapes.ReasonIn, responses=shapes.KeyOut)
    def post(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        reason = self.given(request, shapes.ReasonIn)["reason"]

        def do() -> Any:
            return shapes.KeyOut(type(self).operation(mine, reason=reason, actor=self.caller(request).actor)).data

        return self.once(request, mine, 200, do)


class SuspendKey(KeyOperation):
    """Stop every use of the key; only a person undoes it."""

    operation = services.suspend


class ResumeKey(KeyOperation):
    """Undo your own Suspend; a token needs the mark that lets it bring a key back."""

    problems = ("second_person_needed", "token_not_marked")
    operation = services.resume


class AskAgain(endpoints.TenantView):
    """Ask AWS now what it says of the key, after you corrected something or scheduled its deletion;
    the answer is in `GET …/key`.

    A key that AWS refused serves again after two good answers: 2 seconds apart, or spanning 15 seconds within
    the minutes after a refusal by a policy. A pressed Suspend stays.
    """

    problems = ("key_not_active", "not_allowed", "invalid_input", "reason_missing")

    @extend_schema(
        operation_id="probe_key",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=shapes.ProbeIn,
        responses={202: shapes.KeyOut},
    )
    def post(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        reason = self.given(request, shapes.ProbeIn).get("reason", "")

        def do() -> Any:
            return shapes.KeyOut(services.ask_again(mine, reason=reason, actor=self.caller(request).actor)).data

        return self.once(request, mine, 202, do, location=lambda _: reverse("api:key", args=[mine.pk]))


class DropCaches(KeyOperation):
    """Tell every process of ours to forget its unwrapped keys now."""

    operation = services.drop_caches


class CacheDrops(endpoints.TenantView):
    """Which processes have dropped their unwrapped keys since the last stop or drop."""

    @extend_schema(operation_id="get_cache_drop", responses=shapes.DropOut)
    def get(self, request: Request, tenant: str) -> Response:
        found = services.last_drop(self.mine(request, tenant))
        if found is None:
            raise NotFound
        return Response(shapes.DropOut(found).data)


class Drills(endpoints.TenantView):
    """Revocation drills: start one, or read those there were."""

    problems = ("invalid_input", "key_not_active", "registration_busy", "not_allowed")

    @extend_schema(
        operation_id="start_drill",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=shapes.Empty,
        responses={201: shapes.DrillOut},
    )
    def post(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        self.given(request, shapes.Empty)

        def do() -> Any:
            return shapes.DrillOut(services.start_drill(mine, actor=self.caller(request).actor)).data

        return self.once(request, mine, 201, do, location=lambda kept: reverse("api:drill", args=[mine.pk, kept["id"]]))

    @extend_schema(operation_id="list_drills", parameters=[endpoints.CURSOR], responses=shapes.DrillsOut)
    def get(self, request: Request, tenant: str) -> Response:
        rows = RevocationDrill.objects.of(self.mine(request, tenant))
        return Response(shapes.DrillsOut(pages.numbered(rows, request.query_params.get("cursor", ""))).data)


class Drill(endpoints.TenantView):
    """One drill, with every time that was measured."""

    @extend_schema(operation_id="get_drill", responses=shapes.DrillOut)
    def get(self, request: Request, tenant: str, drill: str) -> Response:
        return Response(shapes.DrillOut(_drill(self.mine(request, tenant), drill)).data)


class CancelDrill(endpoints.TenantView):
    """End a drill before it is done; twice is once."""

    problems = ("not_allowed",)

    @extend_schema(
        operation_id="cancel_drill",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=shapes.Empty,
        responses=shapes.DrillOut,
    )
    def post(self, request: Request, tenant: str, drill: str) -> Response:
        mine = self.mine(request, tenant)
        self.given(request, shapes.Empty)
        found = _drill(mine, drill)

        def do() -> Any:
            return shapes.DrillOut(services.cancel_drill(found, actor=self.caller(request).actor)).data

        return self.once(request, mine, 200, do)


def _drill(tenant: Tenant, text: str) -> RevocationDrill:
    found = RevocationDrill.objects.of(tenant).filter(pk=endpoints.as_uuid(text)).first()
    if found is None:
        raise NotFound
    return found


class KeyStates(endpoints.TenantView):
    """For services: what changed with the keys of their tenants, so that they can purge their own caches.

    Each change is told as soon as it is committed, and may be told twice; none is left out. Ask every few seconds with
    the `next` of the answer before; while an answer is full (500), at once.
    """

    problems = ("not_allowed", "invalid_input")

    @extend_schema(
        operation_id="list_key_states",
        parameters=[OpenApiParameter("since", str, description="the `next` of the answer before")],
        responses=shapes.KeyStatesOut,
    )
    def get(self, request: Request) -> Response:
        access.require_scope(self.caller(request), "keys.read_state")
        account = self.caller(request).service_account
        assert account is not None  # the scope is a service account's
        rows, following = services.read_key_states(account, since=request.query_params.get("since", ""))
        return Response(shapes.KeyStatesOut({"items": rows, "next": following}).data)
