"""Kernels on disk are those of the code as it is now."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
INNER = """
from models.jit import kernel

STEP = 1

@kernel
def inner(x: int) -> int:
    return x + {number}
"""
OUTER = """
import inner
from inner import STEP, inner as called
from models.jit import kernel

@kernel
def outer(x: int) -> int:
    return called(x) + STEP

print(outer(1), sum(outer.stats.cache_hits.values()))
"""


def test_a_kernel_is_compiled_anew_when_one_that_it_calls_has_changed(tmp_path: Path) -> None:
    (tmp_path / "outer.py").write_text(OUTER)

    def run(inner: str) -> list[int]:
        (tmp_path / "inner.py").write_text(inner)
        found = subprocess.run(
            [sys.executable, "outer.py"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        return [int(word) for word in found.stdout.split()]

    first = INNER.format(number=10)
    assert run(first) == [12, 0]
    assert run(first) == [12, 1]
    assert run(INNER.format(number=20)) == [22, 0]
    assert run(INNER.format(number=20).replace("STEP = 1", "STEP = 5")) == [26, 0]
