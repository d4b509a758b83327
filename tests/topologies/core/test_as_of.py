"""Joins whose new tag is called as the tag it is taken from."""

from __future__ import annotations

from typing import Literal

from app.shells.driver import Driver
from models.time import NS_PER_S
from topologies.core import Input, Output, Topology
from topologies.steps import combine, decode

T0 = 1_700_000_040 * NS_PER_S


def joined(keep: Literal["left", "all"]) -> Driver:
    d = Driver(
        Topology(
            name="probe",
            inputs=(Input(source="opcua", decode=decode.OpcUa()),),
            steps=(combine.AsOf(left=("x",), columns={"temp": "temp"}, keep=keep),),
            outputs=(Output(kind="readings"),),
        )
    )
    d.opcua("a", [("temp", T0, 20.0), ("x", T0 + NS_PER_S, 1.0)])
    return d


def test_a_joined_tag_may_be_called_as_its_source_where_the_left_alone_goes_on() -> None:
    d = joined("left")
    assert [row[1:4] for row in d.readings()] == [
        ("x", T0 + NS_PER_S, 1.0),
        ("temp", T0 + NS_PER_S, 20.0),
    ]


def test_where_all_readings_go_on_it_is_refused() -> None:
    (letter,) = joined("all").dead_letters()
    assert "the joined tag 'temp' also comes from the source" in letter.error
