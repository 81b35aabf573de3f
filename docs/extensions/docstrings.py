"""Docstrings as pages want them: the lines of an example in a block of code, and sections that griffe knows."""

import re
from typing import Any

import griffe

_HEADING = re.compile(r"^(\s*)(Examples?|References?):$")
_ANSWER = re.compile(r"^(\s*(?:Returns|Yields):\n\s*)", re.MULTILINE)
_CALL = re.compile(r"^(\s*)Call arguments:$", re.MULTILINE)
_LINE = re.compile(r"^(\s*)(?:>>>|\.\.\.)(?: (.*))?$")


class Docstrings(griffe.Extension):
    """Turns lines with `>>>` into Python as one would type it, and the sections that Keras has into those of griffe."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = with_code(with_sections(obj.docstring.value))

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        if isinstance(attr.value, griffe.ExprCall) and attr.value.canonical_path == "typing.cast":
            attr.value = attr.value.arguments[-1]  # what a reader gives


def with_sections(text: str) -> str:
    """A docstring whose answers are sentences, of which griffe would take what stands before a colon for a type."""
    return _CALL.sub(r"\1Other Parameters: Call arguments:", _ANSWER.sub(r"\1: ", text))


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
