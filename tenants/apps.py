"""The Django app `tenants`."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    name = "tenants"

    def ready(self) -> None:
        from allauth.account.signals import authentication_step_completed, password_changed, password_reset
        from allauth.mfa.signals import authenticator_added, authenticator_removed, authenticator_reset
        from django.contrib.auth.signals import user_logged_in

        from tenants import accounts, fresh, idle, language, sign_in_changes, sign_on_sessions

        authentication_step_completed.connect(fresh.note, dispatch_uid="tenants.fresh")
        password_reset.connect(accounts.prove, dispatch_uid="tenants.accounts")
        for signal, note in (
            (password_changed, sign_in_changes.password_chosen),
            (password_reset, sign_in_changes.password_chosen),
            (authenticator_added, sign_in_changes.factor_added),
            (authenticator_removed, sign_in_changes.factor_removed),
            (authenticator_reset, sign_in_changes.codes_made_anew),
        ):
            signal.connect(note, dispatch_uid="tenants.sign_in_changes")
        authenticator_added.connect(sign_on_sessions.note_factor, dispatch_uid="tenants.sign_on_sessions")
        user_logged_in.connect(idle.begin, dispatch_uid="tenants.idle")
        user_logged_in.connect(language.bring, dispatch_uid="tenants.language")
