"""Secrets in a text that somebody pasted: found and taken out, so that it can be shown; pure."""

from __future__ import annotations

import re

from keys import arns

REMOVED = "[removed]"
PATTERNS = (
    (
        re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL),
        "a private key",
    ),
    (
        re.compile(
            r"(?:secret_?access_?key|session_?token|security-?token|password|passwd|authorization|signature"
            r"|client_secret|api_?key)"
            r"[\"']?\s{0,3}(?:[:=]|=>)\s{0,3}[\"']?(?:(?:bearer|basic|aws4-hmac-sha256)\s{1,3})?[^\s\"',;]{4,}",
            re.IGNORECASE,
        ),
        "a secret with its name",
    ),
    (re.compile(r"\bbearer\s{1,3}[A-Za-z0-9._~+/-]{16,}=*", re.IGNORECASE), "a bearer token"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"), "an identity token"),
    (re.compile(r"\b(?:byok-|byok_[a-z]{2}_)[A-Za-z0-9_-]{43}"), "a token of ours"),
    *arns.SECRETS,
    (re.compile(r"[A-Za-z0-9+/_=-]{100,}"), "what looks like a session token"),
)


def removed(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the text without what looks like a secret, and what was found."""
    found = []
    for pattern, what in PATTERNS:
        text, count = pattern.subn(REMOVED, text)
        if count:
            found.append(what)
    return text, tuple(dict.fromkeys(found))
