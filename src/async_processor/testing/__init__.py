"""For testing what uses the library, and the library itself: virtual time, seeded schedules, lanes without threads.

Needs nothing but the standard library. See ``docs/modules/testing.md``.
"""

from .clock import VirtualClock
from .idle import run_until_idle
from .inline_lane import InlineLane
from .loop import DeadlockError, LivelockError, SimulationError, UnhandledError, VirtualTimeLoop, run_virtual
from .recording import Recorded, RecordingObserver
from .scripted_lane import ScriptedLane
from .virtual_processor import inline_lanes, virtual_processor

__all__ = [
    "DeadlockError",
    "InlineLane",
    "LivelockError",
    "Recorded",
    "RecordingObserver",
    "ScriptedLane",
    "SimulationError",
    "UnhandledError",
    "VirtualClock",
    "VirtualTimeLoop",
    "inline_lanes",
    "run_until_idle",
    "run_virtual",
    "virtual_processor",
]
