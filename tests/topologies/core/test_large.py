"""Windows of very many tags: what would be too large for one record goes on in several."""

from __future__ import annotations

from app.shells.driver import Driver
from models.time import NS_PER_S
from topologies.core import Input, Output, Topology
from topologies.core.step import Step
from topologies.steps import combine, decode, extract

T0 = 1_700_000_040 * NS_PER_S
LIMIT = 16_384
#: Their names alone are larger than a record may be.
TAGS = [f"press/zone{number:04d}/" + "temperature/" * 5 for number in range(300)]


def driver(*steps: Step) -> Driver:
    topology = Topology(
        name="probe",
        inputs=(Input(source="opcua", decode=decode.OpcUa()),),
        steps=steps,
        outputs=(Output(kind="features"),),
        max_record_bytes=LIMIT,
    )
    return Driver(topology)


def feed(to: Driver) -> None:
    """A minute of all tags in small records, then silence in which all its windows close."""
    for low in range(0, len(TAGS), 20):
        to.opcua("a", [(tag, T0 + low * 1000, float(low)) for tag in TAGS[low : low + 20]])
    to.advance("opcua", "a", "200s")


def test_windows_of_many_tags_close_in_records_that_are_small_enough() -> None:
    d = driver(extract.Window(size="1m", statistics=("mean",)))
    feed(d)
    assert d.dead_letters() == []
    assert [row["tag"] for row in d.features()] == TAGS
    assert [row["mean"] for row in d.features()] == [float(n // 20 * 20) for n in range(len(TAGS))]
    assert all(emission.size <= LIMIT for emission in d.output("features"))
    # Later ones are of few tags, and small again.
    d.opcua("a", [(TAGS[7], T0 + 300 * NS_PER_S, 5.0)])
    d.advance("opcua", "a", "200s")
    assert d.dead_letters() == []
    assert [(row["tag"], row["mean"]) for row in d.features()][len(TAGS) :] == [(TAGS[7], 5.0)]


def test_windows_of_many_tags_go_through_a_merge_in_records_that_are_small_enough() -> None:
    d = driver(
        extract.Window(name="w", size="1m", statistics=("mean",)),
        combine.Merge(keys={"*": "k"}, of=("w",)),
        combine.Aggregate(of="w", statistics=("mean",)),
    )
    feed(d)
    assert d.dead_letters() == []
    assert len(d.between("merge")) > 2
    rows = [row for row in d.features() if row["window"] == "aggregate"]
    assert [row["tag"] for row in rows] == TAGS
    assert [row["mean"] for row in rows] == [float(n // 20 * 20) for n in range(len(TAGS))]


def test_readings_go_through_a_merge_in_records_that_are_small_enough() -> None:
    d = driver(combine.Merge(keys={"*": "k"}), extract.Window(size="1m", statistics=("sum",)))
    rows: list[tuple[str, int, float | str]] = [(tag, T0 + n, 1.0) for n, tag in enumerate(TAGS)]
    rows += [("note", T0 + 1000 + n, "x" * 100) for n in range(200)]
    d.opcua("a", rows)
    d.advance("opcua", "a", "200s")
    assert d.dead_letters() == []
    assert len(d.between("merge")) > 3
    assert sorted(row["tag"] for row in d.features() if row["sum"] == 1.0) == [
        f"a:{tag}" for tag in TAGS
    ]
