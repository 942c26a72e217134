"""Style sheets and scripts under names that tell their content;
where nobody has collected them, under their own names."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage  # type: ignore[import-untyped]


class Storage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # it has no types
    """A file that the manifest does not name keeps its name: a page without a style sheet is better than no page."""

    def stored_name(self, name: str) -> str:
        try:
            found: str = super().stored_name(name)
        except ValueError:
            return name
        return found
