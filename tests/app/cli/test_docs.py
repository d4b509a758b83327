"""The reference pages are what the code says, and the samples in them work."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from app.reference.configuration import sample_toml
from app.reference.pages import PAGES, differing, written
from app.settings import ALL, load
from tests.conftest import ROOT


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_page_is_what_the_code_says(name: str) -> None:
    committed = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert committed == PAGES[name](), "run `make docs`"


def test_a_changed_page_is_noticed_and_written_anew(tmp_path: Path) -> None:
    assert len(written(tmp_path)) == len(PAGES)
    assert differing(tmp_path) == []
    page = tmp_path / "metrics.md"
    page.write_text(page.read_text() + "more")
    assert differing(tmp_path) == [page]
    assert written(tmp_path) == [page]


def test_the_sample_is_a_good_file_as_it_is_and_with_all_its_fields(tmp_path: Path) -> None:
    file = tmp_path / "plantstream.toml"
    file.write_text(sample_toml())
    defaults = load(file, environment={})
    assert defaults.site.connectors == {}
    # '#name = value' is a field at its default or an example, '# text' is prose
    file.write_text(re.sub(r"^#(?=\S)", "", sample_toml(), flags=re.MULTILINE))
    settings = load(file, environment={}, check=ALL)
    assert settings.site.kafka == defaults.site.kafka
    assert settings.site.worker == defaults.site.worker
    assert set(settings.site.connectors) == {"furnace", "drives", "loggers"}


def test_every_field_of_every_section_is_in_the_reference() -> None:
    page = PAGES["configuration.md"]()
    for name in ("retention_bytes", "commit_interval", "uri_file", "flat_line", "max_registers"):
        assert f"| `{name}` |" in page


def test_samples_of_connectors_are_good_configuration(tmp_path: Path) -> None:
    page = PAGES["connectors.md"]()
    found = re.findall(r"```toml\n(.*?)```", page, re.S)
    assert len(found) >= 3
    for number, sample in enumerate(found):
        values = tomllib.loads(sample)
        text = re.sub(r"^simulator = .*$", "", sample, flags=re.MULTILINE)
        file = tmp_path / f"{number}.toml"
        file.write_text(text)
        settings = load(file, environment={}, check=["connectors"])
        assert set(settings.site.connectors) == set(values["connectors"])


def test_the_demo_s_plant_is_a_good_file() -> None:
    settings = load(ROOT / "plantstream.toml", environment={}, check=ALL)
    assert set(settings.enabled()) == set(settings.topologies)
