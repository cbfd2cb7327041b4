"""The page that draws the paper's figures: from reported data, with the models of this book where they have been measured."""

import matplotlib.pyplot as plt
import pytest
from bs4 import BeautifulSoup

from bookkit.site import paper
from successor_heads import figures, models, reported

MEASURED = {
    "grown/pythia": {
        "01-find-heads": {"findings": {"paper_score": {"value": 0.77}}},
        "03-mod-10-features": {
            "findings": {"roman_score": {"value": 0.31}},
            "tables": {"probes": [{"modulus": m, "unseen": 0.43 if m == 10 else 0.1} for m in range(2, 26)]},
        },
    },
    "published/smollm2": {"03-mod-10-features": {"findings": {}, "tables": {"probes": []}}},
}


@pytest.mark.parametrize("found", [{}, MEASURED], ids=["nothing measured", "some measured"])
@pytest.mark.slow
def test_figures_fit_and_models_of_this_book_are_placed_where_there_is_a_record(found, tmp_path):
    figures.use_style()
    for drawing in (paper.figure_2(found), paper.figure_16(found), paper.figure_18(), paper.figure_27(found)):
        panels = drawing.panels if isinstance(drawing.panels, list) else [drawing.panels]
        assert [fault for fig in panels for fault in figures.faults(fig)] == [], drawing.caption
    plt.close("all")
    (tmp_path / "book").mkdir()
    paper.write(tmp_path, found)
    pages = {
        path.stem: BeautifulSoup(path.read_text(), "html.parser") for path in (tmp_path / "book/paper").glob("*.html")
    }
    assert set(pages) == {"figure-2", "figure-16", "figure-18", "figure-27"}
    for number, score in ((2, "grown/pythia 0.77"), (16, "grown/pythia 0.31"), (27, "grown/pythia 0.43")):
        assert (score in pages[f"figure-{number}"].text + str(pages[f"figure-{number}"])) == bool(found), number
    assert "smollm2" not in str(pages["figure-27"]), "a tokenizer of digits has no such line"


def test_every_point_of_figure_2_has_a_place_on_its_axis():
    assert set(reported.best_scores()["model"]) == set(paper.SHAPES)
    # Pythia-31M has 4.7 million parameters without embeddings, as its paper says.
    layers, width = paper.SHAPES["31m"]
    assert round(12 * layers * width**2 / 1e6, 1) == 4.7


def test_parameters_without_embeddings_are_those_of_the_checkpoint():
    for model in models.grown_models():
        module = models.load(model)._module
        embeddings = {id(part.weight) for part in (module.get_input_embeddings(), module.get_output_embeddings())}
        own = sum(weight.numel() for weight in module.parameters() if id(weight) not in embeddings)
        positions = sum(weight.numel() for name, weight in module.named_parameters() if "wpe" in name)
        assert paper.WITHOUT_EMBEDDINGS[model] == pytest.approx(own - positions, rel=0.01)
