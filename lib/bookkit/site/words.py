"""Numbers and names as the pages say them."""


def duration(seconds):
    """Seconds as a person says them: '48 s', '3 min 20 s'; a dash for none."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def gigabytes(n_bytes):
    """Bytes in units of 10^9, one decimal: '1.3 GB'; a dash for none."""
    return "–" if n_bytes is None else f"{n_bytes / 1e9:.1f} GB"


def number(value):
    """A measured number as prose shows it: counts in full, anything else to two decimals, and a dash for none."""
    if value is None:
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def title(notebook):
    """The text of a notebook's first heading."""
    return next(
        line.removeprefix("# ")
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("# ")
    )
