"""Docstrings are of one hand: entries of their lists start in lower case."""

import ast
import re

import pytest
from support.folders import ROOT

FOLDERS = ("rc_keras", "zoo", "export", "benchmarks")
LIST = re.compile(r"^( *)(?:Args|Attributes|Call arguments|Raises|Warns):$")
ENTRY = re.compile(r"^( *)[\w*][\w, *`./]*: (\S+)")
PROPER = {"C", "Float32", "Keras", "Pearson's", "Python", "TensorFlow", "TensorBoard"}


def capitalized(docstring):
    """Entries of lists that start with a capital, but for names and abbreviations."""
    indent = None
    for line in docstring.splitlines():
        heading, entry = LIST.match(line), ENTRY.match(line)
        if heading:
            indent = len(heading[1])
        elif line.strip() and indent is not None and len(line) - len(line.lstrip()) <= indent:
            indent = None
        elif entry and indent is not None and len(entry[1]) == indent + 4:
            word = entry[2].rstrip(".,;:)")
            if re.fullmatch(r"[A-Z][a-z']*", word) and word not in PROPER and word not in ("None", "True", "False"):
                yield line.strip()


@pytest.mark.parametrize("folder", FOLDERS)
def test_entries_start_in_lower_case(folder):
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                assert not list(capitalized(ast.get_docstring(node) or "")), path


def test_a_capital_would_be_seen():
    docstring = "Does.\n\nArgs:\n    name: The key.\n    image: RGB in 0..255.\n\nReturns:\n    The name.\n"
    assert list(capitalized(docstring)) == ["name: The key."]
