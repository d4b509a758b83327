"""A site's configuration, read, checked, and joined with what runs: connectors, topologies."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import SecretStr, ValidationError

from app.settings import layers as sources
from app.settings.layers import Layers
from app.settings.model import ConnectorEntry, Site, TopologyEntry
from app.settings.problems import SettingsError, dotted, explain, unknown
from app.settings.schema import Path as Keys
from app.settings.schema import allowed, leaves, mentions
from models.errors import ConfigError

if TYPE_CHECKING:
    from connectors.base import ConnectorParameters
    from topologies.core import Topology
    from topologies.core.discover import Broken

LOG = logging.getLogger("plantstream.settings")

#: What is checked beside the schema. Each needs its modules to be loaded, which takes time.
Part = Literal["connectors", "topologies"]
ALL: tuple[Part, ...] = ("connectors", "topologies")


@dataclass(frozen=True)
class Settings:
    """What a process knows of its site. Made by `load`."""

    site: Site
    layers: Layers

    @property
    def file(self) -> Path:
        """The file, as it was named (it need not exist)."""
        return self.layers.file

    @property
    def data_dir(self) -> Path:
        """Folder of state and logs, absolute."""
        return self.site.data_dir.expanduser().absolute()

    def connector(self, name: str) -> tuple[ConnectorEntry, ConnectorParameters]:
        """A connector by name. Raises SettingsError."""
        entry = self.site.connectors.get(name)
        if entry is None:
            raise self.error(unknown(name, self.site.connectors, "connector"), "connectors")
        parameters, errors = _parameters(name, entry.model_dump(), self.layers)
        if parameters is None:
            raise SettingsError(errors)
        return entry, parameters

    @cached_property
    def topologies(self) -> Mapping[str, Topology]:
        """All topologies there are, with the site's parameters over the declared ones.

        Files that are broken are left out, with a warning. Raises SettingsError.
        """
        found, errors = _topologies(self.site, self.layers)
        if errors:
            raise SettingsError(errors)
        for each in self.broken_topologies.values():
            LOG.warning("left out: %s", each)
        return found

    @cached_property
    def broken_topologies(self) -> Mapping[str, Broken]:
        """Topology files that cannot be used."""
        from topologies.core.discover import survey

        return survey(self.site.topology_paths).broken

    def topology(self, name: str) -> Topology:
        """A topology by name, with the site's parameters. Raises SettingsError."""
        if name in self.broken_topologies:
            broken = self.broken_topologies[name]
            raise SettingsError([ConfigError(broken.error, file=broken.file)])
        if name not in self.topologies:
            raise SettingsError([ConfigError(unknown(name, self.topologies, "topology"))])
        return self.topologies[name]

    def entry(self, topology: str) -> TopologyEntry:
        """How a topology runs here."""
        return self.site.topologies.get(topology) or TopologyEntry()

    def enabled(self) -> list[str]:
        """Names of the topologies that are not switched off."""
        return [name for name in self.topologies if self.entry(name).enabled]

    def error(self, message: str, field: str = "", value: object = "") -> SettingsError:
        """An error of this configuration."""
        origin = self.layers.origin(tuple(field.split(".")))
        return SettingsError([ConfigError(message, file=origin, field=field, value=value)])


def load(
    file: Path | None = None,
    overrides: Sequence[str] = (),
    *,
    environment: Mapping[str, str] | None = None,
    check: Collection[Part] = (),
) -> Settings:
    """Read the configuration of a site, and check it all.

    ``overrides`` are ``key=value`` as in --set. ``check`` adds the parameters of connectors and
    topologies. Raises SettingsError that lists everything that is wrong.
    """
    return settle(sources.read(file, overrides, environment), check)


def settle(layers: Layers, check: Collection[Part] = ()) -> Settings:
    """Check and join layers that were read; see `load`."""
    errors = list(_secrets_in_files(layers))
    _resolve_paths(layers)
    merged = layers.merged()
    site: Site | None = None
    try:
        site = Site.model_validate(_named_simulators(merged))
    except ValidationError as error:
        errors += explain(error, Site, layers.origin)
    if "connectors" in check:
        errors += _wrong_connectors(merged, layers)
    if site is not None:
        errors += _references(site, layers)
        if "topologies" in check:
            errors += _topologies(site, layers)[1]
    if errors or site is None:
        raise SettingsError(errors)
    return Settings(site, layers)


def _named_simulators(merged: dict[str, Any]) -> dict[str, Any]:
    """Simulators bear the name of their section."""
    given = merged.get("simulators")
    if not isinstance(given, Mapping):
        return merged
    named = {
        name: {"name": name, **value} if isinstance(value, Mapping) else value
        for name, value in given.items()
    }
    return {**merged, "simulators": named}


def _wrong_connectors(merged: Mapping[str, Any], layers: Layers) -> list[ConfigError]:
    given = merged.get("connectors")
    if not isinstance(given, Mapping):
        return []
    return [
        error
        for name, entry in given.items()
        if isinstance(entry, Mapping)
        for error in _parameters(name, entry, layers)[1]
    ]


def _parameters(
    name: str, entry: Mapping[str, Any], layers: Layers
) -> tuple[ConnectorParameters | None, list[ConfigError]]:
    from connectors.discover import find, kinds

    path: Keys = ("connectors", name)
    kind = entry.get("kind")
    if not isinstance(kind, str):
        return None, []  # the schema says so already
    if kind not in kinds():
        field: Keys = (*path, "kind")
        message = unknown(kind, kinds(), "kind of connector")
        return None, [ConfigError(message, file=layers.origin(field), field=dotted(field))]
    model = find(kind).Parameters
    own = {key: value for key, value in entry.items() if key not in allowed(ConnectorEntry)}
    try:
        return model.model_validate(_absolute(model, own, layers, path)), []
    except ValidationError as error:
        return None, explain(error, model, layers.origin, path)


def _references(site: Site, layers: Layers) -> Iterable[ConfigError]:
    for name, entry in site.connectors.items():
        if entry.simulator and entry.simulator not in site.simulators:
            field: Keys = ("connectors", name, "simulator")
            yield ConfigError(
                unknown(entry.simulator, site.simulators, "simulator"),
                file=layers.origin(field),
                field=dotted(field),
            )


def _topologies(site: Site, layers: Layers) -> tuple[dict[str, Topology], list[ConfigError]]:
    from topologies.core.discover import survey

    errors: list[ConfigError] = []
    surveyed = survey(site.topology_paths)
    declared = dict(surveyed.topologies)
    for name, entry in site.topologies.items():
        path: Keys = ("topologies", name)
        if name in surveyed.broken:
            continue
        if name not in declared:
            message = unknown(name, declared, "topology")
            errors.append(ConfigError(message, file=layers.origin(path), field=dotted(path)))
            continue
        for step, fields in entry.steps.items():
            place = layers.origin((*path, "steps", step, *list(fields)[:1]))
            try:
                declared[name] = declared[name].with_overrides({step: fields}, file=place)
            except ConfigError as error:
                errors.append(error)
    return declared, errors


def _secrets_in_files(layers: Layers) -> Iterable[ConfigError]:
    """Secrets come by environment, or from a file of their own."""
    for layer in layers.layers:
        if layer.origin != str(layers.file):
            continue
        for path, annotation, value in leaves(Site, layer.values):
            if not mentions(annotation, SecretStr) or not isinstance(value, str):
                continue
            if "://" in value and "@" not in value:
                continue  # an address without credentials
            variable = sources.PREFIX + "__".join(str(key).upper() for key in path)
            yield ConfigError(
                f"is a secret and does not belong into this file: set {variable}, or name a file"
                f" in {path[-1]}_file",
                file=layer.origin,
                field=dotted(path),
            )


def _resolve_paths(layers: Layers) -> None:
    """Relative paths in the file start in its folder, all others where the process started."""
    for layer in layers.layers:
        if layer.origin == str(layers.file):
            layer.values = _joined(Site, layer.values, layers.folder)


def _absolute(
    model: type[ConnectorParameters], own: dict[str, Any], layers: Layers, prefix: Keys
) -> dict[str, Any]:
    file = str(layers.file)
    places = [path for path, _, _ in leaves(model, own)]
    from_file = [path for path in places if layers.origin((*prefix, *path)) == file]
    return _joined(model, own, layers.folder, from_file)


def _joined(
    model: Any, values: dict[str, Any], folder: Path, only: Collection[Keys] | None = None
) -> dict[str, Any]:
    found = [
        path
        for path, annotation, value in leaves(model, values)
        if mentions(annotation, Path) and isinstance(value, str)
        if only is None or path in only
    ]
    for path in found:
        values = _changed(values, path, folder)
    return values


def _changed(values: Any, path: Keys, folder: Path) -> Any:
    if not path:
        return str(folder / Path(values).expanduser())
    key = path[0]
    copy = dict(values) if isinstance(values, Mapping) else list(values)
    copy[key] = _changed(copy[key], path[1:], folder)  # type: ignore[index]
    return copy
