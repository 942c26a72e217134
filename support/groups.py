"""The groups of the back office, made from the table in `tenants.roles` after each `manage.py migrate`.

Whatever an older version, a migration or a shell has left, each group holds exactly its permissions of the table
then, and no other group and no person on their own holds a permission by which staff may do an operation.
"""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.apps.registry import Apps
from django.apps.registry import apps as installed_apps

from tenants import roles


def permissions_of(group: str) -> set[str]:
    """Return what a group holds by the table, as `has_perm` takes it."""
    views = {f"{app}.view_{model}" for app, model in (one.split(".") for one in roles.VIEWED)}
    return views | {one.name for one in roles.STAFF_PERMISSIONS if group in one.groups}


def make(sender: AppConfig, *, using: str, apps: Apps = installed_apps, **_: Any) -> None:
    """Make the groups; Django sends `post_migrate` for `support`, the last app, when the permissions of all apps exist.

    `flush` sends it too, without `apps`. A database that is migrated to an older state lacks some models,
    and so their permissions: the groups get what there is.
    """
    try:
        group, permission, user = (apps.get_model("auth", name) for name in ("Group", "Permission", "User"))
    except LookupError:
        return
    rows = permission.objects.using(using).values_list("content_type__app_label", "codename", "pk")
    known = {f"{app}.{codename}": pk for app, codename, pk in rows}
    for name in roles.GROUPS:
        made, _created = group.objects.using(using).get_or_create(name=name)
        made.permissions.set(known[one] for one in permissions_of(name) if one in known)
    operations = [known[one.name] for one in roles.STAFF_PERMISSIONS if one.name in known]
    held = group.permissions.through.objects.using(using).filter(permission__in=operations)
    held.exclude(group__name__in=roles.GROUPS).delete()
    user.user_permissions.through.objects.using(using).filter(permission__in=operations).delete()
