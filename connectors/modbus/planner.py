"""Plans the requests that read all fields of a device: few, and none that a device would refuse.

Fields of one table are coalesced into ranges where at most ``max_hole`` unused registers lie
between them and the range stays within ``max_registers`` (bit tables: 2000, Modbus application
protocol v1.1b3, 6.1 and 6.2). A field is never split: its registers belong to one moment.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.modbus import ModbusTemplate, Table

#: Most bits in one request.
MAX_BITS = 2000
#: A hole in a bit table costs a sixteenth of one in a register table.
BITS_A_REGISTER = 16


@dataclass(frozen=True, slots=True)
class Range:
    """One request: ``count`` registers or bits of a table from ``address``."""

    table: Table
    address: int
    count: int

    @property
    def stop(self) -> int:
        """The first address behind it."""
        return self.address + self.count


def plan(template: ModbusTemplate) -> tuple[Range, ...]:
    """The requests of one poll, by table and address."""
    ranges: list[Range] = []
    for table in sorted({field.table for field in template.fields.values()}):
        bits = table in ("coil", "discrete")
        longest = MAX_BITS if bits else template.max_registers
        hole = template.max_hole * BITS_A_REGISTER if bits else template.max_hole
        spans = sorted(
            (field.address, field.address + field.registers)
            for field in template.fields.values()
            if field.table == table
        )
        ranges += (Range(table, start, stop - start) for start, stop in _join(spans, longest, hole))
    return tuple(ranges)


def _join(spans: list[tuple[int, int]], longest: int, hole: int) -> list[tuple[int, int]]:
    """Join sorted [start, stop) spans greedily; a span longer than ``longest`` stays whole."""
    joined: list[tuple[int, int]] = []
    for start, stop in spans:
        if joined:
            first, last = joined[-1]
            if start - last <= hole and max(stop, last) - first <= longest:
                joined[-1] = (first, max(stop, last))
                continue
        joined.append((start, stop))
    return joined
