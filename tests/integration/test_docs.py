"""The examples in README.md and docs/ do what they say: every fenced `python` and `bash` block is run, page by page.

Blocks of one page share a folder that holds `model.onnx` and `devices.yaml`. A block after a line
`<!-- not run: reason -->` is left out.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.onnx_models import LIGHT

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
LONG_PAGES = ("docs/bench.md", "docs/mobility.md", "docs/profiling.md", "docs/tutorial.md")
"""Their examples take up to half a minute each."""
FENCE = re.compile(r"(?P<before>[^\n]*)\n```(?P<language>python|bash)\n(?P<code>.*?)\n```", re.DOTALL)
SECONDS = 240


def blocks(page):
    text = "\n" + (ROOT / page).read_text(encoding="utf-8")
    found = [match for match in FENCE.finditer(text) if not match["before"].startswith("<!-- not run: ")]
    return [(match["language"], match["code"]) for match in found]


@pytest.fixture
def folder(tmp_path):
    light = LIGHT / "light_squeezenet.onnx"
    shutil.copy(light, tmp_path / "model.onnx")
    shutil.copy(ROOT / "devices.yaml", tmp_path / "devices.yaml")
    return tmp_path


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] * (page in LONG_PAGES)) for page in PAGES if blocks(page)]
)
def test_examples_run_as_they_stand(page, folder):
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(folder),
        "COLUMNS": "120",
        "PYTHONPATH": str(ROOT),
        "MULTIEDGE_REFERENCE": os.environ["MULTIEDGE_REFERENCE"],
    }
    for number, (language, code) in enumerate(blocks(page)):
        script = folder / f"block_{number}.{language}"
        script.write_text(code, encoding="utf-8")
        command = [sys.executable, script.name] if language == "python" else ["bash", "-euo", "pipefail", script.name]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, f"{page}, block {number}:\n{code}\n---\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_most_pages_have_examples_that_run():
    assert sum(bool(blocks(page)) for page in PAGES) >= 5
