"""The system while its parts break, one after another: `make chaos` (CASE=name,… for some; `make soak` plays all).

PostgreSQL, Redis, two web processes, each kind of worker alone and beat run for real, against the local AWS, under a
steady load of data keys, of Suspend, Resume and tests, and of new customers. After each fault all work that waited is
done within a minute, and then the answers are compared with the database, the log and AWS: nothing lost, nothing
twice, no key without its row, no answer a 500. It ends with 0 only if all of that held in every case.

Settings: CHAOS_WITHIN (60) for a machine that is busy otherwise, CHAOS_SECONDS (20) of an outage, CHAOS_AWS_SECONDS
(600) of the AWS errors, CHAOS_ROUNDS (6) of random kills; CHAOS_LOGS names a folder for the logs of the processes.
"""

from __future__ import annotations

import collections
import os
import signal
import sys
import time
import traceback

from tests.soak.chaos.cases import CASES, Case
from tests.soak.chaos.invariants import Recovery, check, wait_for_heads
from tests.soak.chaos.load import Load
from tests.soak.chaos.servers import NotHere
from tests.soak.chaos.system import System, running

HELD, FAILED, SKIPPED = "held", "NOT", "SKIPPED"  # of the last one nothing is known
# Seconds after a fault within which all that waited is done.
RECOVERED = float(os.environ.get("CHAOS_WITHIN", "60"))


def play(case: Case, system: System, load: Load) -> tuple[list[str], float]:
    """Play one case; return what did not hold, and after how many seconds all that waited was done."""
    try:
        case.does(system, load)
    except TimeoutError as error:
        return [f"it did not come to the fault: {error}"], 0.0
    recovery = Recovery(system, load)
    late: list[str] = []
    left = recovery.left()
    while left:
        took = time.monotonic() - recovery.began
        if took > RECOVERED and not late:
            late = [f"not within {RECOVERED:g} s: {one}" for one in left]
        if took > 3 * RECOVERED:
            return [*late, *check(system, load)], took
        system.rest(0.3)
        left = recovery.left()
    took = time.monotonic() - recovery.began
    return [*late, *check(system, load)], took


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers that were started end too
    names = [one for one in os.environ.get("CASE", ",".join(sys.argv[1:])).split(",") if one]
    if unknown := set(names) - {case.name for case in CASES}:
        print(f"There is no case {', '.join(sorted(unknown))}. There are: {', '.join(case.name for case in CASES)}")
        return 2
    cases = [case for case in CASES if not names or case.name in names]
    outcomes: dict[str, list[str]] = {HELD: [], FAILED: [], SKIPPED: []}
    try:
        with running() as (system, run):
            load = Load(system, run)
            load.begin()
            system.rest(15)
            wait_for_heads(system, load)
            for case in cases:
                outcomes[_show(case, system, load)].append(case.name)
            load.end()
            _count(load)
    except FileNotFoundError as missing:
        print(f"== SKIPPED: {missing} was not found on this machine")
        return 1
    print(f"{len(outcomes[HELD])} of {len(cases)} cases held", end="")
    print("".join(f"; {what}: {', '.join(outcomes[what])}" for what in (FAILED, SKIPPED) if outcomes[what]))
    return 0 if len(outcomes[HELD]) == len(cases) else 1


def _show(case: Case, system: System, load: Load) -> str:
    """Play a case and print what came of it; return which of the three it was."""
    before = collections.Counter(load.answered.tries)
    began = time.monotonic()
    try:
        wrong, took = play(case, system, load)
    except NotHere as lacks:
        print(f"{case.name}: SKIPPED, this machine lacks {lacks}", flush=True)
        return SKIPPED
    except Exception as error:  # of the drill; the other cases are played all the same
        traceback.print_exc()
        wrong, took = [f"the drill broke: {type(error).__name__}"], 0.0
    told = ", ".join(f"{n} {what}" for what, n in sorted((load.answered.tries - before).items()))
    print(f"{case.name}: {case.what}; done {took:.1f} s after it ended ({time.monotonic() - began:.0f} s in all)")
    print(f"    {told}", flush=True)
    for sentence in wrong:
        print(f"    NOT: {sentence}", flush=True)
    return FAILED if wrong else HELD


def _count(load: Load) -> None:
    answered = load.answered
    print(
        f"{len(answered.keys):,} answers with a key, {len(answered.operations):,} operations and "
        f"{len(answered.tests):,} tests, {len(answered.submitted)} customers came"
    )
    for what, number in sorted(answered.tries.items()):
        print(f"  {number:7,}  {what}")


if __name__ == "__main__":
    sys.exit(main())
