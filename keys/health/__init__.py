"""Is the key still ours to use? Probes, whose doing a refusal is, and what follows from it (design.md 3 and 8)."""

from __future__ import annotations

from keys.health.again import ask as ask_again
from keys.health.again import ask_many
from keys.health.blame import close_what_is_over as close_incidents
from keys.health.canaries import look as ask_canaries
from keys.health.judging import denied, unreachable
from keys.health.measuring import follow_all as follow_drills
from keys.health.sweeping import CHUNK, probe, sweep

__all__ = [
    "CHUNK",
    "ask_again",
    "ask_canaries",
    "ask_many",
    "close_incidents",
    "denied",
    "follow_drills",
    "probe",
    "sweep",
    "unreachable",
]
