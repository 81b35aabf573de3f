"""The guide for contributors: its examples run, and what it names is there."""

import re
import subprocess
import sys

import keras
import pytest
from support.folders import ROOT, environment

GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
PRINTED = (
    "edge",
    "(None, 64, 64, 1)",
    "['low', 'high']",
    "metres above the ground",
    "log cosh: 0.663",
    "8 4",
    "bias m",
    "edge moved by 0.0\nsaliency moved by 0.",
    "Edges of attics, untrained.\n['edge']",
    "zipped_saved_model",
    "number 4 of 4\n10\n",
)


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="examples export and read with TFDS")
def test_examples_run_and_print(tmp_path):
    """All in one process, each with names of its own."""
    program = "".join(f"print('--')\nexec({example!r}, {{'__name__': 'example'}})\n" for example in EXAMPLES)
    program += (
        "from rc_keras.tasks import kinds\nfrom support.kind_check import check_kind\ncheck_kind(kinds.get('height'))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-4000:]
    printed = result.stdout.split("--\n")[1:]
    assert len(printed) == len(EXAMPLES) == len(PRINTED)
    for expected, text in zip(PRINTED, printed, strict=True):
        assert expected in text


def test_files_and_names_exist():
    for path in re.findall(r"`((?:rc_keras|zoo|export|tests|docs)/[\w/.-]+)`", GUIDE):
        assert (ROOT / path).exists(), path
    for name, path in re.findall(r"`([A-Z_]{4,})` in `([\w/.]+)`", GUIDE):
        assert re.search(rf"^{name}\b", (ROOT / path).read_text(), re.MULTILINE), (name, path)
    for link in re.findall(r"\]\((?!#|http)([^)]+)\)", GUIDE):
        assert (ROOT / link).exists(), link


def test_links_lead_to_headings():
    headings = {
        re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in re.findall(r"^#+ (.*)$", GUIDE, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", GUIDE)) <= headings
