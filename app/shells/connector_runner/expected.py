"""Which assets of the catalogue should be heard through which connector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from connectors.base import Connector


def expected_assets(
    catalogue: Iterable[str], connectors: Mapping[str, Connector[Any]]
) -> dict[str, frozenset[str]]:
    """For each of a site's connectors, the catalogue's assets that only it can bring.

    An asset that several may bring (by wildcards), or one names while another's wildcards match
    it, is expected through nobody but who names it: the others would miss what never comes their
    way, and call it silent.
    """
    expected: dict[str, set[str]] = {name: set() for name in connectors}
    named = frozenset[str]().union(*(each.assets() for each in connectors.values()))
    for asset in catalogue:
        if asset in named:
            continue  # who names it expects it anyway
        bringers = [name for name, each in connectors.items() if each.may_bring(asset)]
        if len(bringers) == 1:
            expected[bringers[0]].add(asset)
    return {name: frozenset(assets) for name, assets in expected.items()}
