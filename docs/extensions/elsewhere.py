"""Pages of the site whose text stands elsewhere in the repository, once.

A whole page: what `PAGES` names, and the tables and pictures of `zoo/results`. A part of one: where a page says

    <!-- README.md: from "**Methods.**" to "**Cheaper tasks.**" -->

it gets the lines of that file from the first one that starts so to the one that starts so, which is left out. Links
are turned to the pages of the site.
"""

import os
import posixpath
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",  # by its parts
    "zoo/datasets/folder/README.md": "datasets/folder.md",
    "zoo/datasets/nyud_mt/README.md": "datasets/nyud_mt.md",
    "zoo/datasets/pascal_mt/README.md": "datasets/pascal_mt.md",
    "zoo/datasets/scenes/README.md": "datasets/scenes.md",
    "zoo/results/README.md": "results/index.md",
}
FOLDERS = {"docs/": "", "zoo/results/": "results/"}

_PART = re.compile(r'^<!-- (\S+): from "(.+)" to "(.+)" -->$', re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")


def on_startup(**_: Any) -> None:
    """Lays the source folders out as they are installed, where names of the API are looked up."""
    documented = ROOT / "build" / "documented"
    shutil.rmtree(documented, ignore_errors=True)
    command = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", str(documented)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def on_files(files: Files, config: Any) -> Files:
    for source, page in PAGES.items():
        if files.get_file_from_path(page) is None:
            text = (ROOT / source).read_text(encoding="utf-8")
            text = with_links(text, posixpath.dirname(source), page)
            if not text.startswith("# "):
                text = f"# {posixpath.basename(posixpath.dirname(source))}\n\n{text}"
            if "/" not in page:
                text = f"---\nhide: [navigation]\n---\n\n{text}"  # it would list this page alone
            files.append(File.generated(config, page, content=text))
    for path in sorted((ROOT / "zoo" / "results").iterdir()):
        if path.name != "README.md":
            files.append(File.generated(config, f"results/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    return with_parts(markdown, page.file.src_uri)


def with_parts(markdown: str, page: str) -> str:
    """A page's text with the parts that it takes from elsewhere."""

    def part(found: re.Match[str]) -> str:
        source, first, last = found.groups()
        lines = (ROOT / source).read_text(encoding="utf-8").splitlines()
        starts = [i for i, line in enumerate(lines) if line.startswith(first)]
        ends = [i for i, line in enumerate(lines) if starts and i > starts[0] and line.startswith(last)]
        if not ends:
            raise PluginError(f"{page}: {source} has no lines from {first!r} to {last!r}")
        return with_links(
            textwrap.dedent("\n".join(lines[starts[0] : ends[0]])).strip(), posixpath.dirname(source), page
        )

    return _PART.sub(part, markdown)


def with_links(markdown: str, folder: str, page: str) -> str:
    """A text whose links are relative to `folder` of the repository, with links that lead there from a page."""

    def link(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, found[1]))
        for start, place in FOLDERS.items():
            if target.startswith(start) and target not in PAGES:
                target = place + target.removeprefix(start)
                break
        target = os.path.relpath(PAGES.get(target, target), posixpath.dirname(page) or ".")
        return f"]({target}{found[2] or ''})"

    return _LINK.sub(link, markdown)
