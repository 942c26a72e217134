"""No key without a row: commits the `KeyUse` row of a request before its answer leaves (design.md 8).

One INSERT and commit for each request would cost more than all the rest of it, because the disk is waited for
each time. So the rows of concurrent requests of a process share a commit, and each request waits for its own row. What
waits is an event loop, not a thread for each request: waking a thread of Python's costs ten times what the row does.
Alone, a request waits for one commit, as it would without all this.

What a caller is told is always safe: an answer means a committed row. A failure may leave a row without an
answer (the commit came through, the news of it did not), never an answer without a row. A statement is never sent twice
unless the database has refused the first, so no row is doubled.

`recording` is what the rest of the code calls, `writer` gathers rows and commits them, `links` are the ways to the two
databases. What runs in a thread and cannot be on the loop commits its row by itself.
"""

from __future__ import annotations

from keys.datakeys.ledger.links import Use, require_settings
from keys.datakeys.ledger.recording import close, commit, record, use

__all__ = ["Use", "close", "commit", "record", "require_settings", "use"]
