"""What a key costs in the customer's AWS account, from real use, and what it would cost at another latency; pure.

Prices are AWS's list prices, https://aws.amazon.com/kms/pricing/, read in November 2026: $1 a month for a key, $0.03
for 10,000 calls with a symmetric key; each rotation by AWS adds $1 a month, up to twice. The account that makes a call
pays it (note 2 there), and ours are made by the customer's role. The free calls of an account are not taken off: other
things of the customer use them too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

SOURCE = "https://aws.amazon.com/kms/pricing/"
AS_OF = date(2026, 11, 28)
PER_10_000_CALLS = Decimal("0.03")  # dollars
KEY_A_MONTH = Decimal("1.00")  # dollars
MONTH = 30 * 86_400  # seconds
CALLS_A_PROBE = 2  # DescribeKey and Decrypt
LATENCIES = (0, 60, 300, 900)  # seconds


@dataclass(frozen=True, slots=True)
class Seen:
    """What was counted.

    Args:
        unwraps: branch keys that KMS unwrapped for us (`BranchKeyLoad`) in `unwraps_seconds`.
        processes: of ours that asked for them.
        requests: for data keys in `requests_seconds`.
    """

    unwraps: int
    unwraps_seconds: float
    processes: int
    requests: int
    requests_seconds: float


@dataclass(frozen=True, slots=True)
class Cost:
    """A month of 30 days at one latency, in dollars without the price of the key."""

    latency: int
    calls: int
    dollars: Decimal
    is_yours: bool


def of(seen: Seen, *, latency: int, probe_seconds: float) -> list[Cost]:
    """Return the cost at the latency that holds and at others, the shortest first; others only once there was use."""
    unwraps = seen.unwraps * MONTH / seen.unwraps_seconds
    requests = seen.requests * MONTH / seen.requests_seconds
    probes = MONTH / probe_seconds * CALLS_A_PROBE
    found = []
    for other in sorted({latency, *(LATENCIES if requests and unwraps else ())}):
        if other == latency:
            calls = unwraps
        elif other == 0:  # every request asks the key
            calls = requests
        else:
            model = _unwraps(requests, seen.processes, other)
            now = _unwraps(requests, seen.processes, latency)
            calls = min(model * unwraps / now, requests)
        found.append(_cost(other, round(calls + probes), other == latency))
    return found


def _unwraps(requests: float, processes: int, latency: int) -> float:
    """Return how often a month so many processes unwrap, if requests come evenly: once a latency, and then at the next
    request."""
    return MONTH / (latency / max(processes, 1) + MONTH / requests)


def _cost(latency: int, calls: int, is_yours: bool) -> Cost:
    dollars = (PER_10_000_CALLS * calls / 10_000).quantize(Decimal("0.01"))
    return Cost(latency, calls, dollars, is_yours)
