"""Plots are well-formed and show every figure."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import report
from benchmarks.plot import Bar, Line, bars, lines
from benchmarks.table import Outcome, Row


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_bars_are_as_long_as_their_values() -> None:
    drawn = bars("Title", [("a < b", [Bar("one", 2.0, "2"), Bar("two", 1.0, "1")])], "unit")
    root = ElementTree.fromstring(drawn)
    widths = [
        float(rect.attrib["width"])
        for rect in root.iter("{http://www.w3.org/2000/svg}rect")
        if rect.attrib["width"] != "100%"
    ]
    assert widths[0] == pytest.approx(2 * widths[1], rel=0.01)
    assert {"Title", "a < b", "one", "two"} <= set(texts(drawn))


@pytest.mark.parametrize("log", [False, True])
def test_a_larger_value_is_further_up_and_right(log: bool) -> None:
    drawn = lines(
        "Title",
        [Line("l", [(100, 3.0), (1000, 30.0), (10_000, 70.0)])],
        x="x",
        y="y",
        log_x=log,
        log_y=log,
    )
    (line,) = ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}polyline")
    points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    assert points == sorted(points)
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)


def test_figures_are_written_beside_plots(tmp_path: Path) -> None:
    rows = [
        Row("windows", "a peer", 1.0e6, "samples/s"),
        Row("windows", "Plantstream", 2.5e6, "samples/s", 2.5),
        Row("windows", "another", 0.0, "samples/s", note="skipped: not here"),
    ]
    written = report.write(tmp_path, "aggregate", Outcome(rows), quick=True)
    assert [file.name for file in written] == ["aggregate.json", "aggregate.svg"]
    record = json.loads(written[0].read_text())
    assert record["quick"] is True
    assert [row["who"] for row in record["rows"]] == ["a peer", "Plantstream", "another"]
    shown = texts(written[1].read_text())
    assert "2.50 M  (2.50 ×)" in shown
    assert "another" not in shown
