"""The Django app `tenants`."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    name = "tenants"

    def ready(self) -> None:
        from allauth.account.signals import authentication_step_completed

        from tenants import fresh

        authentication_step_completed.connect(fresh.note, dispatch_uid="tenants.fresh")
