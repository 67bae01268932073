"""A small function for test_compiled to compile."""

from __future__ import annotations

from typing import Any

import numpy as np

from laion_hpc.runtime.compiled import compiled


def total(numbers: Any) -> int:
    """Their sum."""
    found = 0
    for number in numbers:
        found += number
    return found


def ready() -> Any:
    """`total` in machine code."""
    return compiled(total, np.zeros(0, np.int64))


if __name__ == "__main__":
    print(ready()(np.arange(101)))
