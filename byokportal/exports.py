"""Rows as a file, JSON Lines or CSV: read and sent in bounded pieces, with a last line that says whether it is all.

Once the first piece is sent the status is 200, whatever happens later. So the file itself says how it ended, and a file
without that line was cut off. docs/log.md describes both formats.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeAlias

import structlog
from celery.exceptions import SoftTimeLimitExceeded
from django.http import StreamingHttpResponse

from byokportal import database, deadline, keyset, problems
from byokportal.errors import MovedToArchive
from byokportal.keyset import Fits, Position, Rows

log = structlog.get_logger(__name__)

BATCH = 500  # rows that are in memory at a time, and in one query
AT_MOST = 200_000  # rows in one file; the last line says where the next one begins …
LOOKED_AT = 1_000_000  # … and rows that are looked at for it
BUG = "bug"  # the code of what nobody expected, as `byokportal.problems.bug` has it

# What a spreadsheet takes for the beginning of a formula, also in the widths of East Asia; and what it may take for the
# end of the cell before, because which character separates cells is a setting of the reader's.
FORMULA = re.compile(r"(^|[;,|])([\s\"']*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Ending:
    """How a file ends.

    Attributes:
        is_complete: every row that was asked for is in it.
        count: rows in it.
        next: the cursor from which another file goes on; empty in a complete one.
        code: what went wrong, as in docs/problems.md; empty where nothing did.
    """

    is_complete: bool
    count: int
    next: str = ""
    code: str = ""


Facts: TypeAlias = Mapping[str, Any]
Shape: TypeAlias = Callable[[Sequence[Any]], Sequence[Facts]]
Piece: TypeAlias = tuple[Sequence[Facts], Position | None]


class Format(Protocol):
    """A notation of rows."""

    media_type: str
    extension: str

    def head(self, columns: Sequence[str]) -> str: ...
    def row(self, facts: Facts) -> str: ...
    def end(self, ending: Ending, columns: Sequence[str]) -> str: ...


class JsonLines:
    """One JSON object a line."""

    media_type, extension = "application/x-ndjson", "jsonl"

    def head(self, columns: Sequence[str]) -> str:
        return ""

    def row(self, facts: Facts) -> str:
        return json.dumps(facts) + "\n"

    def end(self, ending: Ending, columns: Sequence[str]) -> str:
        said: dict[str, Any] = {"complete": ending.is_complete, "count": ending.count}
        said |= {"next": ending.next} if ending.next else {}
        said |= {"code": ending.code} if ending.code else {}
        return json.dumps(said) + "\n"


class Csv:
    """RFC 4180, for spreadsheets: no cell is read as a formula, and each row is one line."""

    media_type, extension = "text/csv; charset=utf-8", "csv"

    def head(self, columns: Sequence[str]) -> str:
        return "\ufeff" + _line(columns)  # without the mark spreadsheets read it in another encoding

    def row(self, facts: Facts) -> str:
        return _line(list(facts.values()))

    def end(self, ending: Ending, columns: Sequence[str]) -> str:
        said = ["#complete" if ending.is_complete else "#incomplete", ending.count, ending.next, ending.code]
        return _line([*said, *[""] * (len(columns) - len(said))])


FORMATS: dict[str, Format] = {"jsonl": JsonLines(), "csv": Csv()}


def cell(value: object) -> str:
    """Return a value as a cell of a spreadsheet: where it could be read as a formula, an apostrophe stands before."""
    text = "" if value is None else json.dumps(value) if isinstance(value, dict | list) else str(value)
    return FORMULA.sub(r"\1'\2", CONTROL.sub(" ", text))


def _line(values: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow([cell(value) for value in values])
    return text.getvalue()


@dataclass(frozen=True, slots=True)
class Source:
    """What a file is made of.

    Attributes:
        rows, fits: see `byokportal.keyset.page`.
        columns: names, in the order of the facts.
        shapes: by extension, what makes facts of a batch of rows.
        name: of the file, without its extension.
        begins: what a file in JSON Lines has before its first row, where it begins with that.
        archived_until: the time before which rows have left for the archive; None: none have.
    """

    rows: Rows
    fits: Fits | None
    columns: Sequence[str]
    shapes: Mapping[str, Shape]
    name: str
    begins: Callable[[], Sequence[Facts]] = tuple
    archived_until: Callable[[], datetime | None] = lambda: None


def answer(source: Source, cursor: str, *, extension: str) -> StreamingHttpResponse:
    """Return rows as a file, oldest first.

    Args:
        cursor: `next` of a file before; empty: from the beginning.
        extension: of `FORMATS`.

    Raises:
        InvalidInput: the cursor is none of ours.
        MovedToArchive: rows behind the cursor are in the archive by now.
        DatabaseError: the first piece could not be read; what fails later is said in the file.
    """
    notation = FORMATS[extension]
    pieces = _pieces(source, extension, Position.parse(cursor))
    first = next(pieces)  # what fails here is an answer of its own, with its status
    headers = {
        "Content-Disposition": f'attachment; filename="{source.name}.{notation.extension}"',
        "Cache-Control": "no-store",
    }
    texts = _texts(itertools.chain([first], pieces), notation, source.columns)
    return StreamingHttpResponse(texts, content_type=notation.media_type, headers=headers)


def texts(source: Source, cursor: str, *, extension: str) -> Iterator[str]:
    """Yield the same file piece by piece, for whoever writes it down; its last line says how it ended.

    Args:
        cursor, extension: as `answer`.
    """
    pieces = _pieces(source, extension, Position.parse(cursor))
    return _texts(pieces, FORMATS[extension], source.columns)


def _pieces(source: Source, extension: str, place: Position | None) -> Iterator[Piece]:
    """Yield facts of rows, and the position behind them; None behind the last ones."""
    reached = place.at if place else source.archived_until()
    begins = source.begins() if extension == "jsonl" and place is None else ()
    if place is None and reached is not None:  # what is older may still be there for a while, and leave any moment
        place = Position(reached - timedelta(microseconds=1), keyset.LARGEST)
    while True:
        with deadline.at_most(database.SECONDS):  # the request's own ends when the first piece is sent
            read = keyset.after(source.rows, place, limit=BATCH)
            _require_here(source, reached)
            facts = source.shapes[extension]([row for row in read if source.fits is None or source.fits(row)])
        place = keyset.position(read[-1]) if len(read) == BATCH else None
        yield [*begins, *facts], place
        begins = ()
        if place is None:
            return
        reached = place.at


def _require_here(source: Source, reached: datetime | None) -> None:
    """See that every row behind a time was still there to be read; asked after the reading.

    Args:
        reached: what is older is not wanted any more; None: everything is.

    Raises:
        MovedToArchive: some had left.
    """
    until = source.archived_until()
    if until is not None and (reached is None or reached < until):
        raise MovedToArchive(until=until.isoformat(timespec="seconds"))


def _texts(pieces: Iterator[Piece], notation: Format, columns: Sequence[str]) -> Iterator[str]:
    count, read, sent_to = 0, 0, None
    yield notation.head(columns)
    try:
        for facts, place in pieces:
            yield "".join(map(notation.row, facts))
            count, read, sent_to = count + len(facts), read + BATCH, place
            if place is not None and (count >= AT_MOST or read >= LOOKED_AT):
                yield notation.end(Ending(False, count, str(place)), columns)
                return
    except SoftTimeLimitExceeded:  # of who writes it down: it is no piece of the file
        raise
    except MovedToArchive as error:  # it cannot go on: a cursor would leave out what has left
        yield notation.end(Ending(False, count, code=error.code), columns)
        return
    except Exception as error:  # the status has been sent: the last line has to say it, whatever it was
        known = problems.of_database(error)
        if known is None:
            log.exception("an export broke off")
        yield notation.end(Ending(False, count, str(sent_to or ""), known.code if known else BUG), columns)
        return
    yield notation.end(Ending(True, count), columns)
