"""Signals that come at the worst moment."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

CODE = """
import signal, threading
from {module} import {name}
stop = threading.Event()
with {name}(stop):
    with stop._cond:  # as the main thread does for a moment whenever it waits for the event
        signal.raise_signal(signal.SIGTERM)
    assert stop.wait(10)
print("stopped")
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [("app.processes.signals", "set_on_signals"), ("app.plant.processes", "stopping")],
)
def test_a_signal_in_the_middle_of_a_wait_does_not_hang_the_process(
    module: str, name: str
) -> None:
    code = CODE.format(module=module, name=name)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr
