"""What a person reads who wrote something wrong: one line an error, with file, field and remedy."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from app.settings import ALL, SettingsError, load

GOOD = """
site = "works"

[kafka]
bootstrap = "kafka:9092"

[catalogue."glass/furnace".tags.crown]
unit = "degC"
gross_range = { low = 0, high = 1800 }

[modbus_templates.drive]
fields = { speed = { address = 0, type = "float32" } }

[connectors.sensors]
kind = "mqtt"
host = "broker"
subscriptions = [{ filter = "glass/+/data", asset = "glass/{1}" }]

[connectors.furnace]
kind = "opcua"
endpoint = "opc.tcp://plc:4840"
items = [{ node = "ns=2;s=crown", asset = "glass/furnace", tag = "crown" }]

[simulators.furnace]
kind = "opcua"
[[simulators.furnace.assets]]
name = "glass/furnace"
[simulators.furnace.assets.tags]
crown = { kind = "level", at = 1550 }
"""


def _errors(
    folder: Path, text: str, *, name: str = "plantstream.toml", **more: object
) -> list[str]:
    file = folder / name
    file.write_text(textwrap.dedent(text))
    with pytest.raises(SettingsError) as caught:
        load(file, check=ALL, **{"environment": {}, **more})  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    return [line.removeprefix(f"{folder}/") for line in str(caught.value).splitlines()]


def test_a_good_file_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "plantstream.toml"
    file.write_text(GOOD)
    settings = load(file, environment={}, check=ALL)
    assert settings.site.kafka.bootstrap == "kafka:9092"
    assert settings.site.simulators["furnace"].name == "furnace"
    assert settings.site.knowledge.catalogue.tag("glass/furnace", "crown") is not None
    entry, parameters = settings.connector("sensors")
    assert entry.kind == "mqtt"
    assert getattr(parameters, "host", "") == "broker"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param(
            '[kafka]\nbootsrap = "x:1"',
            "plantstream.toml: kafka.bootsrap: no such field; did you mean 'bootstrap'?",
            id="unknown field",
        ),
        pytest.param(
            '[kafak]\nbootstrap = "x:1"',
            "plantstream.toml: kafak: no such field; did you mean 'kafka'?",
            id="unknown section",
        ),
        pytest.param(
            '[kafka]\npartitions = "many"',
            "plantstream.toml: kafka.partitions: must be a valid integer, unable to parse string"
            " as an integer (got 'many')",
            id="wrong type",
        ),
        pytest.param(
            "[kafka]\npartitions = 0",
            "plantstream.toml: kafka.partitions: must be greater than or equal to 1 (got 0)",
            id="out of range",
        ),
        pytest.param(
            'kafka = "here"',
            "plantstream.toml: kafka: must be a table of fields (got 'here')",
            id="no table",
        ),
        pytest.param(
            '[worker]\ncommit_interval = "soon"',
            "plantstream.toml: worker.commit_interval: a duration is text such as '500ms', '10s'",
            id="no duration",
        ),
        pytest.param(
            '[log]\nlevel = "loud"',
            "plantstream.toml: log.level: must be 'debug', 'info', 'warning' or 'error'"
            " (got 'loud')",
            id="not one of",
        ),
        pytest.param(
            '[catalogue."glass/furnace".tags.crown]\ngross_range = { low = 5, hihg = 9 }',
            'plantstream.toml: catalogue."glass/furnace".tags.crown.gross_range.hihg:'
            " no such field; did you mean 'high'?",
            id="deep in the catalogue",
        ),
        pytest.param(
            '[catalogue."a".tags.b]\ngross_range = { low = 5, high = 1 }',
            "plantstream.toml: catalogue.a.tags.b.gross_range: low (5.0) is above high (1.0)",
            id="contradiction",
        ),
        pytest.param(
            '[catalogue."a".tags.b]\ncalibration = { kind = "linaer" }',
            "plantstream.toml: catalogue.a.tags.b.calibration: kind 'linaer' is unknown; known are"
            " 'linear', 'table'",
            id="unknown kind of calibration",
        ),
        pytest.param(
            '[connectors.x]\nkind = "opc-ua"',
            "plantstream.toml: connectors.x.kind: no such kind of connector; did you mean 'opcua'?",
            id="unknown kind of connector",
        ),
        pytest.param(
            '[connectors.x]\nhost = "plc"',
            "plantstream.toml: connectors.x.kind: is required: Protocol",
            id="no kind",
        ),
        pytest.param(
            '[connectors.x]\nkind = "opcua"\nendpoint = "opc.tcp://plc:4840"',
            "plantstream.toml: connectors.x.items: is required: The nodes to monitor",
            id="missing parameter",
        ),
        pytest.param(
            '[connectors.x]\nkind = "mqtt"\nqos = 2\nsubscriptions = [{ filter = "a/#/b",'
            ' asset = "b" }]',
            "plantstream.toml: connectors.x.qos: must be 0 or 1 (got 2)",
            id="parameter of a connector",
        ),
        pytest.param(
            '[connectors.x]\nkind = "opcua"\nendpoint = "opc.tcp://p:1"\n'
            'items = [{ node = "ns=2;s=a", aset = "a", tag = "b" }]',
            "plantstream.toml: connectors.x.items[0].aset: no such field; did you mean 'asset'?",
            id="in a list",
        ),
        pytest.param(
            '[connectors.x]\nkind = "mqtt"\nsimulator = "y"\n'
            'subscriptions = [{ filter = "a", asset = "b" }]',
            "plantstream.toml: connectors.x.simulator: no such simulator",
            id="dangling reference",
        ),
        pytest.param(
            '[simulators.f]\nkind = "opcua"\n[[simulators.f.assets]]\nname = "a"\n'
            '[simulators.f.assets.tags]\nx = { kind = "level", att = 3 }',
            "plantstream.toml: simulators.f.assets[0].tags.x.att: no such field;"
            " did you mean 'at'?",
            id="unions leave no trace in the field's name",
        ),
        pytest.param(
            "[topologies.nowhere]\nworkers = 2",
            "plantstream.toml: topologies.nowhere: no such topology",
            id="unknown topology",
        ),
        pytest.param(
            "[kafka]\npassword = 'hunter2'",
            "plantstream.toml: kafka.password: is a secret and does not belong into this file: set"
            " PLANTSTREAM__KAFKA__PASSWORD, or name a file in password_file",
            id="secret in the file",
        ),
        pytest.param(
            "[store]\nuri = 'mongodb://plant:hunter2@db'",
            "plantstream.toml: store.uri: is a secret and does not belong into this file",
            id="credentials in the file",
        ),
        pytest.param(
            "[kafka\nbootstrap = 1",
            "plantstream.toml:1:7: is not TOML: Expected ']' at the end of a table declaration",
            id="bad TOML",
        ),
        pytest.param(
            "site = 'a'\nsite = 'b'",
            "plantstream.toml:2:11: is not TOML: Cannot overwrite a value",
            id="key twice",
        ),
        pytest.param("site = ", "plantstream.toml:1:8: is not TOML: Invalid value", id="cut short"),
    ],
)
def test_each_error_is_one_line_that_names_file_field_and_what_is_allowed(
    tmp_path: Path, text: str, line: str
) -> None:
    found = _errors(tmp_path, text)
    assert any(each.startswith(line) for each in found), "\n".join(found)
    assert all("hunter2" not in each for each in found)


def test_all_errors_come_at_once(tmp_path: Path) -> None:
    found = _errors(
        tmp_path,
        """
        sit = "x"
        [kafka]
        partitions = 0
        [connectors.a]
        kind = "modbus"
        [connectors.b]
        kind = "opcua"
        endpoint = "http://plc"
        items = []
        """,
    )
    for field in ("sit:", "kafka.partitions:", "connectors.a.units:", "connectors.b.endpoint:"):
        assert sum(field in line for line in found) == 1, found


def test_bad_json_names_line_and_column(tmp_path: Path) -> None:
    (line,) = _errors(tmp_path, '{\n"site": "x",,\n}', name="site.json")
    assert line.startswith("site.json:2:13: is not JSON: ")


def test_json_must_be_an_object(tmp_path: Path) -> None:
    assert _errors(tmp_path, "[]", name="site.json") == [
        "site.json: must hold an object of sections"
    ]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml: there is no such file"):
        load(tmp_path / "nowhere.toml", environment={})


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"x\.toml: cannot be read: it is not UTF-8 text"):
        load(tmp_path / "x.toml", environment={})


def test_errors_of_the_environment_name_the_variable(tmp_path: Path) -> None:
    environment = {"PLANTSTREAM__KAFKA__PARTITIONS": "0", "PLANTSTREAM__KAFAK__X": "1"}
    first = _errors(tmp_path, "", environment=environment)
    assert first == [
        "environment: PLANTSTREAM__KAFAK__X: no such section; did you mean 'kafka'?"
        " there are catalogue, connector, connectors, data_dir, kafka, log, metrics,"
        " modbus_templates, mqtt, simulators, sink, site, store, topologies, topology_paths, worker"
    ]
    del environment["PLANTSTREAM__KAFAK__X"]
    assert _errors(tmp_path, "", environment=environment) == [
        "environment: PLANTSTREAM__KAFKA__PARTITIONS: kafka.partitions: must be greater than or"
        " equal to 1 (got '0')"
    ]


def test_errors_of_flags_name_the_flag(tmp_path: Path) -> None:
    assert _errors(tmp_path, "", overrides=["kafka.partitions=0"]) == [
        "--set kafka.partitions: kafka.partitions: must be greater than or equal to 1 (got 0)"
    ]
    assert _errors(tmp_path, "", overrides=["kafka.partitions"]) == [
        "--set: must be KEY=VALUE, the key dotted as in the file (got 'kafka.partitions')"
    ]
