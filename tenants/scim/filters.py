"""SCIM filters (RFC 7644, 3.4.2.2) → queries: the grammar is scim2-models', what may be asked for stands here."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from django.db.models import Q
from scim2_models import InvalidFilterException, ScimFilter
from scim2_models.path import (
    AttrPath,
    CompareOperator,
    Comparison,
    FilterNode,
    FilterVisitor,
    LogicalExpr,
    LogicalOperator,
    Not,
    Present,
    ValuePath,
)

from byokportal import storable

LENGTH = 512  # characters
TERMS = 20  # comparisons in one filter
TEXT = {
    CompareOperator.eq: "",
    CompareOperator.sw: "__startswith",
    CompareOperator.ew: "__endswith",
    CompareOperator.co: "__contains",
}
# Attribute → column. In lower case: names of attributes have no case.
USERS: Mapping[str, str] = {
    "id": "pk",
    "username": "user_name_key",
    "externalid": "external_id",
    "active": "is_active",
    "emails": "email",
    "emails.value": "email",
}
GROUPS: Mapping[str, str] = {
    "id": "pk",
    "displayname": "display_name",
    "externalid": "external_id",
    "members": "users__pk",
    "members.value": "users__pk",
}
IDS = {"pk", "users__pk"}
LOWER = {"user_name_key", "email"}  # kept in lower case; the others are compared as they are, or without case
BESIDE = {"type", "primary"}  # of an address, and not asked for here
NOTHING = Q(pk__in=())


def query_of(text: str, columns: Mapping[str, str]) -> Q:
    """Return the query that a filter means.

    Raises:
        InvalidFilterException: it is none, too long, or asks for what cannot be asked for here.
    """
    if len(text) > LENGTH:
        raise InvalidFilterException(detail=f"A filter has at most {LENGTH} characters.")
    return _Query(columns).visit(ScimFilter(text).ast)


class _Query(FilterVisitor[Q]):
    def __init__(self, columns: Mapping[str, str]) -> None:
        self._columns, self._terms = columns, 0

    def visit_comparison(self, node: Comparison) -> Q:
        return self._compared(self._column(node.attr_path), node)

    def visit_present(self, node: Present) -> Q:
        column = self._column(node.attr_path)
        if column in {"pk", "is_active"}:
            return ~NOTHING
        return Q(**{f"{column}__isnull": False}) if column in IDS else ~Q(**{column: ""})

    def visit_not(self, node: Not) -> Q:
        return ~self.visit(node.expr)

    def visit_logical_expr(self, node: LogicalExpr) -> Q:
        found = [self.visit(term) for term in node.terms]
        whole = found[0]
        for one in found[1:]:
            whole = whole & one if node.op == LogicalOperator.and_ else whole | one
        return whole

    def visit_value_path(self, node: ValuePath) -> Q:
        """Take `emails[type eq "work" and value eq "…"]`: we keep one address, whatever its type."""
        column = self._column(node.attr_path)
        return self._inner(column, node.val_filter)

    def _inner(self, column: str, node: FilterNode) -> Q:
        match node:
            case LogicalExpr(op=LogicalOperator.and_):
                whole = ~NOTHING
                for term in node.terms:
                    whole = whole & self._inner(column, term)
                return whole
            case Comparison(attr_path=AttrPath(attr=attr)) if attr.lower() == "value":
                return self._compared(column, node)
            case Comparison(attr_path=AttrPath(attr=attr), op=CompareOperator.eq) if attr.lower() in {
                "type",
                "primary",
            }:
                return ~NOTHING
        raise InvalidFilterException(detail="In brackets only value, type and primary can be asked for.")

    def _column(self, path: AttrPath) -> str:
        self._terms += 1
        if self._terms > TERMS:
            raise InvalidFilterException(detail=f"A filter has at most {TERMS} comparisons.")
        name = f"{path.attr}.{path.sub_attr}" if path.sub_attr else path.attr
        column = self._columns.get(name.lower())
        if column is None:
            raise InvalidFilterException(detail=f"Nobody can ask for {name[:60]} here.")
        return column

    def _compared(self, column: str, node: Comparison) -> Q:
        if node.op == CompareOperator.ne:
            return ~self._equals(column, CompareOperator.eq, node.value)
        return self._equals(column, node.op, node.value)

    def _equals(self, column: str, op: CompareOperator, value: object) -> Q:
        if column == "is_active":
            if op != CompareOperator.eq or str(value).lower() not in {"true", "false"}:
                raise InvalidFilterException(detail="active is compared by eq with true or false.")
            return Q(is_active=str(value).lower() == "true")
        if not isinstance(value, str) or not storable.is_text(value):
            raise InvalidFilterException(detail="This is compared with a text.")
        if column in IDS:
            if op != CompareOperator.eq:
                raise InvalidFilterException(detail="An id is compared by eq or ne.")
            try:
                return Q(**{column: uuid.UUID(value)})
            except ValueError:
                return NOTHING
        if op not in TEXT:
            raise InvalidFilterException(detail="A text is compared by eq, ne, sw, ew or co.")
        if column in LOWER:
            return Q(**{f"{column}{TEXT[op]}": value.lower()})
        if column == "display_name":
            return Q(**{f"{column}__i{TEXT[op].removeprefix('__') or 'exact'}": value})
        return Q(**{f"{column}{TEXT[op]}": value})
