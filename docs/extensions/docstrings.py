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
    """A docstring with fences around its examples."""
    lines, indent = [], None
    for line in text.splitlines():
        code, heading = _LINE.match(line), _HEADING.match(line)
        if code and indent is None:
            indent = code[1]
            lines.append(f"{indent}```python")
        elif not code and indent is not None:
            lines.append(f"{indent}```")
            indent = None
        if code:
            lines.append(indent + (code[2] or ""))
        elif heading:
            lines.append(f"{heading[1]}**{heading[2]}**")
        else:
            lines.append(line)
    return "\n".join(lines + ([f"{indent}```"] if indent is not None else []))
