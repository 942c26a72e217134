"""Whether what somebody else wrote can be kept and shown: no database takes NUL, and no encoder half a surrogate pair.

A text that came as UTF-8 has neither; the escapes of JSON bring both in.
"""

from __future__ import annotations

import re
from typing import Any

NO_TEXT = re.compile("[\x00\ud800-\udfff]")


def is_text(text: str) -> bool:
    """Tell whether a text is one for databases and encoders too."""
    return NO_TEXT.search(text) is None


def is_whole(value: Any) -> bool:
    """Tell whether every text of a parsed JSON value is one, the names of its members too; however deep it is."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            if not is_text(one):
                return False
        elif isinstance(one, dict):
            left += [*one, *one.values()]
        elif isinstance(one, list):
            left += one
    return True
