"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def table_lines(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table whose first column is text and whose others are numbers.

    Args:
        heads: titles of the columns.
        rows: lists of texts.
    """
    ruler = ["---", *["---:"] * (len(heads) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (heads, ruler, *rows)]


def signed(percent: float | None) -> str:
    """A number with its sign and two decimals, never -0.00; a dash where there is none."""
    return "—" if percent is None else f"{round(percent, 2) + 0.0:+.2f}"
