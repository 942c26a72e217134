"""The Django app `support`."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class SupportConfig(AppConfig):
    name = "support"

    def ready(self) -> None:
        from support import groups

        post_migrate.connect(groups.make, sender=self, dispatch_uid="support.groups")
