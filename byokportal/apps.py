"""The project as a Django app: it loads the Celery app and the system checks."""

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "byokportal"

    def ready(self) -> None:
        # In `ready`, not in the package's `__init__`: the local AWS imports the package without Django.
        from byokportal import celery, checks  # noqa: F401
