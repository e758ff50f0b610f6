"""Memory that steps of a build leave behind, given back before the next one."""

from __future__ import annotations

import ctypes
import gc


def release_memory() -> None:
    """Frees what is in cycles, and returns what the allocator keeps of it to the system.

    The exporter and the optimizer leave cycles that hold all weights, and the GNU allocator keeps the space
    of weights below 32 MB: gigabytes together, for large models.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
