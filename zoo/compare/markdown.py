"""Tables in Markdown."""


def table_lines(heads, rows):
    """The lines of a table whose first column is text and whose others are numbers.

    Args:
        heads: titles of the columns.
        rows: lists of texts.
    """
    ruler = ["---", *["---:"] * (len(heads) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (heads, ruler, *rows)]
