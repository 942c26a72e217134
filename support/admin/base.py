"""ReadOnlyAdmin, the base of every page, and Operation:
a button, a confirmation with a reason, one service, its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import AllValuesFieldListFilter, ChoicesFieldListFilter, ModelAdmin, SimpleListFilter
from django.contrib.admin.utils import get_fields_from_path
from django.core.exceptions import FieldDoesNotExist, PermissionDenied
from django.core.paginator import Paginator
from django.db import IntegrityError
from django.db.models import CharField, Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import cached_property
from django.utils.text import capfirst
from django.views.decorators.cache import never_cache

from byokportal import errors, problems, words
from byokportal.errors import DomainError
from support.fleet import search
from support.forms import ReasonForm
from tenants import fresh, roles, shown_once
from tenants.audit import Actor
from tenants.errors import FreshSignInNeeded

TITLE = "title"  # among the values that are shown once: the heading of their page


@dataclass(frozen=True, slots=True)
class ShownOnce:
    """What an operation gives that is seen once, on the page after it (`tenants.shown_once`):
    never in a message or a session."""

    title: str
    values: Mapping[str, str]


Answer = str | ShownOnce
OneOperation = Callable[[Any, dict[str, Any], Actor], Answer]


def _always(obj: Any) -> bool:
    return True


def _nothing(obj: Any) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Operation:
    """What staff may do on one page.

    Attributes:
        row: the row of `tenants.roles.OPERATIONS` that says who may.
        do: calls one service with (object or None, cleaned data, actor) and returns the sentence to show.
        initial: what its form shows first, from the object.
        is_offered: whether the button makes sense for this object now; the service decides whether it may be done.
        is_destructive: its button is shown as one that takes something away.
    """

    name: str
    label: str
    explanation: str
    row: str
    do: OneOperation
    form: type[forms.Form] = ReasonForm
    initial: Callable[[Any], dict[str, Any]] = _nothing
    is_offered: Callable[[Any], bool] = _always
    is_destructive: bool = False

    @property
    def short(self) -> str:
        """The verb of its label, for a small button beside it."""
        return self.label.split()[0].rstrip(":")


# What an address may ask of a column. No patterns: the database would run whatever somebody writes.
LOOKUPS = frozenset(
    [
        "exact",
        "iexact",
        "in",
        "isnull",
        "isempty",
        "contains",
        "icontains",
        "startswith",
        "istartswith",
        "gt",
        "gte",
        "lt",
        "lte",
        "date",
        "year",
        "month",
        "day",
    ]
)


# Rows of a list that one can leaf through.
LISTED = 5_000
CODES = {"reason", "refused_code", "why"}  # columns that hold a code of ours, or words
ACTORS = {"opened_by", "requested_by", "started_by", "approved_by", "closed_by", "author", "actor", "invited_by"}


class ChoicesForStaff(ChoicesFieldListFilter):
    """A filter whose labels speak of the tenant, where the tenant's own pages say "you"."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        for choice in super().choices(changelist):
            yield {**choice, "display": words.for_staff(str(choice["display"]))}


class CodesForStaff(AllValuesFieldListFilter):
    """A filter by a column of codes, with words for labels."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        for choice in super().choices(changelist):
            yield {**choice, "display": words.label(choice["display"])}


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Pages of a list that are never counted to the end: behind the last one a filter or the search leads on."""

    @cached_property
    def count(self) -> int:  # type: ignore[override]
        rows: Any = self.object_list
        return int(rows.order_by()[:LISTED].count())


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[type-arg]
    """Rows to look at; nothing is added, changed or deleted here, not even by a superuser."""

    actions = None
    operations: ClassVar[tuple[Operation, ...]] = ()  # on the page of one object
    list_operations: ClassVar[tuple[Operation, ...]] = ()  # on the list, for what is not there yet
    change_form_template = "admin/object.html"
    change_list_template = "admin/list.html"
    show_full_result_count = False
    paginator = BoundedPaginator
    # The column that says whose a row is: what is searched for is then found as in the fleet, and its rows after that.
    tenant_path: ClassVar[str] = ""
    # A look-up in the list itself that is searched too; it has an index for that.
    own_search: ClassVar[str] = ""
    list_per_page = 50

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return [self._in_words(name) for name in super().get_list_display(request)]

    def get_fields(self, request: HttpRequest, obj: object = None) -> list[Any]:
        return [self._in_words(name) for name in super().get_fields(request, obj)]

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [
            (name, ChoicesForStaff) if isinstance(name, str) and self._column(name, "choices") else name
            for name in super().get_list_filter(request)
        ]

    def _column(self, name: object, attribute: str) -> Any:
        """Return an attribute of a column of the model itself; None for a method or for another model's column."""
        fields = {field.name: field for field in self.opts.get_fields() if hasattr(field, "attname")}
        return getattr(fields.get(name), attribute, None)  # type: ignore[call-overload]

    def _in_words(self, name: Any) -> Any:
        """Return a column as staff read it: codes, statuses and actors in words;
        the row and its filters keep the codes."""
        is_text = isinstance(self.opts.get_field(name), CharField) if self._column(name, "attname") else False
        speaks = words.person if name in ACTORS else words.label if name in CODES else None
        if not is_text or (speaks is None and not self._column(name, "choices")):
            return name

        @admin.display(description=self._column(name, "verbose_name"), ordering=name)
        def shown(obj: Model) -> str:
            value = str(getattr(obj, name) or "")
            if speaks is not None:
                return speaks(value) if value else ""
            return words.for_staff(str(getattr(obj, f"get_{name}_display")() or ""))

        return shown

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not self.tenant_path or not search_term:
            return super().get_search_results(request, queryset, search_term)
        tenants = search.rows(search_term).order_by().values("pk")
        found = Q(**{f"{self.tenant_path}__in": tenants})
        if self.own_search:
            found |= Q(**{self.own_search: search.clean(search_term)})
        return queryset.filter(found), False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Tell whether the address of a list may ask for that:
        what its filters, search and columns name, and nothing else.

        Django allows every column of the model itself. Who may look at a list could read its hidden columns letter
        by letter, the hash of a password with `?password__startswith=…`.
        """
        named = {*self.list_display, *(name.lstrip("^=@") for name in self.get_search_fields(request))}
        for each in self.get_list_filter(request):
            if isinstance(each, type) and issubclass(each, SimpleListFilter):
                if lookup == each.parameter_name:
                    return True
            else:
                named.add(each[0] if isinstance(each, tuple | list) else each)
        named.add(self.date_hierarchy)
        return any(isinstance(name, str) and self._asks_only(name, lookup) for name in named)

    def _asks_only(self, name: str, lookup: str) -> bool:
        """Tell whether a lookup asks for what is named, or for the id of the row that it points to."""
        if lookup != name and not lookup.startswith(f"{name}__"):
            return False
        rest = lookup.removeprefix(name).split("__")[1:]
        try:
            pointed_to = get_fields_from_path(self.model, name)[-1].related_model
        except FieldDoesNotExist:
            pointed_to = None  # a column that is computed: it filters nothing
        if pointed_to is not None and rest and rest[0] in {"pk", pointed_to._meta.pk.name}:
            rest = rest[1:]
        return LOOKUPS.issuperset(rest)

    def to_field_allowed(self, request: HttpRequest, to_field: str) -> bool:
        return to_field in {"pk", self.opts.pk.name}

    def get_urls(self) -> list[URLPattern]:
        """Only the addresses that there is something behind: list, object, operations."""
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name=f"{name}_changelist"),
            path("operations/<slug:operation_name>/", view(self.list_operation_view), name=f"{name}_list_operation"),
            path("<path:object_id>/change/", view(self.object_view), name=f"{name}_change"),
            path(
                "<path:object_id>/operations/<slug:operation_name>/",
                view(self.operation_view),
                name=f"{name}_operation",
            ),
        ]

    def object_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        obj = self._object(request, object_id)
        shown = [
            operation
            for operation in self.operations
            if roles.staff_may(request.user, operation.row) and operation.is_offered(obj)
        ]
        context = {
            "operations": [(operation, self._operation_url(operation, obj)) for operation in shown],
            "title": self.named(obj),
            "subtitle": None,
            **self.about(request, obj),
        }
        return self.changeform_view(request, object_id, extra_context=context)

    def named(self, obj: Any) -> str:
        """Return what titles and crumbs call an object: never by an id."""
        return str(obj)

    def about(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        """Return what the page of the object shows beside its fields."""
        return {}

    def initial_of(self, request: HttpRequest, operation: Operation, obj: Any) -> dict[str, Any]:
        """Return what the form of an operation shows first."""
        return operation.initial(obj)

    def beside(self, request: HttpRequest, operation: Operation, obj: Any) -> dict[str, Any]:
        """Return what the confirmation of an operation shows beside its form."""
        return {}

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        shown = [operation for operation in self.list_operations if roles.staff_may(request.user, operation.row)]
        context = {
            "title": capfirst(self.opts.verbose_name_plural),
            "operations": [(operation, self._operation_url(operation, None)) for operation in shown],
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)

    def _object(self, request: HttpRequest, object_id: str) -> Model:
        obj: Model | None = self.get_object(request, object_id)
        if obj is None:
            raise Http404
        return obj

    def _operation_url(self, operation: Operation, obj: Model | None) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}"
        return (
            reverse(f"{name}_list_operation", args=[operation.name])
            if obj is None
            else reverse(f"{name}_operation", args=[obj.pk, operation.name])
        )

    def operation_view(self, request: HttpRequest, object_id: str, operation_name: str) -> HttpResponse:
        return self._run(request, self.operations, operation_name, lambda: self._object(request, object_id))

    def list_operation_view(self, request: HttpRequest, operation_name: str) -> HttpResponse:
        return self._run(request, self.list_operations, operation_name, lambda: None)

    def _run(
        self, request: HttpRequest, operations: tuple[Operation, ...], name: str, find: Callable[[], Model | None]
    ) -> HttpResponse:
        operation = next((operation for operation in operations if operation.name == name), None)
        if operation is None:
            raise Http404
        if not roles.staff_may(request.user, operation.row) or not self.has_view_permission(request):
            raise PermissionDenied
        fresh.require(request)  # before the form: nothing typed is lost
        answer: HttpResponse = never_cache(self._confirm)(request, operation, find())
        return answer

    def _confirm(self, request: HttpRequest, operation: Operation, obj: Model | None) -> HttpResponse:
        """Show the confirmation; once it is given, do the operation and say what came of it."""
        form = operation.form(
            request.POST if request.method == "POST" else None, initial=self.initial_of(request, operation, obj)
        )
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}"
        back = reverse(f"{name}_changelist") if obj is None else reverse(f"{name}_change", args=[obj.pk])
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "operation": operation,
            "original": obj,
            "named": "" if obj is None else self.named(obj),
            "form": form,
            "back": back,
            **self.beside(request, operation, obj),
        }
        shown = shown_once.take(request)
        if shown is not None:
            title = shown.values.get(TITLE, "It was shown already")
            values = [(name, value) for name, value in shown.values.items() if name != TITLE]
            return TemplateResponse(request, "admin/shown_once.html", {**context, "title": title, "values": values})
        if request.method == "POST" and form.is_valid():
            try:
                answer = operation.do(
                    obj, form.cleaned_data, Actor.staff(request.user, signed_in_at=fresh.signed_in_at(request))
                )
            except FreshSignInNeeded:
                raise  # a way to the sign-in and back (tenants.middleware), not words in the form
            except DomainError as error:
                _show(form, error)
            except IntegrityError as error:
                _show(form, problems.of_database(error) or errors.Conflict())
            else:
                if isinstance(answer, ShownOnce):
                    return shown_once.redirect(request, request.path, {TITLE: answer.title, **answer.values})
                messages.success(request, answer)
                return redirect(back)
        return TemplateResponse(request, "admin/operation.html", {**context, "title": operation.label})


def _show(form: forms.Form, error: DomainError) -> None:
    """Put an anticipated failure where the person looks: on its field, else above the form."""
    for field, sentences in error.errors.items():
        for sentence in sentences:
            form.add_error(field if field in form.fields else None, sentence)
    if not error.errors:
        form.add_error(None, f"{error.title}. {error}")
