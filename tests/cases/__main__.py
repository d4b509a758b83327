"""``python -m tests.cases [TOPOLOGY/CASE …]``: write what is expected anew."""

from __future__ import annotations

import sys

from tests.cases import find_cases, write_expected

for case in find_cases():
    if len(sys.argv) == 1 or case.name in sys.argv[1:]:
        print(f"{case.name}: {write_expected(case)} emissions")
