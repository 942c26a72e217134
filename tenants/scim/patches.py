"""PATCH of SCIM (RFC 7644, 3.5.2) within a bound of work: who is in a group by sets of ids, all else by scim2-models.

scim2-models looks at each entry of a list for each operation and each value: a group of thousands of people and a
request of hundreds of operations, both of which directories have, would be minutes in a thread that serves everybody.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scim2_models import InvalidPathException, PatchOp, Path, PayloadTooLargeException, SCIMException
from scim2_models.path import CompareOperator, Comparison, FilterNode, LogicalExpr, Not

from tenants.models import DirectoryGroup, DirectoryUser
from tenants.scim import shapes
from tenants.scim.filters import LENGTH
from tenants.scim.shapes import Group, User
from tenants.services import GroupFacts, PersonFacts

OPERATIONS = 1_000  # of one request
WORK = 20_000  # entries that scim2-models looks at for one request
Ids = set[uuid.UUID]


@dataclass(frozen=True, slots=True)
class _Step:
    """What one operation does to the people of a group, and what else it does."""

    members: Callable[[Ids], Ids] | None = None
    rest: Any = None


def require_bounded(body: Mapping[str, Any]) -> None:
    """Refuse a request that is much work to read already; a path is parsed where it is read.

    Raises:
        SCIMException: it has too many operations, or too long a path.
    """
    for name, given in body.items():
        if name.lower() != "operations" or not isinstance(given, list):
            continue
        if len(given) > OPERATIONS:
            raise SCIMException(detail=f"At most {OPERATIONS} operations are taken in one request.")
        for one in given:
            for key, path in one.items() if isinstance(one, dict) else ():
                if key.lower() == "path" and isinstance(path, str) and len(path) > LENGTH:
                    raise InvalidPathException(detail=f"A path has at most {LENGTH} characters.")


def person_after(person: DirectoryUser, asked: PatchOp[User], base: str) -> PersonFacts:
    """Return what a person is after a PATCH.

    Args:
        base: as for `shapes.user_of`.

    Raises:
        SCIMException: it cannot be done to this person, or is too much work.
        InvalidInput, SecretPasted: what comes out is not what we take.
    """
    resource = shapes.user_of(person, base)
    _require_little(asked, len(resource.emails or []))
    asked.patch(resource)
    return shapes.person_facts(resource, person.is_active)


def group_after(group: DirectoryGroup, asked: PatchOp[Group], base: str) -> GroupFacts:
    """Return what a group is after a PATCH.

    Operations that directories send for who is in it (add, replace and remove by id) cost one look at an id each. One
    of another form lets scim2-models do the whole request, and then the bound of work counts the people too.

    Args:
        base: as for `shapes.group_of`.

    Raises:
        SCIMException: it cannot be done to this group, or is too much work.
        InvalidInput, SecretPasted: what comes out is not what we take.
    """
    steps = [_step(one) for one in asked.operations or ()]
    if any(one is None for one in steps):
        _require_little(asked, group.users.count())
        resource = shapes.group_of(group, base, people=group.users.all())
        asked.patch(resource)
        return shapes.group_facts(resource)
    ids: Ids = set(group.users.values_list("pk", flat=True))
    resource = shapes.group_of(group, base)
    rest = [one.rest for one in steps if one is not None and one.rest is not None]
    if rest:
        others = asked.model_copy(update={"operations": rest})
        _require_little(others, 0)
        others.patch(resource)
    for step in steps:
        if step is not None and step.members is not None:
            ids = step.members(ids)
    return shapes.group_facts(resource, members=ids)


# --- who is in a group ----------------------------------------------------------------------------------------------


def _step(operation: Any) -> _Step | None:
    """Return what an operation does; None: it does to the people what only scim2-models knows."""
    path, value = Path[Group](operation.path or ""), operation.value
    if path.model is not None:
        if path:  # a schema
            return None
        return _without_path(operation) if isinstance(value, dict) else _Step(rest=operation)
    bound = path.resolve()
    if bound is None or bound.field_name != "members":
        return _Step(rest=operation)
    if bound.sub_field_name is not None:
        return None
    if (node := path.value_filter) is not None:
        named = _named(node) if operation.op == "remove" and value is None else None
        return None if named is None else _Step(members=lambda ids: ids - _ids([named]))
    if operation.op == "remove" and value is None:
        return _Step(members=lambda ids: set())
    return _of_values(operation.op, value)


def _without_path(operation: Any) -> _Step | None:
    """Return what an operation does whose value has the attributes as names."""
    ours: list[Any] = []
    others: dict[str, Any] = {}
    for name, value in operation.value.items():
        match _attribute(name):
            case "members":
                ours.append(value)
            case None:
                return None
            case _:
                others[name] = value
    if len(ours) > 1 or operation.op == "remove":
        return None
    rest = operation.model_copy(update={"value": others}) if others or not ours else None
    if not ours:
        return _Step(rest=rest)
    step = _of_values(operation.op, ours[0])
    return None if step is None else _Step(members=step.members, rest=rest)


def _attribute(name: str) -> str | None:
    """Return our field of that name; empty: we have none such; None: a part of `members`, or a schema."""
    try:
        path = Path[Group](name)
    except InvalidPathException:
        return ""
    if path.model is not None:
        return None
    bound = path.resolve()
    if bound is None:
        return ""
    is_part = bound.sub_field_name is not None or path.value_filter is not None
    return None if is_part and bound.field_name == "members" else bound.field_name


def _of_values(op: str, value: Any) -> _Step | None:
    """Return what people who are listed by their ids are to be: added, removed, or all that there are."""
    named = [_value_of(one) for one in (value if isinstance(value, list) else [value])]
    if any(one is None for one in named) or (op == "add" and not isinstance(value, list | dict)):
        return None
    if op == "remove":
        gone = _ids(named)
        return _Step(members=lambda ids: ids - gone)
    come = {shapes.id_of(one) for one in named}
    return _Step(members=lambda ids: ids | come) if op == "add" else _Step(members=lambda ids: set(come))


def _value_of(entry: Any) -> str | None:
    """Return the id that an entry names somebody by; names of attributes have no case."""
    if not isinstance(entry, dict):
        return None
    found = [value for name, value in entry.items() if name.lower() == "value"]
    return found[0] if len(found) == 1 and isinstance(found[0], str) else None


def _named(node: FilterNode) -> str | None:
    """Return the id of `value eq "…"`; None: it is another filter."""
    match node:
        case Comparison(op=CompareOperator.eq, attr_path=path, value=str(value)):
            is_id = path.attr.lower() == "value" and path.sub_attr is None and path.uri is None
            return value if is_id else None
    return None


def _ids(texts: list[str | None]) -> Ids:
    """Return the ids among texts; what is none is nobody's."""
    found = set()
    for text in texts:
        try:
            found.add(uuid.UUID(text))
        except ValueError:
            continue
    return found


# --- the bound of work ----------------------------------------------------------------------------------------------


def _require_little(asked: PatchOp[Any], there: int) -> None:
    """Refuse what is too much work for scim2-models.

    Args:
        there: entries of the resource's list before.

    Raises:
        PayloadTooLargeException: with what is asked for, and how it can be asked for.
    """
    operations = asked.operations or []
    given = sum(_leaves(one.value) for one in operations)
    # Each operation looks at what is there and at what those before it gave, for each comparison and each value.
    work = (there + given) * sum(_comparisons(one.path) + _leaves(one.value) for one in operations)
    if work > WORK:
        raise PayloadTooLargeException(
            detail=(
                f"{len(operations)} operations with {given} values on {there} entries are too much work for one "
                f"request: {work}, and at most {WORK}. Send fewer operations in one request; add and remove people of "
                'a group by the path members and a list of their ids, or by members[value eq "…"].'
            )
        )


def _leaves(value: Any) -> int:
    return sum(1 for _ in _scalars(value))


def _scalars(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _scalars(one)
    elif value is not None:
        yield value


def _comparisons(path: Path[Any] | None) -> int:
    node = path.value_filter if path is not None else None
    return 1 if node is None else _terms(node)


def _terms(node: FilterNode) -> int:
    match node:
        case LogicalExpr(terms=terms):
            return sum(_terms(one) for one in terms)
        case Not(expr=inner):
            return _terms(inner)
    return 1
