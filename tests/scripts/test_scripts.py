"""Every script of the corpus, against pystack in virtual time."""

from __future__ import annotations

import pytest
from scripts.corpus import CorpusScript, corpus

from pystack.script import report
from pystack.script.drill import Plan, run_file

SCRIPTS = corpus()
RUNS = [(one, version) for one in SCRIPTS for version in one.versions]


@pytest.mark.parametrize(
    ("script", "version"), RUNS, ids=[f"{one.name}-{version}" for one, version in RUNS]
)
def test_script_passes(script: CorpusScript, version: str) -> None:
    outcome = run_file(str(script.path), Plan(ip=version))
    assert outcome.result == "pass", "\n" + report.text(outcome)


@pytest.mark.parametrize("script", SCRIPTS, ids=[one.name for one in SCRIPTS])
def test_script_claims_what_the_kernel_does(script: CorpusScript) -> None:
    assert script.claim, "line 1 or 2 must be `// kernel: same` or `// kernel: differs: why`"
