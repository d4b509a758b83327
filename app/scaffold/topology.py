"""A new topology: one file, and a case folder with records and what the topology makes of them."""

from __future__ import annotations

import importlib
import keyword
import re
import shutil
from pathlib import Path

import orjson

import topologies
from app.cases import Case, Fed, write_expected, write_input
from models.errors import ConfigError
from models.records import headers, heartbeat, raw
from models.records.heartbeat import Heartbeat, State
from models.records.raw import OpcUaChange
from models.time import NS_PER_MS, NS_PER_S
from topologies.core.discover import survey
from topologies.core.topology import NAME

_FILE = '''"""NAME: what it watches, in a sentence."""

from topologies.core import Input, Output, Topology
from topologies.steps import alarm, decode, detect, extract, validate

topology = Topology(
    name="NAME",
    title="What it watches",
    # raw.opcua is read by all topologies: each takes its own assets.
    inputs=(Input(source="opcua", decode=decode.OpcUa(), assets=("NAME/*",)),),
    steps=(
        validate.Qartod(),
        extract.Window(size="10s", grace="1s"),
        detect.Limits(),
        alarm.Alarm(of="limits", on_delay="2s"),
    ),
    outputs=(
        Output(kind="readings", retention="90d"),
        Output(kind="features"),
        Output(kind="anomalies"),
        Output(kind="alarms"),
    ),
)
'''
#: When the samples of the case were taken: 2026-01-01 00:00:00 UTC.
_T0 = 1_767_225_600 * NS_PER_S
#: The case: a sample a second, from the tenth to the twentieth over the limit.
_SAMPLES, _FROM, _TO = 40, 10, 20


def new_topology(name: str, cases: Path, folder: Path | None = None) -> list[Path]:
    """Write ``<name>.py`` into a folder (the project's own where none is given) and its first case.

    The paths written. Raises ConfigError where the name cannot be used or something of it is there
    already; nothing is written then.
    """
    _check_name(name)
    place = folder or Path(topologies.__path__[0])
    file, case = place / f"{name}.py", cases / name / "first"
    for path in (file, case.parent):
        if path.exists():
            raise ConfigError(f"{path} is there already", field="NAME", value=name)
    paths = () if folder is None else (folder,)
    found = survey(paths)
    if name in found.topologies or name in found.broken:
        raise ConfigError("there is a topology of this name", field="NAME", value=name)
    try:
        place.mkdir(parents=True, exist_ok=True)
        file.write_text(_FILE.replace("NAME", name), encoding="utf-8")
        importlib.invalidate_caches()
        _write_case(Case(case, paths), name)
    except BaseException:
        file.unlink(missing_ok=True)
        shutil.rmtree(case.parent, ignore_errors=True)
        raise
    return [file, *sorted(case.iterdir())]


def _check_name(name: str) -> None:
    if not re.fullmatch(NAME.strip("^$"), name):
        message = "must be lower case letters, digits and '_', a letter first"
        raise ConfigError(message, field="NAME", value=name)
    if keyword.iskeyword(name) or name in ("core", "steps"):
        raise ConfigError("is a word that Python or Plantstream needs", field="NAME", value=name)


def _write_case(case: Case, name: str) -> None:
    asset = f"{name}/1"
    write_input(case.path, _records(asset))
    limits = {"high": 80.0, "deadband": 2.0}
    tag = {"unit": "degC", "gross_range": {"low": 0, "high": 200}, "limits": limits}
    knowledge = {"catalogue": {"assets": {asset: {"tags": {"temperature": tag}}}}}
    text = orjson.dumps(knowledge, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    (case.path / "knowledge.json").write_bytes(text)
    write_expected(case)


def _records(asset: str) -> list[Fed]:
    """A record a second as the OPC UA connector lands it; then silence, and a heartbeat."""
    records = []
    for number in range(_SAMPLES):
        t = _T0 + number * NS_PER_S
        value = 60.0 + number % 7 + (30.0 if _FROM <= number < _TO else 0.0)
        change = OpcUaChange("temperature", f"ns=2;s={asset}/temperature", t, t, 0, value)
        payload = raw.encode_opcua([change], t)
        records.append(_fed(asset, number, headers.RAW_OPCUA.header, payload, t))
    # So long was the connector silent when it wrote the heartbeat.
    silence = 20 * NS_PER_S
    t = _T0 + (_SAMPLES - 1) * NS_PER_S + silence
    beat = heartbeat.encode(Heartbeat(asset, State.ALIVE, t, t, silence))
    return [*records, _fed(asset, _SAMPLES, headers.HEARTBEAT.header, beat, t)]


def _fed(asset: str, number: int, schema: bytes, value: bytes, t: int) -> Fed:
    head = {
        headers.SCHEMA: schema,
        headers.CONTENT_TYPE: headers.JSON,
        headers.EVENT_ID: f"case:{number}".encode(),
    }
    return Fed("opcua", asset.encode(), value, head, t // NS_PER_MS)
