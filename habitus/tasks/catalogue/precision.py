"""Whether bf16 products are fast here.

oneDNN multiplies bf16 on any CPU with AVX-512 and says so (`torch.ops.mkldnn._is_mkldnn_bf16_supported()` is True),
but without instructions for it the product took 3-10 times as long as fp32 (measured on a Cascade Lake). So we ask
the CPU and not the library.
"""

from __future__ import annotations

import platform

import torch

_X86 = ("avx512_bf16", "amx_bf16")
_ARM = ("bf16", "sve_bf16")


def has_fast_bf16() -> bool:
    """Return whether this CPU has instructions that multiply bf16 (AVX512-BF16, AMX-BF16 or those of Arm).

    >>> has_fast_bf16() in (True, False)
    True
    """
    if hasattr(torch.cpu, "get_capabilities"):  # not in the oldest torch we allow
        found = torch.cpu.get_capabilities()
        # By architecture: an x86 name must not be answered by an Arm one.
        return any(found.get(name, False) for name in (_ARM if found.get("architecture") != "x86_64" else _X86))
    if platform.machine().lower() in ("x86_64", "amd64"):
        return bool(torch.cpu._is_avx512_bf16_supported())
    return False
