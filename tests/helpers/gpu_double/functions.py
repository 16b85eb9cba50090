"""All array functions that the stand-in offers, by the names that CuPy gives them."""

from __future__ import annotations

from typing import Any

from gpu_double import creation, reductions, shaping

FUNCTIONS: dict[str, Any] = {
    name: getattr(module, name)
    for module in (creation, shaping, reductions)
    for name in module.__all__
}
