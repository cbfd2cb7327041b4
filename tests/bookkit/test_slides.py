"""Slides of a made-up chapter: what is shown, what stands in the notes, what is left out."""

import nbformat
import pytest
from bs4 import BeautifulSoup

from bookkit.site import slides

VERDICT = '<div class="sh-verdict" role="note"><p>L1H0 is one.</p></div>'
FIGURE = '<figure class="sh-figure"><figcaption>{}</figcaption></figure>'
EXERCISE = """```{exercise-start}
:label: ex-one
```
**One.** Why?

:::{admonition} Hint
:class: dropdown
Because.
:::
```{exercise-end}
```"""
SOLUTION = "````{solution} ex-one\n:class: dropdown\n```python\nanswer = 1\n```\nIt is one.\n````"


def text(source, *tags):
    return nbformat.v4.new_markdown_cell(source, metadata={"tags": list(tags)})


def code(source, *tags, **data):
    outputs = [
        nbformat.v4.new_output("execute_result", {kind.replace("_", "/"): value}) for kind, value in data.items()
    ]
    return nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)}, outputs=outputs)


def page(*cells):
    notebook = nbformat.v4.new_notebook(cells=[text("# 1 A title\n\nFirst. Second."), *cells])
    return BeautifulSoup(slides.slides(notebook, works={}, numbers={"ex-one": "1.1"}), "html.parser")


def shown(made):
    """Of every slide its title and the text on it, without the notes."""
    for notes in made.select(".notes, .place"):
        notes.extract()
    return [(slide.find(["h1", "h2"]).text, slide.get_text(" ", strip=True)) for slide in made.select(".slide")]


def test_the_verdict_is_on_the_title_slide_and_the_call_that_makes_it_nowhere():
    made = page(code("MODEL = 1", "injected-parameters"), code("study.verdict(found)", text_html=VERDICT))
    assert made.select_one(".slide .sh-verdict").text == "L1H0 is one."
    assert not made.select("pre") and "First. Second." in made.select_one(".notes").text
    assert shown(made) == [("1 A title", "1 A title First. L1H0 is one.")]


def test_a_figure_stands_alone_with_its_sentence():
    def draw():
        return code("study.draw(found)", text_html=FIGURE.format("It rises."))

    made = page(text("## Part\n\nOne thing."), draw(), text("Another thing."), draw(), code("x = 1\nshow(x)"), draw())
    assert shown(made)[1:] == [
        ("Part", "Part One thing. It rises."),
        ("Part", "Part Another thing. It rises."),
        ("Part", "Part x = 1\nshow(x)"),
        ("Part", "Part It rises."),
    ]


def test_a_value_stands_below_its_code_and_what_is_said_next_on_a_new_slide():
    plain = "<table><tr><td>0.98</td></tr></table>"
    ours = f'<div class="sh-tabled">{plain}</div>'
    made = page(text("## Part"), code("x = 1\nx", text_html=plain), code("draw(x)", text_html=ours), text("Text."))
    assert [said for _, said in shown(made)[1:]] == ["Part x = 1\nx 0.98", "Part 0.98", "Part Text."]


def test_a_fold_is_in_the_notes_of_its_section_also_behind_an_exercise():
    fold = [
        text("**What could fool us?**\n\nLuck. Much of it.", "fold"),
        code("null = 1\nnull", "fold", text_plain="1"),
        code("study.draw_null(found)", "fold", text_html=FIGURE.format("Luck is rare.")),
    ]
    exercise = [text(EXERCISE), code("answer = ..."), code("ch01.one().check(answer)"), text(SOLUTION)]
    made = page(text("## Part\n\nA claim."), *exercise, *fold, text("And so on."))
    notes = [slide.select_one(".notes") for slide in made.select(".slide")]
    assert [bool(each and "Luck is rare." in each.text) for each in notes] == [False, True, False, False]
    assert "What could fool us?" in notes[1].text and "Much of it." in notes[1].text and "null" not in made.text
    seen = shown(made)
    assert [title for title, _ in seen] == ["1 A title", "Part", "Exercise 1.1", "Part"]
    assert seen[2][1] == "Exercise 1.1 One. Why?" and not any("Luck" in slide for _, slide in seen)
    assert "answer" not in made.text and "Because" not in made.text


@pytest.mark.parametrize("lines", [slides.MOST_LINES, slides.MOST_LINES + 1])
def test_long_code_is_cut_at_empty_lines_and_what_stays_long_is_a_note(lines):
    function = "def score():\n" + '    """Share of the pairs."""\n' + "    step()\n" * (lines - 2) + "    return 1"
    made = page(text("## Part\n\nA definition."), code(f"{function}\n\n\nscore()", text_plain="0.9"))
    fits = lines == slides.MOST_LINES
    assert bool(made.select(".notes pre")) is not fits
    parts = [
        [each.text for each in slide.select("pre") if not each.find_parent("details")]
        for slide in made.select(".slide")
    ]
    assert parts == ([[], [function], ["score()", "0.9"]] if fits else [[], ["score()", "0.9"]])
    assert all(slides.lines_of_code("\n".join(slide)) <= slides.MOST_LINES for slide in parts)


@pytest.mark.parametrize(
    ("source", "call"),
    [("study.draw(found)", True), ("x = f(1)", False), ("f(1)\nf(2)", False), ("x", False), ("%time f(1)", False), ("f(\n1)", False)],
)  # fmt: skip  # a table
def test_what_counts_as_a_call(source, call):
    assert slides.is_call(source) == call


def test_a_paragraph_that_leads_to_a_formula_says_what_stands_in_it():
    made = page(
        text("## Part\n\nNo prompt. A head adds\n\n$$ x W $$\n\nto it. But what is $x$? The input. So\n\n$$ x = 1 $$")
    )
    assert shown(made)[1][1] == r"Part A head adds \[x W\] The input. So \[x = 1\]"


def test_a_bold_beginning_does_not_make_a_paragraph_a_list():
    assert shown(page(text("## Part\n\n**Without it.** One. Two.\n\n- three\n- four. Five.")))[1][1] == (
        "Part Without it. One. three four. Five."
    )


def test_links_go_to_the_site():
    made = page(text("[Chapter 2](02-ov-circuit.ipynb) and [the list](../book/api.md#part)."))
    assert [link["href"] for link in made.select(".slide > p > a")] == [
        "../../notebooks/02-ov-circuit.html",
        "../../book/api.html#part",
    ]
