"""The pages of the documentation: what they name is there, and they build without a warning."""

import ast
import importlib.util
import json
import os
import pkgutil
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.folders import ROOT
from support.page_code import commands, page_program, read_blocks

import rc_keras

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXT = {page: page.read_text(encoding="utf-8") for page in PAGES}
WIDTH = 88  # characters of code that a page shows beside its lists
LANGUAGES = {"python", "sh", "text", "kotlin", "swift", "cpp", "js"}
API = "\n".join(text for page, text in TEXT.items() if page.parent.name == "api")


def page_id(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_code_is_python_and_commands_exist(page):
    for block in read_blocks(page):
        assert block.language in LANGUAGES, (page.name, block.line)
        widest = max(block.code.splitlines(), key=len)
        assert len(widest) <= WIDTH, (page.name, widest)
        if block.language == "python":
            ast.parse(block.code)
        for words in commands(block) if block.language == "sh" else ():
            if words[:2] == ["python", "-m"] and words[2].startswith("rc_keras"):
                assert importlib.util.find_spec(words[2]), words[2]
            for extra in re.findall(r"\[(.*)\]", words[-1]) if words[0] == "pip" else ():
                setup = (ROOT / "setup.py").read_text()
                assert all(f'"{name}":' in setup for name in extra.split(",")), extra


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_names_exist(page):
    pytest.importorskip("tensorflow")
    for dotted in set(re.findall(r"\brc_keras(?:\.\w+)+", TEXT[page])):
        if dotted != "rc_keras.description":  # the name of a format
            pkgutil.resolve_name(dotted)
    for target in re.findall(r"`make ([a-z-]+)`", TEXT[page]):
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name == "tutorials"], ids=page_id)
def test_a_tutorial_starts_with_what_you_get_and_ends_with_what_next(page):
    if page.name != "index.md":
        assert TEXT[page].split("\n\n")[1].startswith("You get")
        assert TEXT[page].split("\n## ")[-1].startswith("What next\n")
        assert page_program(page), "nothing of it is run"


def test_every_public_name_has_a_place_in_the_api():
    documented = set(re.findall(r"^::: (\S+)$", API, re.MULTILINE))
    for name in set(rc_keras.__all__) - {"__version__"}:
        assert {f"rc_keras.{name}", f"rc_keras.{name}.{name}"} & documented, name


@pytest.mark.parametrize("picture", sorted((DOCS / "pictures").glob("*.svg")), ids=lambda path: path.name)
def test_pictures_are_those_of_the_script(picture, tmp_path, monkeypatch):
    specification = importlib.util.spec_from_file_location("idea", DOCS / "idea.py")
    idea = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(idea)
    monkeypatch.setattr(idea, "FOLDER", tmp_path)
    idea.draw_all()
    assert (tmp_path / picture.name).read_text() == picture.read_text()


@pytest.mark.parametrize("notebook", sorted(DOCS.rglob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks_are_stored_without_outputs(notebook):
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
            ast.parse("".join(cell["source"]))


class _Fetched(HTMLParser):
    """Addresses that a browser fetches to show a page."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag in ("script", "img", "iframe", "source"):
            self.addresses.append(attributes.get("src"))
        elif tag == "link" and attributes.get("rel") != "canonical":
            self.addresses.append(attributes.get("href"))


@pytest.mark.slow
def test_site_builds_without_a_warning_and_needs_nothing_from_elsewhere(tmp_path):
    for package in ("mkdocs", "material", "mkdocstrings_handlers"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install rc_keras[docs]")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    variables = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-4000:]
    for page in (tmp_path / "site").rglob("*.html"):
        fetched = _Fetched()
        fetched.feed(page.read_text(encoding="utf-8"))
        for address in filter(None, fetched.addresses):
            assert not re.match(r"(https?:)?//", address), (page.name, address)
    for style in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style.read_text(encoding="utf-8")), style.name
    contents = (tmp_path / "site" / "api" / "models.html").read_text(encoding="utf-8")
    assert "rc_keras.build" in contents and "&gt;&gt;&gt;" not in contents
    assert "{task: raw prediction}" in contents and "Call arguments:" in contents
    assert "cast(" not in (tmp_path / "site" / "api" / "tasks.html").read_text(encoding="utf-8")
    assert '<td class="sentence">' in (tmp_path / "site" / "guides" / "methods.html").read_text(encoding="utf-8")
