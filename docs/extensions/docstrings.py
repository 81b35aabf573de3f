"""Docstrings as pages want them: the lines of an example in a block of code."""

import re
from typing import Any

import griffe

_HEADING = re.compile(r"^(\s*)(Examples?|References?):$")
_LINE = re.compile(r"^(\s*)(?:>>>|\.\.\.)(?: (.*))?$")


class Examples(griffe.Extension):
    """Turns lines with `>>>` into Python as one would type it, below a bold heading."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = with_code(obj.docstring.value)


def with_code(text: str) -> str:
    """A docstring with fences around its examples, and around what they print."""
    lines: list[str] = []
    inside, indent = "", ""  # the language of the open fence
    for line in [*text.splitlines(), ""]:
        code = _LINE.match(line)
        wanted = "python" if code else "text" if inside and line.strip() else ""
        if wanted != inside:
            if inside:
                lines.append(f"{indent}```")
            indent = code[1] if code else indent
            if wanted:
                lines.append(f"{indent}```{wanted}")
            inside = wanted
        heading = _HEADING.match(line)
        if code:
            lines.append(indent + (code[2] or ""))
        elif heading and not inside:
            lines.append(f"{heading[1]}**{heading[2]}**")
        else:
            lines.append(line)
    return "\n".join(lines[:-1])
