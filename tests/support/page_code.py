"""The code in pages of the documentation, as a program.

Python of a page runs from top to bottom in one namespace, and the commands of this package between it. Other languages
are for readers, and so is what stands behind `<!-- not run: why -->`. What a block of `text` shows is printed.
"""

import ast
import dataclasses
import re
import shlex
import textwrap
from pathlib import Path

_BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_NOT_RUN = re.compile(r"<!-- not run: \S.* -->\n+\Z")


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of code of a page.

    Attributes:
        language: after its fence.
        code: without the indentation of the fence.
        run: whether it is part of the page's program.
        line: of the fence, from 1.
    """

    language: str
    code: str
    run: bool
    line: int


def read_blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            found["language"],
            textwrap.dedent(found["code"]),
            _NOT_RUN.search(text, 0, found.start()) is None,
            text.count("\n", 0, found.start()) + 1,
        )
        for found in _BLOCK.finditer(text)
    ]


def commands(block: Block) -> list[list[str]]:
    """The command lines of a block of `sh`, in words."""
    return [
        words for line in block.code.replace("\\\n", " ").splitlines() if (words := shlex.split(line, comments=True))
    ]


def page_program(page: Path) -> str:
    """A program that does what a page does; empty if there is nothing to run."""
    steps = []
    for block in read_blocks(page):
        if block.run and block.language == "python":
            steps.append(f"exec(compile({block.code!r}, '{page.name}, block at line {block.line}', 'exec'), names)")
        elif block.run and block.language == "sh":
            for words in commands(block):
                if words[:2] == ["python", "-m"]:
                    steps.append(f"subprocess.run([sys.executable, *{words[1:]!r}], check=True)")
    return "\n".join(["import subprocess, sys", "names = {'__name__': 'page'}", *steps]) if steps else ""


def imported(page: Path) -> set[str]:
    """The packages that the Python of a page imports."""
    names = set()
    for block in read_blocks(page):
        if block.run and block.language == "python":
            for node in ast.walk(ast.parse(block.code)):
                if isinstance(node, ast.Import):
                    names |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names.add(node.module)
    return {name.partition(".")[0] for name in names}


def printed(page: Path) -> list[str]:
    """What the page says that its program prints."""
    return [block.code for block in read_blocks(page) if block.language == "text" and block.run]
