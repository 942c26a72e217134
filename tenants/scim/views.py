"""Addresses of SCIM: parse, call one service, answer; every refusal has the form of RFC 7644, 3.12."""

from __future__ import annotations

import itertools
import json
import re
import uuid
from collections.abc import Callable
from typing import Any

from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from pydantic import ValidationError
from scim2_models import Context, Error, ListResponse, PatchOp, Resource, ResponseParameters, SCIMException

from byokportal import bodies, problems
from byokportal.errors import DomainError, MediaTypeNotTaken, MethodNotAllowed, NotFound
from tenants import services
from tenants.audit import Actor
from tenants.models import Directory, DirectoryGroup, DirectoryUser
from tenants.scim import admission, filters, patches, shapes
from tenants.scim.shapes import Group, User

JSON_TYPE = re.compile(r"application/(?:scim\+)?json(?:\s*;\s*charset=\"?utf-8\"?)?", re.IGNORECASE | re.ASCII)
ATTRIBUTES = 1_000  # characters of attributes and excludedAttributes


@method_decorator(csrf_exempt, name="dispatch")
class ScimView(View):
    """An address of a tenant's SCIM."""

    directory: Directory
    base: str

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            tenant = kwargs.pop("tenant")
            self.directory = admission.directory_for(request, tenant)
            self.base = request.build_absolute_uri(f"/api/scim/v2/{self.directory.tenant_id}")
            with shapes.POLICY:
                return super().dispatch(request, *args, **kwargs)
        except DomainError as error:
            return problems.scim_response(error)
        except ValidationError as error:
            return _answer_error(Error.from_validation_errors(error)[0])
        except SCIMException as error:
            return _answer_error(error.to_error())

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        raise MethodNotAllowed(method=request.method)

    def options(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        raise MethodNotAllowed(method=request.method)

    @property
    def actor(self) -> Actor:
        return Actor.of_directory(self.directory)

    def given(self, model: Any, context: Context) -> Any:
        """Return the body as a model.

        Raises:
            MediaTypeNotTaken, MalformedBody: with what is wrong.
            ValidationError, SCIMException: it is not what SCIM takes here.
        """
        if not JSON_TYPE.fullmatch(self.request.META.get("CONTENT_TYPE", "").strip()):
            raise MediaTypeNotTaken(wanted="application/scim+json or application/json in UTF-8")
        body = bodies.read_object(self.request.body)
        if context is Context.RESOURCE_PATCH_REQUEST:
            patches.require_bounded(body)
        return model.model_validate(body, scim_ctx=context)

    def wanted(self, model: Any) -> ResponseParameters[Any]:
        """Return which attributes are asked for."""
        names = {name: self.request.GET.get(name, "") for name in ("attributes", "excludedAttributes")}
        if any(len(value) > ATTRIBUTES for value in names.values()):
            raise SCIMException(detail="That is too long a list of attributes.")
        return ResponseParameters[model].model_validate(  # type: ignore[no-any-return]
            {name: value for name, value in names.items() if value}, scim_ctx=Context.SEARCH_REQUEST
        )

    def needs(self, attribute: str) -> bool:
        """Tell whether an attribute is to be in the answer."""
        named = {
            name: {
                one.strip().rpartition(":")[2].partition(".")[0].lower() for one in self.request.GET[name].split(",")
            }
            for name in ("attributes", "excludedAttributes")
            if self.request.GET.get(name)
        }
        if "attributes" in named:
            return attribute in named["attributes"]
        return attribute not in named.get("excludedAttributes", set())


class Configuration(ScimView):
    def get(self, request: HttpRequest) -> HttpResponse:
        return _answer(shapes.configuration(self.base), Context.RESOURCE_QUERY_RESPONSE)


class Described(ScimView):
    """The kinds of resources, and their schemas: a list, and each by its id."""

    described: Callable[[str], list[Any]] = staticmethod(shapes.schemas)

    def get(self, request: HttpRequest, pk: str = "") -> HttpResponse:
        found = self.described(self.base)
        if not pk:
            model: Any = type(found[0])
            listed = ListResponse[model](
                total_results=len(found), start_index=1, items_per_page=len(found), resources=found
            )
            return _answer(listed, Context.RESOURCE_QUERY_RESPONSE)
        for one in found:
            if str(one.id) == pk:
                return _answer(one, Context.RESOURCE_QUERY_RESPONSE)
        raise NotFound


class Resources(ScimView):
    """What people and groups have in common."""

    model: type[Resource[Any]]
    columns: Any
    related: tuple[str, str]  # the attribute that lists others, and what leads to them

    def rows(self) -> QuerySet[Any]:
        raise NotImplementedError

    def shown(self, row: Any) -> Resource[Any]:
        raise NotImplementedError

    def get(self, request: HttpRequest) -> HttpResponse:
        """List, by pages that begin at any number (RFC 7644, 3.4.2.4)."""
        wanted = self.wanted(self.model)
        text = request.GET.get("filter", "")
        rows = self.rows()
        if text:
            rows = rows.filter(pk__in=self.rows().filter(filters.query_of(text, self.columns)).values("pk"))
        start = max(1, _number(request.GET.get("startIndex"), 1))
        count = min(max(0, _number(request.GET.get("count"), shapes.PAGE)), shapes.PAGE)
        count = self._fitting(rows, start - 1, count)
        found = [self.shown(row) for row in rows[start - 1 : start - 1 + count]]
        listed = ListResponse[self.model](  # type: ignore[name-defined]
            total_results=rows.count(), start_index=start, items_per_page=len(found), resources=found
        )
        return _answer(listed, Context.RESOURCE_QUERY_RESPONSE, response_parameters=wanted)

    def _fitting(self, rows: QuerySet[Any], begin: int, count: int) -> int:
        """Return how many resources of a page are shown: one, or as many as list together no more than one may.

        A page may have fewer than were asked for (RFC 7644, 3.4.2.4).
        """
        attribute, relation = self.related
        if not self.needs(attribute):
            return count
        # A query that groups has no order but the one it is given.
        sized = rows.prefetch_related(None).annotate(size=Count(relation)).order_by("created_at", "id")
        together = list(itertools.accumulate(sized.values_list("size", flat=True)[begin : begin + count]))
        return max(sum(1 for size in together if size <= shapes.MEMBERS), min(1, len(together)))

    def one(self, row: Any, context: Context, status: int = 200) -> HttpResponse:
        resource = self.shown(row)
        answer = _answer(resource, context, status=status, response_parameters=self.wanted(self.model))
        if resource.meta is not None and resource.meta.location:
            answer["Location" if status == 201 else "Content-Location"] = resource.meta.location
        return answer


class Users(Resources):
    model, columns, related = User, filters.USERS, ("groups", "groups")

    def rows(self) -> QuerySet[DirectoryUser]:
        return DirectoryUser.objects.present().filter(directory=self.directory).prefetch_related("groups")

    def shown(self, row: DirectoryUser) -> User:
        return shapes.user_of(row, self.base, groups=row.groups.all() if self.needs("groups") else ())

    def post(self, request: HttpRequest) -> HttpResponse:
        given = self.given(User, Context.RESOURCE_CREATION_REQUEST)
        given.active = given.active is not False
        facts = shapes.person_facts(given, True)
        made = services.create_person(self.directory, facts=facts, actor=self.actor)
        return self.one(made, Context.RESOURCE_CREATION_RESPONSE, 201)


class OneUser(Users):
    def get(self, request: HttpRequest, pk: str) -> HttpResponse:  # type: ignore[override]
        return self.one(services.person_of(self.directory, _id(pk)), Context.RESOURCE_QUERY_RESPONSE)

    def put(self, request: HttpRequest, pk: str) -> HttpResponse:
        given = self.given(User, Context.RESOURCE_REPLACEMENT_REQUEST)

        def change(person: DirectoryUser) -> services.PersonFacts:
            given.active = person.is_active if given.active is None else given.active
            return shapes.person_facts(given, person.is_active)

        changed = services.change_person(self.directory, _id(pk), change=change, actor=self.actor)
        return self.one(changed, Context.RESOURCE_REPLACEMENT_RESPONSE)

    def patch(self, request: HttpRequest, pk: str) -> HttpResponse:
        asked = self.given(PatchOp[User], Context.RESOURCE_PATCH_REQUEST)
        changed = services.change_person(
            self.directory,
            _id(pk),
            change=lambda person: patches.person_after(person, asked, self.base),
            actor=self.actor,
        )
        return self.one(changed, Context.RESOURCE_PATCH_RESPONSE)

    def delete(self, request: HttpRequest, pk: str) -> HttpResponse:
        services.delete_person(self.directory, _id(pk), actor=self.actor)
        return HttpResponse(status=204)

    post = View.http_method_not_allowed  # type: ignore[assignment]


class Groups(Resources):
    model, columns, related = Group, filters.GROUPS, ("members", "users")

    def rows(self) -> QuerySet[DirectoryGroup]:
        rows = DirectoryGroup.objects.filter(directory=self.directory)
        return rows.prefetch_related("users") if self.needs("members") else rows

    def shown(self, row: DirectoryGroup) -> Group:
        return shapes.group_of(row, self.base, people=row.users.all() if self.needs("members") else ())

    def post(self, request: HttpRequest) -> HttpResponse:
        facts = shapes.group_facts(self.given(Group, Context.RESOURCE_CREATION_REQUEST))
        made = services.create_group(self.directory, facts=facts, actor=self.actor)
        return self.one(made, Context.RESOURCE_CREATION_RESPONSE, 201)


class OneGroup(Groups):
    def get(self, request: HttpRequest, pk: str) -> HttpResponse:  # type: ignore[override]
        return self.one(services.group_of(self.directory, _id(pk)), Context.RESOURCE_QUERY_RESPONSE)

    def put(self, request: HttpRequest, pk: str) -> HttpResponse:
        facts = shapes.group_facts(self.given(Group, Context.RESOURCE_REPLACEMENT_REQUEST))
        changed = services.change_group(self.directory, _id(pk), change=lambda group: facts, actor=self.actor)
        return self.one(changed, Context.RESOURCE_REPLACEMENT_RESPONSE)

    def patch(self, request: HttpRequest, pk: str) -> HttpResponse:
        asked = self.given(PatchOp[Group], Context.RESOURCE_PATCH_REQUEST)
        changed = services.change_group(
            self.directory, _id(pk), change=lambda group: patches.group_after(group, asked, self.base), actor=self.actor
        )
        return self.one(changed, Context.RESOURCE_PATCH_RESPONSE)

    def delete(self, request: HttpRequest, pk: str) -> HttpResponse:
        services.delete_group(self.directory, _id(pk), actor=self.actor)
        return HttpResponse(status=204)

    post = View.http_method_not_allowed  # type: ignore[assignment]


class Unknown(ScimView):
    """Whatever else is asked for below a tenant: there is nothing, whoever asks by whichever method."""

    def get(self, request: HttpRequest, rest: str = "") -> HttpResponse:
        raise NotFound

    put = patch = delete = get

    def post(self, request: HttpRequest, rest: str = "") -> HttpResponse:
        if rest == ".search":
            detail = "People and groups are searched one kind at a time, by GET and a filter."
            return _answer_error(Error(status=501, detail=detail))
        raise NotFound


def _answer(resource: Any, context: Context, *, status: int = 200, **asked: Any) -> HttpResponse:
    body = resource.model_dump(scim_ctx=context, **asked)
    return HttpResponse(json.dumps(body), status=status, content_type=problems.SCIM_JSON)


def _answer_error(error: Error) -> HttpResponse:
    status = error.status or 400
    text = problems.scim_text(status, (error.detail or "")[:500], error.scim_type or "")
    return HttpResponse(text, status=status, content_type=problems.SCIM_JSON)


def _id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise NotFound from None


def _number(text: str | None, default: int) -> int:
    """Return a number of the query; what is none counts as the default (RFC 7644, 3.4.2.4)."""
    if not text or not re.fullmatch(r"-?[0-9]{1,9}", text, re.ASCII):
        return default
    return int(text)
