"""The page "The paper, row by row": the tables of chapters 2 to 4, "as reported, as we measured", for all models with a record."""

import html

import pandas as pd

from bookkit.site import paper
from successor_heads import figures
from successor_heads.studies import map_of_head, mod10_features, vector_arithmetic
from successor_heads.studies.cells import count_cell, share_cell

STUDIES = {"map": map_of_head, "tens": mod10_features, "edits": vector_arithmetic}
CHAPTERS = tuple(study.CHAPTER for study in STUDIES.values())
AT_ONCE = figures.MOST_COLUMNS - 2  # models in a table: the row and what is reported stand before them
# What a table's caption says of each model: the row that the chapter is about.
SAID = {
    "map": ("Read by the best head from MLP0's output, the macro is", lambda found: share_cell(found, "macro")),
    "tens": ("Of words of lists never seen, a probe for the index mod 10 reads", lambda found: count_cell(found, "lists_unseen")),
    "edits": ("Of all edits that move a token, means over lists, class means get right", lambda found: share_cell(found, "exact_class_means", beside="exact_random_in_the_span", name="random")),
}  # fmt: skip  # one row a line


def write(site, found):
    """Write the page's tables into the site's source, from `found`, the records by model and chapter."""
    parts = site / "book" / "row-by-row"
    parts.mkdir(exist_ok=True)
    for name in STUDIES:
        text = "\n".join(table._repr_html_() for table in tables(name, found)) + missing(name, found)
        (parts / f"{name}.html").write_text(text, encoding="utf8")


def measured(name, found):
    """The record of each model that has one by the study's present protocol, this book's own models first."""
    study = STUDIES[name]
    own = {model: chapters[study.CHAPTER] for model, chapters in found.items() if study.CHAPTER in chapters}
    order = [*paper.WITHOUT_EMBEDDINGS, *sorted(set(own) - set(paper.WITHOUT_EMBEDDINGS))]
    return {model: own[model] for model in order if model in own and study.NEWEST in own[model]["findings"]}


def tables(name, found):
    """The rows for all models, some models to a table, those that the book grew apart from those of others."""
    of_models = measured(name, found)
    for is_grown in (True, False):
        some = [model for model in of_models if model.startswith("grown/") == is_grown]
        for at in range(0, len(some), AT_ONCE):
            yield table(name, {model: of_models[model] for model in some[at : at + AT_ONCE]})


def table(name, of_models):
    """One table: the rows of a study, as reported, and a column a model."""
    compared = {model: STUDIES[name].compared(record["findings"]) for model, record in of_models.items()}
    rows = next(iter(compared.values()))
    frame = pd.DataFrame({"as reported": [cell for _, cell, _ in rows]}, index=[row for row, _, _ in rows])
    for model, own in compared.items():
        frame[model] = [cell for _, _, cell in own]
    said, of_model = SAID[name]
    each = ", ".join(f"{model} {of_model(record['findings'])}" for model, record in of_models.items())
    when = ", ".join(f"{model} on {record['created'][:10]}" for model, record in of_models.items())
    return figures.Table(frame, caption=f"{said}: {each}.", details=f"Recorded: {when}.")


def missing(name, found):
    """A line that names this book's models without a record, and the command that makes it."""
    names = [model for model in paper.WITHOUT_EMBEDDINGS if model not in measured(name, found)]
    commands = ", ".join(f"<code>make contribute MODEL={html.escape(model)}</code>" for model in names)
    return f"<p>Not measured by this protocol: {commands}.</p>" if names else ""
