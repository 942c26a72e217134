"""When a stopped key is in service again, and when it is asked next: decisions about times alone, no rows and no clock.

AWS learns of a changed policy node by node, for minutes. So after a repair a refusal may come late, and after a
revocation a yes may: two good answers right after each other could both be stale.
A key's own state and a button of ours do not spread like that.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

APART = timedelta(seconds=2)  # what a person or a request asks for goes out at most that often, for one registration
STEP = timedelta(seconds=5)  # within a span of good answers: a refusal that comes between is seen
# after a person asked, a stopped key is asked every few seconds: their repair may still be on its way
ASK_ON = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long answers have to be good.

    Args:
        apart: between two good answers, where no stale one is to be feared.
        span: what good answers have to span, with none refused between, where one is.
        window: for so long after its first refusal a policy may still be known differently here and there.
    """

    apart: timedelta
    span: timedelta
    window: timedelta

    def needed(self, at: datetime, denied_since: datetime | None) -> timedelta:
        """Return what good answers have to span now.

        Args:
            at: when AWS answered.
            denied_since: the first of the last refusals that a policy decided; None: there was none.
        """
        return self.apart if denied_since is None or at - denied_since >= self.window else self.span


@dataclass(frozen=True, slots=True)
class Step:
    """What follows from a good answer: the key serves again, or it is asked once more after a while."""

    is_back: bool
    ask_in: timedelta = timedelta(0)


def after_good_answer(at: datetime, *, good_since: datetime | None, denied_since: datetime | None, pace: Pace) -> Step:
    """Decide whether a good answer puts a stopped key in service again; never the first one.

    Args:
        at: when AWS gave it.
        good_since: when it gave the first one since its last refusal or silence; None: this is the first.
        denied_since: as in `Pace.needed`.
    """
    needed = pace.needed(at, denied_since)
    if good_since is None:
        return Step(False, min(needed, STEP))
    passed = at - good_since
    return Step(True) if passed >= needed else Step(False, min(needed - passed, STEP))


def may_ask_at(now: datetime, *, asked_at: datetime | None, under_way_since: datetime | None) -> datetime:
    """Return when a probe that somebody asks for now goes out:
    at once, unless one was asked for a moment ago or is under way."""
    return max([now, *(at + APART for at in (asked_at, under_way_since) if at is not None)])
