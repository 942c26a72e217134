"""Views of the fleet that one of our people keeps under a name, for themselves or for all of us."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db.models import Q
from django.http import QueryDict

from byokportal.errors import InvalidInput
from support.fleet import search
from support.fleet.filters import Filters
from support.models import SavedView

AT_MOST = 20
# of one's own and shared ones
SHOWN = 60
LONGEST = 60


def of(user: User) -> list[SavedView]:
    """Return a person's views, and those that others share, each with its person."""
    views = SavedView.objects.filter(Q(user=user) | Q(is_shared=True)).select_related("user")
    return list(views.order_by("name", "pk")[:SHOWN])


def save(user: User, *, name: str, query: str, is_shared: bool = False) -> SavedView:
    """Keep filters under a name; the same name replaces what it meant.

    Args:
        query: the end of an address; only filters that there are are kept.
        is_shared: the others of our people see it; only its person changes it.

    Raises:
        InvalidInput: no name, no filter, or too many views.
    """
    name, kept = search.clean(name)[:LONGEST], Filters.of(QueryDict(query[:2_000]).dict()).query[:500]
    if not name:
        raise InvalidInput(errors={"name": ["Give the view a name."]})
    if not kept:
        raise InvalidInput(errors={"name": ["Choose a filter first: a view without one is the whole fleet."]})
    others = SavedView.objects.filter(user=user).exclude(name=name)
    if others.count() >= AT_MOST:
        raise InvalidInput(errors={"name": [f"You keep {AT_MOST} views already. Remove one first."]})
    view = SavedView(user=user, name=name, query=kept, is_shared=is_shared)
    SavedView.objects.bulk_create(
        [view], update_conflicts=True, unique_fields=["user", "name"], update_fields=["query", "is_shared"]
    )
    return SavedView.objects.get(user=user, name=name)


def remove(user: User, *, pk: int) -> None:
    """Forget a view; one that is not this person's is not there, and nothing happens."""
    SavedView.objects.filter(user=user, pk=pk).delete()
