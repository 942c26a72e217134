"""A file of rows: no cell of it is a formula, whatever separates cells; its last line says how it ended."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

import pytest
from django.db import OperationalError
from hypothesis import given
from hypothesis import strategies as st

from byokportal import exports
from byokportal.exports import Csv, Ending, JsonLines, Piece

BEGINS = tuple("=+-@＝＋－＠\t")
TEXTS = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("=+-@＝;,|\t\r\n\"' ")), max_size=40)


def cells(text: str, separator: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff")), delimiter=separator))


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_no_cell_is_read_as_a_formula(values: list[str]) -> None:
    line = Csv().row({str(number): value for number, value in enumerate(values)})
    (row,) = cells(line, ",")
    assert len(row) == len(values)
    for separator in ",;|":
        for read in cells(line, separator):
            for cell in read:
                assert not cell.strip().startswith(tuple(BEGINS)), (separator, cell)
                assert not cell.strip(" \"'").startswith(tuple(BEGINS)) or cell.strip(' "').startswith("'")


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_a_row_is_one_line(values: list[str]) -> None:
    line = Csv().row({str(number): value for number, value in enumerate(values)})
    assert line.endswith("\r\n")
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ('"=1+1', "'\"=1+1"),
        ("a;=1+1;", "a;'=1+1;"),
        ("\t@SUM(A1)", "' @SUM(A1)"),
        ("-1", "'-1"),
        ("2026-11-28T15:00:00+00:00", "2026-11-28T15:00:00+00:00"),
        ("owner@acme.example", "owner@acme.example"),
        (None, ""),
        (7, "7"),
        ({"a": "=1"}, '{"a": "=1"}'),
    ],
)
def test_a_cell_keeps_what_is_harmless(value: object, shown: str) -> None:
    assert exports.cell(value) == shown


ROWS = [{"id": 1, "what": "a"}, {"id": 2, "what": "b"}]


def pieces(*broken: Exception) -> Iterator[Piece]:
    yield ROWS, None
    for error in broken:
        raise error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OperationalError("server closed the connection unexpectedly"), "database_unavailable"),
        (ZeroDivisionError(), "bug"),
    ],
)
def test_a_failure_in_the_middle_is_said_by_the_last_line(error: Exception, code: str) -> None:
    lines = "".join(exports._texts(pieces(error), JsonLines(), ["id", "what"])).splitlines()
    assert [json.loads(line) for line in lines] == [*ROWS, {"complete": False, "count": 2, "code": code}]
    table = cells("".join(exports._texts(pieces(error), Csv(), ["id", "what"])), ",")
    assert table[-1] == ["#incomplete", "2", "", code]


def test_a_complete_file_says_so() -> None:
    text = "".join(exports._texts(pieces(), Csv(), ["id", "what", "who", "why", "when"]))
    assert text.startswith("\ufeff")
    assert cells(text, ",")[-1] == ["#complete", "2", "", "", ""]
    assert JsonLines().end(Ending(True, 2), []) == '{"complete": true, "count": 2}\n'
