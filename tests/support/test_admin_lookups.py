"""What the address of a list in the back office may ask:
every column of every model, and of those that it points to, is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.test import Client, RequestFactory

from support.admin.base import ReadOnlyAdmin
from tenants.models import Member, ServiceAccount

pytestmark = pytest.mark.django_db
LISTS: dict[type[Model], Any] = dict(admin.site._registry)
ORACLES = ("startswith", "regex", "gt", "exact", "in", "contains", "isnull")
# Columns that would give somebody away if a list answered about them, wherever they stand.
SECRET = {
    "password",
    "digest",
    "secret_digest",
    "external_id",
    "canary_external_id",
    "session_data",
    "data",
    "payload",
    "wrapped",
}


def paths(model: type[Model], depth: int) -> Iterator[str]:
    """Yield every column of a model and of those that it points to or that point to it."""
    for field in model._meta.get_fields():
        yield field.name
        if field.is_relation and field.related_model is not None and depth > 1:
            yield from (f"{field.name}__{inner}" for inner in paths(field.related_model, depth - 1))


def named(options: Any) -> set[str]:
    """Return what the columns, the search and the filters of a list name."""
    filters = {
        each if isinstance(each, str) else each[0] for each in options.list_filter if isinstance(each, str | tuple)
    }
    return {*options.list_display, *(name.lstrip("^=@") for name in options.search_fields), *filters}


@pytest.mark.parametrize("model", LISTS, ids=lambda model: model._meta.label)
def test_a_list_is_asked_for_what_it_names_and_for_nothing_else(model: type[Model]) -> None:
    options, request = LISTS[model], RequestFactory().get("/")
    assert isinstance(options, ReadOnlyAdmin)  # one mechanism for all
    may = named(options)
    may |= {f"{name}__id" for name in may}
    tried = set(paths(model, 3))
    assert len(tried) > 20
    for path in tried:
        allowed = {oracle for oracle in ORACLES if options.lookup_allowed(f"{path}__{oracle}", "x", request)}
        assert allowed <= (set(ORACLES) - {"regex"} if path in may else set()), path
    assert not {path.rpartition("__")[2] for path in may} & SECRET


@pytest.fixture(params=["Support", "Support lead", "Auditor", "superuser"])
def staff(
    request: pytest.FixtureRequest, browser_of: Callable[[User], Client], service: ServiceAccount, alice: Member
) -> Client:
    """The browser of somebody of each group."""
    user = User.objects.create_user("kim@kore.example", "kim@kore.example", "kims-password", is_staff=True)
    if request.param == "superuser":
        User.objects.filter(pk=user.pk).update(is_superuser=True)
    else:
        user.groups.add(Group.objects.get(name=request.param))
    return browser_of(user)


def test_no_column_of_any_list_answers_a_guess_that_nobody_gave_it(staff: Client) -> None:
    for model, options in LISTS.items():
        address = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        if staff.get(address).status_code == 403:
            continue
        for path in set(paths(model, 1)) - named(options):
            for oracle in ("__startswith",) if "password" not in path else ("__startswith", "__gt", "", "__in"):
                answer = staff.get(address, {f"{path}{oracle}": "1"})
                assert answer.status_code == 400, (address, path, oracle)


@pytest.mark.parametrize(
    ("address", "guess"),
    [
        ("/admin/auth/user/", "password__startswith"),
        ("/admin/auth/user/", "groups__user__password__startswith"),
        ("/admin/tenants/serviceaccount/", "secret_digest__startswith"),
        ("/admin/tenants/serviceaccount/", "tokens__digest__startswith"),
        ("/admin/tenants/serviceaccount/", "tenants__external_id__startswith"),
        ("/admin/tenants/member/", "user__password__startswith"),
        ("/admin/tenants/member/", "tokens__digest__startswith"),
        ("/admin/tenants/member/", "tenant__external_id__startswith"),
        ("/admin/tenants/tenant/", "members__user__password__startswith"),
        ("/admin/tenants/tenant/", "service_role__canary_external_id__startswith"),
        ("/admin/tenants/auditevent/", "payload__contains"),
        ("/admin/support/ticket/", "messages__text__contains"),
    ],
)
def test_a_secret_is_not_read_letter_by_letter(staff: Client, address: str, guess: str) -> None:
    for more in ({}, {"_popup": "1"}, {"_facets": "1"}, {"q": "a"}, {"o": "1"}, {"all": ""}):
        assert staff.get(address, {guess: "a", **more}).status_code == 400


def test_a_list_is_ordered_by_its_columns_only(staff: Client) -> None:
    for model, options in LISTS.items():
        address = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        may = {*named(options), *model._meta.ordering, *(options.ordering or ()), "pk"}
        may |= {getattr(getattr(options, str(name), None), "admin_order_field", None) for name in options.list_display}
        for column in range(1, len(options.list_display) + 3):
            page = staff.get(address, {"o": f"-{column}"})
            if page.status_code == 403:
                break
            order = {str(name).lstrip("-") for name in page.context["cl"].queryset.query.order_by}
            assert order <= {str(name).lstrip("-") for name in may}, address
        else:
            for guess in ("password", "-secret_digest", "tenant__external_id"):
                assert staff.get(address, {"o": guess}).status_code == 200  # as if it were not there


def test_no_row_is_addressed_by_another_column_than_its_id(staff: Client, alice: Member) -> None:
    assert staff.get("/admin/auth/user/", {"_to_field": "password"}).status_code == 400
    page = staff.get(f"/admin/auth/user/{alice.user.email}/change/", {"_to_field": "email"})
    assert page.status_code in {400, 404}
    for app, model, field in (("tenants", "member", "user"), ("tenants", "accesstoken", "member")):
        found = staff.get(
            "/admin/autocomplete/", {"app_label": app, "model_name": model, "field_name": field, "term": "a"}
        )
        assert found.status_code in {200, 403, 404}
        assert b"md5$" not in found.content


def test_what_the_lists_themselves_offer_still_works(staff: Client) -> None:
    for address, asked in {
        "/admin/auth/user/": {"is_staff__exact": "1", "groups__id__exact": "1", "q": "alice"},
        "/admin/tenants/tenant/": {"step": "1", "turn": "waiting_for_tenant", "service_role__id__exact": "1"},
        "/admin/tenants/member/": {"role__exact": "owner", "q": "alice"},
        "/admin/support/notice/": {"sent_at__isempty": "1"},
        "/admin/tenants/auditevent/": {"name": "tenants.tenant.created", "o": "-1"},
    }.items():
        assert staff.get(address, asked).status_code == 200, address
