"""The project as a Django app: it loads the Celery app and the system checks."""

from django.apps import AppConfig
from django.utils.translation import get_language, gettext, ngettext


class ProjectConfig(AppConfig):
    name = "byokportal"

    def ready(self) -> None:
        # In `ready`, not in the package's `__init__`: the local AWS imports the package without Django.
        from byokportal import catalogs, celery, checks, translation  # noqa: F401

        translation.set_look_up(gettext, ngettext)
        translation.set_languages(get_language, catalogs.sentences)
