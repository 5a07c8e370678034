"""loky: the standard library's process pool, made robust."""

from __future__ import annotations

import functools

from loky import ProcessPoolExecutor

from benchmarks.standard_library import Pool
from benchmarks.system import Adapters

NAME = "loky"
PACKAGE = "loky"
ABOUT = "a pool of processes that outlives crashes of its workers; no order, no timeouts that end a call, nothing kept"

_processes = functools.partial(Pool, functools.partial(ProcessPoolExecutor, 2))

ADAPTERS: Adapters = dict.fromkeys(("W2b", "W3/p", "W7", "W9"), _processes)
