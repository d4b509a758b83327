"""The configuration's reference page, its JSON schema, and a sample file."""

from __future__ import annotations

import textwrap
from typing import Any

from app.reference.schema import Document, Field, by_name, paragraph, table, title
from app.settings.model import ConnectorEntry, Site

#: Sections whose keys are names: shown by example.
_BY_NAME = """\
# What is known of assets and tags; a tag's range, limits and calibration are used by the steps.
#[catalogue."glass/furnace"]
#description = "End-fired regenerative furnace"
#[catalogue."glass/furnace".tags.crown_temperature]
#unit = "degC"
#gross_range = { low = 0, high = 1800 }
#limits = { low = 1500, high = 1575, high_high = 1600, deadband = 2 }

# Register maps of Modbus devices, by kind of device.
#[modbus_templates.drive.fields]
#speed = { address = 6, type = "float32" }
#motor_temperature = { address = 12, type = "int16", scale = 0.1 }

# Connectors by name; `kind` is the protocol.
#[connectors.furnace]
#kind = "opcua"
#endpoint = "opc.tcp://plc:4840"
#items = [{ node = "ns=2;s=crown", asset = "glass/furnace", tag = "crown_temperature" }]

#[connectors.drives]
#kind = "modbus"
#host = "gateway"
#units = [{ unit = 1, asset = "glass/drives", template = "drive", interval = "200ms" }]

#[connectors.loggers]
#kind = "mqtt"
#subscriptions = [{ filter = "glass/env/+", asset = "glass/{1}" }]

# Topologies by name; those not named run as they are declared.
#[topologies.glass]
#workers = 2

# Simulated devices by name.
#[simulators.furnace]
#kind = "opcua"
#[[simulators.furnace.assets]]
#name = "glass/furnace"
#[simulators.furnace.assets.tags]
#crown_temperature = { kind = "level", at = 1550, noise = 0.4 }
"""


def json_schema() -> dict[str, Any]:
    """The JSON schema of a site's file, for editors."""
    return {"title": "Plantstream site", **Site.model_json_schema(by_alias=True)}


def sample_toml() -> str:
    """A file with every field of the fixed sections, commented out at its default."""
    document = Document(Site)
    lines = ["# A site of Plantstream. What is commented out is at its default.", ""]
    sections: list[tuple[str, list[Field]]] = []
    for field in document.fields():
        name = _section(document, field.name)
        if name is None:
            lines += _sample_field(field) if not _by_name(document, field.name) else []
        else:
            sections.append((field.name, document.fields(document.definitions[name])))
    for name, fields in sections:
        lines += ["", f"[{name}]"]
        for each in fields:
            lines += _sample_field(each)
    return "\n".join(lines) + "\n\n" + _BY_NAME


def reference_markdown() -> str:
    """The page docs/reference/configuration.md."""
    document = Document(Site)
    lines = [
        "# Configuration",
        "",
        "One file, `plantstream.toml` (JSON of the same schema is accepted), then `.env` beside it,"
        " the environment, and `--set` over it. `PLANTSTREAM__KAFKA__BOOTSTRAP=kafka:9092` and"
        ' `--set kafka.bootstrap=kafka:9092` set the same field; `MONGODB_URI` names the store.'
        " Secrets come by environment, or from a file of their own (`..._file`), never in this one."
        " Durations are text: `500ms`, `10s`, `5m`, `2h`, `1d`. `plantstream config check` lists"
        " everything that is wrong; `config show` what is in force; `config sample` begins a file.",
        "",
        *table(document.fields()),
    ]
    done: set[str] = set()
    for field in document.fields():
        schema = document.schema["properties"][field.name]
        for name in document.referred(schema):
            lines += _model(document, name, field.name, done)
    return "\n".join(lines) + "\n"


def _model(document: Document, name: str, section: str, done: set[str]) -> list[str]:
    """A heading and a table for a model, then for those it refers to."""
    schema = document.definitions[name]
    if name in done or "properties" not in schema:
        return []
    done.add(name)
    about = paragraph(schema.get("description"))
    heading = f"## [{section}]" if section else f"### {title(name)}"
    lines = ["", f'<a id="{name.lower()}"></a>', "", heading, "", about, ""]
    lines += table(document.fields(schema))
    if name == ConnectorEntry.__name__:
        lines += ["", "All else is parameters of its kind: see [connectors](connectors.md)."]
    for inner in document.referred(schema):
        lines += _model(document, inner, "", done)
    return lines


def _section(document: Document, name: str) -> str | None:
    """The model of a section with fixed fields; None for a field, or tables by name."""
    schema = document.schema["properties"][name]
    found = list(document.referred(schema))
    return found[0] if found and not _by_name(document, name) else None


def _by_name(document: Document, name: str) -> bool:
    return by_name(document.schema["properties"][name]) is not None


def _sample_field(field: Field) -> list[str]:
    if field.secret:
        return []  # it has no place in a file
    about = textwrap.wrap(field.description, 96)
    lines = [f"# {line}" for line in about]
    value = field.default or ('""' if field.type == "text" else "")
    # A field without a default has nothing to show: what may be written is.
    lines.append(f"#{field.name} = {value}" if value else f"# {field.name} = <{field.type}>")
    return lines
