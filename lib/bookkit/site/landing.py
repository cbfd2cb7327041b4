"""What the first page shows besides quotations: two published models' figures, and the first living figure of chapter 1."""

from bs4 import BeautifulSoup

from successor_heads import intervals, records
from successor_heads.studies import models_of_today

# As prose names them, and as the study has stored them.
PUBLISHED = {"smollm2": "published/smollm2", "gemma3": "published/gemma3-270m"}
EXPLORER = "book/explorer.html"
INVITATION = "<p>Choose a head and a word. The model itself runs in this page, once you ask for it.</p>"


def published_findings():
    """Of each published model, by its name in prose: the findings of chapter 8 as they are stored, in the form of a record."""
    return {name: of_published(models_of_today.stored(model)) for name, model in PUBLISHED.items()}


def of_published(found):
    """Of one model: how many lists it continues, its best head by the canonical score with the null, what its first and second head carry."""
    kept = found.gate[found.gate["kept"]]
    right, n = int(kept["confirmation"].sum()), int(kept["n_confirmation"].sum())
    low, high = intervals.wilson(right, n)
    heads = found.parts[found.parts["head"] >= 0]  # the one that matters most comes first
    (_, first), (_, second) = list(heads.iterrows())[:2]
    return {
        "right": records.finding(right, n=n),
        "right_share": records.finding(right / n, low=low, high=high, n=n),
        "canonical": records.finding(found.depth.canonical[1]),
        "canonical_null": records.finding(found.depth.canonical_null),
        "at_a_depth": records.finding(found.depth.best[2]),
        "at_a_depth_null": records.finding(found.depth.null),
        "lead_lost": records.finding(first["total"], low=first["low"], high=first["high"]),
        "lead_lost_next": records.finding(second["total"], low=second["low"], high=second["high"]),
    }


def write_explorer(site, notebook):
    """The first living figure of a chapter as a file for the first page. On a model that cannot run in a page it is empty."""
    outputs = [
        output.get("data", {}).get("text/html", "") for cell in notebook.cells for output in cell.get("outputs", [])
    ]
    living = next((text for text in outputs if "sh-live" in text), "")
    for table in (block := BeautifulSoup(living, "html.parser")).select("details.sh-details"):
        table.extract()  # the chapter has them
    (site / EXPLORER).write_text(f"{INVITATION}\n{block}\n" if living else "", encoding="utf8")
