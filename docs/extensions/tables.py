"""Tables whose cells stay readable on a narrow screen: those with a sentence get a width below which they do not go."""

import re
from typing import Any

SENTENCE = 40  # characters, at least

_CELL = re.compile(r"<td>(.*?)</td>", re.DOTALL)


def on_page_content(html: str, **_: Any) -> str:
    return _CELL.sub(_with_class, html)


def _with_class(cell: re.Match[str]) -> str:
    text = re.sub(r"<[^>]*>", "", cell[1])
    return cell[0].replace("<td>", '<td class="sentence">', 1) if len(text) >= SENTENCE and " " in text else cell[0]
