"""What people write into the texts of support: bounded, and refused with the reason."""

from __future__ import annotations

from byokportal import secret_texts
from byokportal.errors import InvalidInput
from byokportal.translation import translate as _


def bounded_text(text: str, *, field: str, limit: int, lines: bool) -> str:
    """Return what a person wrote, trimmed; too much, control characters, lone surrogates and secrets are refused.

    Args:
        limit: in characters.
        lines: it may have several; else white space of any kind becomes a blank.

    Raises:
        InvalidInput, SecretPasted: on that field.
    """
    secret_texts.refuse(text, field=field)
    text = text.replace("\r\n", "\n").strip()
    if not lines:
        text = " ".join(text.split())
    if not text:
        raise InvalidInput(errors={field: [_("Write something here.")]})
    if len(text) > limit:
        raise InvalidInput(
            errors={
                field: [
                    _("This has %(count)s characters; %(limit)s fit here.", count=f"{len(text):,}", limit=f"{limit:,}")
                ]
            }
        )
    if any((ord(c) < 32 and c not in "\n\t") or ord(c) == 127 or 0xD800 <= ord(c) <= 0xDFFF for c in text):
        raise InvalidInput(
            errors={field: [_("There is a character in it that no text has. Copy it without that, or type it.")]}
        )
    return text
