"""What the local AWS refuses with: AWS's code, its words and its HTTP status."""

from __future__ import annotations


class AwsError(Exception):
    """An answer of AWS that is an error."""

    def __init__(self, code: str, message: str = "", *, status: int = 400) -> None:
        self.code, self.message, self.status = code, message, status
        super().__init__(f"{code}: {message}")
