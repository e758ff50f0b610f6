"""How many CPUs there are, which instruction sets they have, and whether a bundle was checked for such."""

from __future__ import annotations

import os
from collections.abc import Iterable

# What matters for quantized models, as Linux names it.
_X86 = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "fma", "f16c")
_ARM = ("asimd", "asimddp", "i8mm", "sve", "bf16")
_RELEVANT = frozenset((*_X86, *_ARM))

# Feature, the manifest's name for the integer kernels that onnxruntime takes where it is there, and how those
# add: best kernels first. AVX2 and AVX-512 add two products of 8-bit numbers in 16 bits, which can overflow;
# VNNI and AMX, and Arm's, add in 32, which cannot. Kernels that add alike give the same integers.
_KERNELS = (
    ("amx_int8", "amx_int8", "x86: 32 bits"),
    ("avx512_vnni", "avx512_vnni", "x86: 32 bits"),
    ("avx_vnni", "avx_vnni", "x86: 32 bits"),
    ("avx512f", "avx512", "x86: 16 bits"),
    ("avx2", "avx2", "x86: 16 bits"),
    ("i8mm", "i8mm", "arm"),
    ("asimddp", "dotprod", "arm"),
    ("asimd", "neon", "arm"),
)
_ARITHMETIC = {name: arithmetic for _, name, arithmetic in _KERNELS}
# Of a graph without integer products: the same on every CPU.
GENERIC = "generic"


def available_cpus() -> int:
    """CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_features() -> list[str]:
    """Returns this CPU's instruction sets that matter for quantized models, sorted.

    There are none where they cannot be read.
    """
    try:
        # Read up to the first CPU's line: the kernel writes one such block a CPU.
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as stream:
            for line in stream:
                if line.startswith(("flags", "Features")):
                    return sorted(_RELEVANT.intersection(line.partition(":")[2].split()))
    except OSError:
        pass
    return []


def integer_kernel(features: Iterable[str]) -> str | None:
    """Returns the manifest's name for the kernels that a CPU with these features runs.

    It is None where the CPU has none of the features.
    """
    found = set(features)
    return next((name for feature, name, _ in _KERNELS if feature in found), None)


def adds_alike(one: str, other: str) -> bool:
    """Whether the kernels of two instruction sets (the manifest's names) give the same integers."""
    return one == other or (one in _ARITHMETIC and _ARITHMETIC[one] == _ARITHMETIC.get(other))


def is_checked(instruction_sets: Iterable[str], features: Iterable[str]) -> bool:
    """Whether a bundle with the manifest's ``instruction_sets`` was checked for a CPU with these features.

    True where the features could not be read: there is nothing to tell.
    """
    known = tuple(instruction_sets)
    features = tuple(features)
    if GENERIC in known or not features:
        return True
    kernel = integer_kernel(features)
    return kernel is not None and any(adds_alike(kernel, one) for one in known)
