"""The largest requests that a directory may send are work in proportion to what they hold, counted in calls.

A call is one of a function, an event of `sys.setprofile`: it is the same on every machine. A request that asks for more
than its bound is broken off there, so that this file is quick where the code is not.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from directory import verified_domain
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scim2_models import Context, PatchOp
from scim_directory import GROUP, PATCH, USER, Scim

from byokportal import bodies
from tenants.models import DirectoryGroup, DirectoryUser, Member, Tenant
from tenants.scim import patches, shapes

pytestmark = pytest.mark.django_db
PEOPLE = 5_000  # as many as one directory, and one group, may have
CALLS = 800  # for each person of the group, operation and value of the request
Operation = dict[str, Any]


class TooMuchWork(BaseException):
    """Nothing between here and the test catches it."""


@contextmanager
def at_most(calls: int) -> Iterator[list[int]]:
    """Count calls of functions, of Python and of C, and stop where there are more."""
    made, before = [0], sys.getprofile()

    def count(_frame: Any, event: str, _argument: Any) -> None:
        if event in {"call", "c_call"}:
            made[0] += 1
            if made[0] > calls:
                sys.setprofile(before)
                raise TooMuchWork(calls)

    sys.setprofile(count)
    try:
        yield made
    finally:
        sys.setprofile(before)
    assert made[0] <= calls  # somebody caught it


@pytest.fixture
def scim(tenant: Tenant, alice: Member) -> Scim:
    verified_domain(tenant)
    return Scim(alice)


def people(scim: Scim, count: int) -> list[str]:
    """Let the directory have that many people; returns their ids."""
    rows = DirectoryUser.objects.bulk_create(
        DirectoryUser(
            directory=scim.directory,
            user_name=f"p{n}",
            user_name_key=f"p{n}",
            is_active=True,
            resource={"active": True},
        )
        for n in range(count)
    )
    return [str(row.pk) for row in rows]


def a_group(scim: Scim, ids: list[str], name: str = "g") -> DirectoryGroup:
    """Let the directory have a group of these people."""
    group = DirectoryGroup.objects.create(directory=scim.directory, display_name=name)
    through = DirectoryGroup.users.through
    through.objects.bulk_create(through(directorygroup=group, directoryuser_id=uuid.UUID(one)) for one in ids)
    return group


def sent(scim: Scim, method: str, path: str, body: Any, *, entries: int) -> tuple[int, dict[str, Any]]:
    """Send a request that is allowed so many calls as its entries are worth; returns status and answer."""
    data = json.dumps(body)
    assert len(data) <= bodies.LIMIT_SCIM
    client, url = Client(), f"/api/scim/v2/{scim.tenant.pk}/{path}"
    headers = {"authorization": f"Bearer {scim.raw}"}
    client.get(f"/api/scim/v2/{scim.tenant.pk}/Users?count=0", headers=headers)  # what is made once a process
    with at_most(CALLS * entries + 100_000):
        answer = client.generic(method, url, data, content_type="application/scim+json", headers=headers)
    return answer.status_code, answer.json()


def patched(scim: Scim, path: str, *operations: Operation, entries: int) -> tuple[int, dict[str, Any]]:
    body = {"schemas": [PATCH], "Operations": list(operations)}
    return sent(scim, "PATCH", path, body, entries=entries)


def by_filter(ids: list[str]) -> list[Operation]:
    return [{"op": "remove", "path": f'members[value eq "{one}"]'} for one in ids]


# What directories send → operations on a group of the first 4,000, and how many are in it afterwards.
FORMS: dict[str, tuple[Any, int]] = {
    "a removal each": (lambda ids: by_filter(ids[:1_000]), 3_000),
    "an addition each": (
        lambda ids: [{"op": "add", "path": "members", "value": [{"value": one}]} for one in ids[4_000:]],
        5_000,
    ),
    "additions without a path": (
        lambda ids: [{"op": "Add", "value": {"Members": [{"value": one}]}} for one in ids[4_000:]],
        5_000,
    ),
    "a removal with values, as Entra sends it": (
        lambda ids: [{"op": "Remove", "path": "members", "value": [{"value": one} for one in ids[:4_000]]}],
        0,
    ),
    "all at once": (
        lambda ids: [{"op": "replace", "path": "members", "value": [{"value": one} for one in ids]}],
        5_000,
    ),
    "removals of many values": (
        lambda ids: [
            {"op": "Remove", "path": "members", "value": [{"value": one} for one in ids[n : n + 4]]}
            for n in range(0, 4_000, 4)
        ],
        0,
    ),
    "in and out": (lambda ids: [*by_filter(ids[:500]), *({"op": "add", "path": "members", "value": {"value": one}}
                   for one in ids[:500])], 4_000),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_what_directories_send_of_groups_is_work_in_proportion(scim: Scim, form: str) -> None:
    ids = people(scim, PEOPLE)
    group = a_group(scim, ids[:4_000])
    operations, left = FORMS[form][0](ids), FORMS[form][1]
    status, answer = patched(scim, f"Groups/{group.pk}", *operations, entries=PEOPLE + len(operations))
    assert status == 200, answer
    assert len(answer.get("members", [])) == group.users.count() == left


@pytest.mark.parametrize("operations", [
    lambda ids: [{"op": "remove", "path": f'members[value eq "{ids[0]}" or value eq "{ids[1]}"]'}] * 500,
    lambda ids: [{"op": "remove", "path": f'members[value sw "{one[:8]}"]'} for one in ids[:1_000]],
    lambda ids: [{"op": "remove", "path": "members[" + " or ".join(["value pr"] * 40) + "]"}] * 400,
    lambda ids: [{"op": "add", "path": f'members[value eq "{one}"]', "value": {"value": one}} for one in ids[:900]],
    lambda ids: [{"op": "replace", "path": "members.value", "value": ids[0]}] * 1_000,
    lambda ids: [{"op": "replace", "path": GROUP, "value": {"members": [{"value": one}]}} for one in ids[:1_000]],
    lambda ids: [*by_filter(ids[:998]), {"op": "remove", "path": "members[not (value pr)]"}],
    lambda ids: [{"op": "remove", "path": "members", "value": [{"value": 7}] * 6_000}],
])  # fmt: skip
def test_other_forms_are_refused_where_the_group_is_large(scim: Scim, operations: Any) -> None:
    ids = people(scim, PEOPLE)
    group = a_group(scim, ids)
    asked = operations(ids)
    status, answer = patched(scim, f"Groups/{group.pk}", *asked, entries=PEOPLE + len(asked))
    assert status == 413, answer
    assert f"{len(asked)} operations" in answer["detail"]
    assert f"{PEOPLE} entries" in answer["detail"]
    assert group.users.count() == PEOPLE


@pytest.mark.parametrize("operations", [
    [{"op": "add", "path": "emails", "value": [{"value": f"e{n}@acme.example"}]} for n in range(1_000)],
    [{"op": "add", "path": "emails", "value": [{"value": f"e{n}@acme.example"} for n in range(3_000)]}],
    [{"op": "add", "path": f'emails[type eq "{n}"].value', "value": "e@acme.example"} for n in range(1_000)],
    [{"op": "add", "value": {"emails": [{"value": f"e{n}@acme.example"}]}} for n in range(1_000)],
])  # fmt: skip
def test_addresses_of_a_person_are_bounded_before_the_work(scim: Scim, operations: list[Operation]) -> None:
    person = scim.user("dora@acme.example")
    assert patched(scim, f"Users/{person}", *operations, entries=3_000)[0] == 413


def test_what_is_much_to_read_is_refused_before_it_is_read(scim: Scim) -> None:
    group = scim.group("g")
    many = [{"op": "remove", "path": "members"}] * 5_000
    assert patched(scim, f"Groups/{group}", *many, entries=1)[0] == 400
    long = {"op": "remove", "path": "members[" + " or ".join(["value pr"] * 6_000) + "]"}
    status, answer = patched(scim, f"Groups/{group}", long, entries=1)
    assert (status, answer["scimType"]) == (400, "invalidPath")


def test_a_resource_of_the_largest_size(scim: Scim) -> None:
    ids = people(scim, PEOPLE - 1)
    body = {"schemas": [GROUP], "displayName": "g", "members": [{"value": one} for one in ids]}
    status, answer = sent(scim, "POST", "Groups", body, entries=PEOPLE)
    assert status == 201, answer
    status, _ = sent(scim, "PUT", f"Groups/{answer['id']}", {**body, "members": body["members"][:9]}, entries=PEOPLE)
    assert status == 200
    person = {"schemas": [USER], "userName": "a", "emails": [{"value": f"e{n}@acme.example"} for n in range(5_000)]}
    assert sent(scim, "POST", "Users", person, entries=PEOPLE)[0] == 400
    assert sent(scim, "PUT", f"Users/{ids[0]}", person, entries=PEOPLE)[0] == 400


def test_a_page_lists_no_more_people_or_groups_than_one_resource_may(
    scim: Scim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "MEMBERS", 5)
    ids = people(scim, 4)
    groups = [a_group(scim, ids[:size], f"g{size}") for size in (4, 2, 3, 4, 0)]
    seen: list[str] = []
    while len(seen) < len(groups):
        page = scim.ask("GET", f"Groups?startIndex={len(seen) + 1}", status=200)
        assert page["totalResults"] == len(groups)
        assert page["itemsPerPage"] == len(page["Resources"]) >= 1
        assert sum(len(one.get("members", ())) for one in page["Resources"]) <= 5
        seen += [one["id"] for one in page["Resources"]]
    assert set(seen) == {str(one.pk) for one in groups}
    assert scim.ask("GET", "Groups?excludedAttributes=members", status=200)["itemsPerPage"] == 5
    assert scim.ask("GET", "Users", status=200)["itemsPerPage"] < 4, "they are in thirteen groups together"
    monkeypatch.setattr(shapes, "MEMBERS", 1)
    assert scim.ask("GET", "Groups", status=200)["itemsPerPage"] == 1, "one is shown whatever its size"


# --- sets of ids do what scim2-models does ----------------------------------------------------------------------------

IDS = [str(uuid.UUID(int=n)) for n in range(1, 7)]
ENTRY = st.fixed_dictionaries({"value": st.sampled_from(IDS)})
ENTRIES = st.lists(ENTRY, max_size=4)
PATHS = st.sampled_from(["members", "Members", f"{GROUP}:members"])
OPERATION = st.one_of(
    st.fixed_dictionaries({"op": st.sampled_from(["add", "Add", "replace"]), "path": PATHS, "value": ENTRIES | ENTRY}),
    st.fixed_dictionaries({"op": st.just("remove"), "path": PATHS}, optional={"value": ENTRIES}),
    st.sampled_from(IDS).map(lambda one: {"op": "remove", "path": f'members[Value EQ "{one}"]'}),
    st.sampled_from(IDS).map(lambda one: {"op": "remove", "path": f'members[value ne "{one}"]'}),
    st.sampled_from(IDS).map(lambda one: {"op": "add", "path": f'members[value eq "{one}"]', "value": {"value": one}}),
    st.fixed_dictionaries(
        {
            "op": st.sampled_from(["add", "replace"]),
            "value": st.fixed_dictionaries({}, optional={"members": ENTRIES, "displayName": st.sampled_from(["g", "h"]),
                                                         "x": st.just(1), GROUP: st.just({"displayName": "i"})}),
        }
    ),
    st.just({"op": "replace", "path": GROUP, "value": {"members": [{"value": IDS[0]}], "displayName": "j"}}),
    st.sampled_from(["k", "l"]).map(lambda name: {"op": "replace", "path": "displayName", "value": name}),
)  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.sets(st.sampled_from(IDS)), operations=st.lists(OPERATION, min_size=1, max_size=5))
def test_sets_of_ids_do_what_the_library_does(scim: Scim, before: set[str], operations: list[Operation]) -> None:
    group = DirectoryGroup.objects.filter(directory=scim.directory).first() or a_group(scim, [])
    for one in set(IDS) - {str(pk) for pk in DirectoryUser.objects.values_list("pk", flat=True)}:
        DirectoryUser.objects.create(
            id=one, directory=scim.directory, user_name=one, user_name_key=one, is_active=True, resource={}
        )
    group.users.set(before)
    body = {"schemas": [PATCH], "Operations": operations}
    with shapes.POLICY:
        asked, same = (
            PatchOp[shapes.Group].model_validate(body, scim_ctx=Context.RESOURCE_PATCH_REQUEST) for _ in range(2)
        )
        ours = patches.group_after(group, asked, "")
        resource = shapes.group_of(group, "", people=group.users.all())
        same.patch(resource)
        assert ours == shapes.group_facts(resource)
