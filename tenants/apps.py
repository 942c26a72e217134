"""The Django app `tenants`."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    name = "tenants"

    def ready(self) -> None:
        from allauth.account.signals import authentication_step_completed, password_reset
        from django.contrib.auth.signals import user_logged_in

        from tenants import accounts, fresh, idle

        authentication_step_completed.connect(fresh.note, dispatch_uid="tenants.fresh")
        password_reset.connect(accounts.prove, dispatch_uid="tenants.accounts")
        user_logged_in.connect(idle.begin, dispatch_uid="tenants.idle")
