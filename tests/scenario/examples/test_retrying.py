"""The suite for a client that retries passes."""

from __future__ import annotations

import os
import subprocess
import sys

from scenario.examples.conftest import EXAMPLES

EXAMPLE = "test_retrying_client"


def test_the_suite_passes(tmp_path):
    options = ["-q", "-p", "no:cacheprovider", "-p", "pystack.testing.plugin"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(EXAMPLES / f"{EXAMPLE}.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        env={
            **os.environ,
            "PYTHONPATH": str(EXAMPLES.parent),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
    )
    assert "13 passed" in done.stdout, done.stdout
