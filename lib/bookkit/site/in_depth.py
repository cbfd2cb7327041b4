"""The page "In depth: how published models count": chapter 8's closer questions, from what comes with the book."""

from successor_heads import figures
from successor_heads.studies.models_of_today import PUBLISHED, closer, closer_shown, further, further_shown


def write(site):
    """Write the page's verdict, figures and tables into the site's source: of the published models that were asked."""
    parts = site / "book" / "in-depth"
    parts.mkdir(exist_ok=True)
    figures.use_style()
    for name, shown in drawn().items():
        text = "\n".join(each._repr_html_() for each in shown)
        (parts / f"{name}.html").write_text(text, encoding="utf8")


def drawn():
    """What the page shows, by the name of its file."""
    found, later = closer.STORED.read_all(PUBLISHED), further.STORED.read_all(PUBLISHED)
    return {
        "verdict": [closer_shown.verdict_closer(found)],
        "answers": [closer_shown.draw_answers(found)],
        "looks": [closer_shown.draw_looks(found)],
        "distractors": [closer_shown.draw_distractors(found)],
        "mlps": [closer_shown.draw_mlps(found)],
        "neurons": [closer_shown.draw_neurons(found)],
        "subspaces": [closer_shown.draw_subspaces(found)],
        "rarely": [closer_shown.draw_rarely(each) for each in found],
        "few": [further_shown.verdict_neurons(later), further_shown.draw_values(later)],
        "few-neurons": [further_shown.draw_neurons(each) for each in later],
        "further": [further_shown.verdict_further(later), further_shown.draw_answers(later)],
    }
