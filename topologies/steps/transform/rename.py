"""Other names for tags."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import ClassVar

from pydantic import Field

from models.errors import StepError
from topologies.core.flow import Flow
from topologies.core.state import Memory
from topologies.core.step import Bound, Context, Step

_REMEMBERED = 4096


class Rename(Step):
    """Gives tags other names; a tag that is not named keeps its own.

    Two tags of one record that would get the same name are an error of that record.
    """

    kind: ClassVar[str] = "rename"
    tags: dict[str, str] = Field(description="New name by old name")
    assets: tuple[str, ...] = Field(("*",), description="Patterns of the assets it applies to")

    def bind(self, context: Context) -> Bound:
        known: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}

        def rename(flow: Flow, memory: Memory) -> None:
            block = flow.block
            key = (block.asset, block.tags)
            new = known.get(key)
            if new is None:
                new = self._renamed(*key)
                if len(known) >= _REMEMBERED:
                    known.clear()
                known[key] = new
            if new != block.tags:
                flow.block = replace(block, tags=new)

        return rename

    def _renamed(self, asset: str, tags: tuple[str, ...]) -> tuple[str, ...]:
        if not any(fnmatchcase(asset, pattern) for pattern in self.assets):
            return tags
        new = tuple(self.tags.get(tag, tag) for tag in tags)
        for place, name in enumerate(new):
            if new.index(name) != place:
                both = f"{tags[new.index(name)]!r} and {tags[place]!r}"
                raise StepError(f"{both} of {asset} would both be called {name!r}")
        return new
