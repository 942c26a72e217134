"""The evidence of `keys.services.evidence` as a PDF for people; pure: the same evidence gives the same document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

INK, QUIET, LINE, SHADE = HexColor("#1d2430"), HexColor("#5a6472"), HexColor("#d5dae1"), HexColor("#f3f5f8")
MARGIN = 18 * mm
TEXT = ParagraphStyle("text", fontName="Helvetica", fontSize=9, leading=12.5, textColor=INK)
SMALL = ParagraphStyle("small", parent=TEXT, fontSize=7.5, leading=10)
HEAD = ParagraphStyle("head", parent=SMALL, fontName="Helvetica-Bold", textColor=QUIET)
TITLE = ParagraphStyle("title", parent=TEXT, fontName="Helvetica-Bold", fontSize=18, leading=23, spaceAfter=3 * mm)
SECTION = ParagraphStyle(
    "section", parent=TEXT, fontName="Helvetica-Bold", fontSize=12.5, leading=16, spaceBefore=7 * mm, spaceAfter=2 * mm
)
NOTE = ParagraphStyle("note", parent=TEXT, textColor=QUIET, spaceAfter=2 * mm)
LONGEST = 400  # characters of a cell
PADDING = 2  # points left and right of what is in a cell
Rows = Sequence[Sequence[object]]


def render(evidence: dict[str, Any]) -> bytes:
    """Return the document.

    Args:
        evidence: what `keys.services.evidence.evidence` returned.
    """
    target = BytesIO()
    name, digest = str(evidence["organisation"]["name"]), str(evidence["sha256"])
    document = SimpleDocTemplate(
        target,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN + 6 * mm,
        title=f"Evidence for {name[:100]}",
        author="Kore.ai",
        invariant=True,
    )
    document.build(_story(evidence), onFirstPage=_footer(digest), onLaterPages=_footer(digest))
    return target.getvalue()


def _footer(digest: str) -> Any:
    def draw(canvas: Canvas, document: Any) -> None:
        canvas.saveState()
        canvas.setFont("Helvetica", 7)
        canvas.setFillColor(QUIET)
        canvas.drawString(MARGIN, 12 * mm, f"SHA-256 of the evidence as JSON: {digest}")
        canvas.drawRightString(A4[0] - MARGIN, 12 * mm, f"Page {document.page}")
        canvas.restoreState()

    return draw


def _story(it: dict[str, Any]) -> list[Flowable]:
    period, ours = it["period"], it["our_side"]
    rows: Rows
    story: list[Flowable] = [
        Paragraph(_text(f"Evidence for {it['organisation']['name']}"), TITLE),
        Paragraph(
            _text(
                "How this organisation's data was encrypted under its own key, "
                f"from {period['since']} to {period['until']} (UTC, both days included). "
                f"Made {_when(it['made_at'])} by {it['made_by']}. "
                "The same as JSON, from the same page, is what a program reads; "
                "the digest at the foot of each page is of that JSON."
            ),
            TEXT,
        ),
        Spacer(1, 3 * mm),
        _facts(
            [
                ("Organisation", it["organisation"]["id"]),
                ("Our service role", ours["service_role_arn"]),
                ("Our AWS account", ours["aws_account_id"]),
                ("Revocation latency", f"{ours['revocation_latency_seconds']} seconds"),
            ]
        ),
    ]
    story += _section(
        "Keys and roles", "Each CMK and role that the organisation offered, with each change of its state."
    )
    for one in it["registrations"]["items"]:
        story += _registration(one)
    story += _end(it["registrations"], "No key was offered.")
    story += _section(
        "Encryption tests",
        "Each test asks AWS for real. The refusals prove that the role is closed to others: without the External ID, "
        "with another one, and under another encryption context AWS has to say no.",
    )
    for one in it["tests"]["items"]:
        story += _test(one)
    story += _end(it["tests"], "No test ended in this period.")
    story += _section(
        "Revocation drills", "The organisation took its key back in AWS, and we measured when we stopped."
    )
    rows = [
        (_when(one["began_at"]), one["status"], one["stopped_after_seconds"] or "-", one["has_to_stop_within_seconds"],
         _when(one["served_again_at"]), one["began_by"])
        for one in it["drills"]["items"]
    ]  # fmt: skip
    heads = ("Began", "Result", "Stopped after, s", "Allowed, s", "Served again", "By")
    story += _table(heads, rows, (30, 26, 26, 20, 30, 42)) + _end(it["drills"], "No drill began in this period.")
    story += _section("Times without service", "When the key did not serve, and whose doing that was.")
    rows = [
        (_when(one["began_at"]), _when(one["ended_at"]), one["whose"], one["reason"], one["by"], one["resumed_by"])
        for one in it["outages"]["items"]
    ]
    heads = ("From", "Until", "Whose doing", "Reason", "Stopped by", "Resumed by")
    story += _table(heads, rows, (28, 28, 20, 28, 35, 35)) + _end(it["outages"], "The key served all the time.")
    story += _section(
        "Data keys", "What each service got, opened and moved, with one row of the log of uses for each request."
    )
    rows = [
        (one["service"], one["operation"], f"{one['requests']:,}", f"{one['data_keys']:,}")
        for one in it["uses"]["items"]
    ]
    story += _table(("Service", "Operation", "Requests", "Data keys"), rows, (74, 36, 32, 32))
    story += _end(it["uses"], "No data key was used.")
    story += _section(
        "Who did what", "Lines of the organisation's log, counted by person or system. The log has each one."
    )
    rows = [(one["by"], one["what"], f"{one['times']:,}") for one in it["who_did_what"]["items"]]
    story += _table(("By", "What", "Times"), rows, (80, 74, 20)) + _end(it["who_did_what"], "Nothing happened.")
    return story + _log(it["log"])


def _log(log: dict[str, Any]) -> list[Flowable]:
    story = _section("The seal of the log", log["how_to_check"])
    head = log["head"]
    if head is not None:
        facts = [
            ("Signed head", head["number"]),
            ("Signed at", _when(head["at"])),
            ("First line", head["first_line"]),
            ("Lines", head["lines"]),
            ("Root", head["root"]),
        ]
        if log["archived_until"]:
            facts.append(("In our archive", f"lines from before {_when(log['archived_until'])}: ask for the files"))
        story.append(_facts(facts))
    return story


def _registration(one: dict[str, Any]) -> list[Flowable]:
    facts = [
        ("Key", one["key_arn"] or "-"),
        ("Role", one["role_arn"] or "-"),
        ("State", f"{one['status']} since {_when(one['since'])}"),
        ("In service since", _when(one["activated_at"])),
    ]
    rows = [(_when(move["at"]), move["from"], move["to"], move["by"], move["reason"]) for move in one["moves"]]
    table = _table(("At", "From", "To", "By", "Reason"), rows, (30, 24, 24, 46, 50))
    return [_facts(facts), Spacer(1, 1.5 * mm), *table, Spacer(1, 4 * mm)]


def _test(one: dict[str, Any]) -> list[Flowable]:
    said = f"{one['verdict'] or 'none'}: {one['passed']} of {len(one['checks'])} checks passed"
    facts = [("Ended", _when(one["finished_at"])), ("Verdict", said), ("Asked for by", one["asked_for_by"])]
    rows = [
        (". ".join(filter(None, (check["asks"] or check["code"], check["warning"], check["note"]))),
         "refusal" if check["is_refusal"] else "", check["verdict"], check["aws_code"], check["aws_request_id"])
        for check in one["checks"]
    ]  # fmt: skip
    table = _table(("Check", "Proves a", "Verdict", "AWS said", "AWS request id"), rows, (58, 15, 13, 36, 52))
    return [_facts(facts), Spacer(1, 1.5 * mm), *table, Spacer(1, 4 * mm)]


# --- parts ---------------------------------------------------------------------------------------------------------


def _section(title: str, note: str) -> list[Flowable]:
    return [Paragraph(_text(title), SECTION), Paragraph(_text(note), NOTE)]


def _end(part: dict[str, Any], nothing: str) -> list[Flowable]:
    if not part["items"]:
        return [Paragraph(_text(nothing), TEXT)]
    if not part["is_complete"]:
        return [Paragraph("There are more. Choose a shorter period to see them all.", TEXT)]
    return []


def _facts(rows: Iterable[tuple[str, object]]) -> Table:
    cells = [[Paragraph(_text(name), HEAD), Paragraph(_text(value), SMALL)] for name, value in rows]
    table = Table(cells, colWidths=(34 * mm, 140 * mm), hAlign="LEFT")
    table.setStyle(TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), ("BOTTOMPADDING", (0, 0), (-1, -1), 1), *FLUSH]))
    return table


def _table(heads: Sequence[str], rows: Rows, widths: Sequence[int]) -> list[Flowable]:
    """Return a table that goes on over pages with its heads; nothing where there are no rows."""
    if not rows:
        return []
    cells = [[Paragraph(_text(head), HEAD) for head in heads]]
    cells += [[_cell(value, width * mm) for value, width in zip(row, widths, strict=True)] for row in rows]
    table = Table(cells, colWidths=[width * mm for width in widths], repeatRows=1, hAlign="LEFT")
    style = [("LINEBELOW", (0, 0), (-1, -1), 0.4, LINE), ("BACKGROUND", (0, 0), (-1, 0), SHADE)]
    style += [("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), PADDING)]
    style += [("RIGHTPADDING", (0, 0), (-1, -1), PADDING), ("TEXTCOLOR", (0, 0), (-1, -1), INK)]
    style += [("FONT", (0, 0), (-1, -1), SMALL.fontName, SMALL.fontSize, SMALL.leading)]
    table.setStyle(TableStyle(style))
    return [table]


def _cell(value: object, width: float) -> Paragraph | str:
    """Return a cell; what fits in one line needs no paragraph, which takes ten times as long to set."""
    text = _plain(value)
    fits = stringWidth(text, SMALL.fontName, SMALL.fontSize) <= width - 2 * PADDING
    return text if fits else Paragraph(escape(text), SMALL)


FLUSH = [("LEFTPADDING", (0, 0), (-1, -1), 0), ("TOPPADDING", (0, 0), (-1, -1), 1)]


def _text(value: object) -> str:
    """Return a value as a paragraph takes it: without markup."""
    return escape(_plain(value))


def _plain(value: object) -> str:
    """Return a value in one line, cut where it is too long, with no sign that the standard fonts do not have."""
    text = "" if value is None else str(value)
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return "".join(c if c.isprintable() else " " for c in text).encode("cp1252", "replace").decode("cp1252")


def _when(at: str | None) -> str:
    return "-" if at is None else at.replace("T", " ").removesuffix("+00:00")
