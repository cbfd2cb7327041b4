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
    page = slides.slides(notebook, works={}, numbers={"ex-one": "1.1"}, chapter="01-one")
    made = BeautifulSoup(page, "html.parser")
    assert slides.count(page) == len(made.select(".slide"))
    return made


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


def test_the_speaker_has_hint_and_solution_of_an_exercise_and_the_wall_neither():
    made = page(text("## Part"), text(EXERCISE), code("answer = ..."), code("ch01.one().check(answer)"), text(SOLUTION))
    notes = made.select_one(".slide:last-of-type .notes")
    assert "Because." in notes.text and notes.select_one(".answer pre").text == "answer = 1"
    assert "It is one." in notes.select_one(".answer").text
    assert shown(made)[-1] == ("Exercise 1.1", "Exercise 1.1 One. Why?")


def test_a_question_to_check_in_your_head_is_on_the_wall_and_its_answer_with_the_speaker():
    made = page(
        text("## Part\n\nA claim."), text("**Check in your head: is it *so*?**\n\nNo. Never.", "fold"), text("On.")
    )
    assert made.select(".slide")[2].select_one(".notes .answer").text.strip() == "No. Never."
    assert shown(made)[1:] == [
        ("Part", "Part A claim."),
        ("Check in your head", "Check in your head Is it so ?"),
        ("Part", "Part On."),
    ]


@pytest.mark.parametrize("rows", [slides.MOST_ROWS, slides.MOST_ROWS + 1])
def test_of_a_long_table_the_wall_has_what_it_says(rows):
    table = "<tr><th>list</th></tr>" + "<tr><td>0.98</td></tr>" * rows
    ours = f'<div class="sh-tabled"><table><caption>It counts.</caption>{table}</table></div>'
    made = page(text("## Part\n\nA claim."), code("draw(x)", text_html=ours))
    slide = made.select(".slide")[1]
    short = rows <= slides.MOST_ROWS
    assert bool(slide.select(".wall table")) is short and bool(slide.select(".notes table")) is not short
    assert "It counts." in slide.select_one(".wall").text


def test_of_a_figure_without_a_drawing_the_wall_has_what_it_says_if_it_is_long():
    def figure(n):
        return f'<figure class="sh-figure"><dl>{"a " * n}</dl><figcaption>It goes on.</figcaption></figure>'

    for n, fits in ((10, True), (slides.MOST_CHARACTERS, False)):
        wall = page(text("## Part"), code("draw(x)", text_html=figure(n))).select(".wall")[1]
        assert "It goes on." in wall.text and bool(wall.select("dl")) is fits


def test_how_a_figure_was_measured_is_a_note():
    details = '<details class="sh-details"><summary>Details</summary><p>On 125 lists.</p></details>'
    made = page(text("## Part"), code("draw(x)", text_html=FIGURE.format(f"It rises.{details}")))
    assert "On 125 lists." in made.select(".notes")[-1].text
    assert shown(made)[-1][1] == "Part It rises."


def test_what_answers_the_mouse_is_a_link_or_a_still_figure():
    bench = '<figure class="sh-figure sh-workbench"><details open><table></table></details><figcaption>Choose.</figcaption></figure>'
    live = f'<div class="sh-live" data-live="reading">{FIGURE.format("It counts.")}</div>'
    made = page(text("## Part"), code("found.bench", text_html=bench), text("## More"), code("draw(x)", text_html=live))
    links = [link["href"] for link in made.select(".wall a, .notes a")]
    assert links == ["../../notebooks/01-one.html"] * 2 and not made.select(".sh-live, .sh-workbench")
    assert [said for _, said in shown(made)[1:]] == [
        "Part Choose. Open the workbench in the chapter",
        "More It counts.",
    ]


@pytest.mark.parametrize("panels", [slides.MOST_PANELS, slides.MOST_PANELS + 1])
def test_a_drawing_of_many_panels_is_shown_in_pairs(panels):
    drawn = "".join(f"<svg><text>{place}</text></svg>" for place in range(panels))
    figure = f'<figure class="sh-figure"><div class="sh-drawing">{drawn}</div><figcaption>All.</figcaption></figure>'
    made = page(text("## Part"), code("draw(x)", text_html=figure))
    found = [[svg.text for svg in slide.select("svg")] for slide in made.select(".slide")[1:]]
    few = panels <= slides.MOST_PANELS
    assert [svg for part in found for svg in part] == [str(place) for place in range(panels)]
    assert all(len(part) <= (panels if few else slides.PANELS_IN_PART) for part in found) and (len(found) == 1) is few


def test_a_value_whose_code_is_a_note_is_one_too_and_what_is_printed_is_a_value():
    long = "\n".join(f"x = {n}" for n in range(slides.MOST_LINES)) + "\nx"
    printed = code("print(1)\nx = 1")
    printed.outputs = [nbformat.v4.new_output("stream", text="1\n")]
    made = page(text("## Part\n\nA claim."), code(long, text_plain="7"), printed)
    assert [pre.text for pre in made.select(".notes pre")] == [long, "7"]
    assert [said for _, said in shown(made)[1:]] == ["Part A claim. print(1)\nx = 1 1"]


def test_code_behind_a_formula_has_a_slide_of_its_own():
    made = page(text("## Part\n\nIt is $x$:\n\n$$ x = 1 $$"), code("x = 1\nx", text_plain="1"))
    assert [said for _, said in shown(made)[1:]] == ["Part It is x : x = 1", "Part x = 1\nx 1"]


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
    [("study.draw(found)", True), ("x = f(1)", False), ("f(1)\nf(2)", False), ("x", False), ("found.bench", True), ("%time f(1)", False), ("f(\n1)", False)],
)  # fmt: skip  # a table
def test_what_counts_as_a_call(source, call):
    assert slides.is_call(source) == call


def test_a_paragraph_that_leads_to_a_formula_says_what_stands_in_it():
    made = page(
        text("## Part\n\nNo prompt. A head adds\n\n$$ x W $$\n\nto it. But what is $x$? The input. So\n\n$$ x = 1 $$")
    )
    assert shown(made)[1][1] == "Part A head adds x W The input. So x = 1"
    assert len(made.select("math[display=block]")) == 2, "formulas are set, not text"


def test_a_bold_beginning_does_not_make_a_paragraph_a_list():
    assert shown(page(text("## Part\n\n**Without it.** One. Two.\n\n- three\n- four. Five.")))[1][1] == (
        "Part Without it. One. three four. Five."
    )


def test_links_go_to_the_site():
    made = page(text("[Chapter 2](02-ov-circuit.ipynb) and [the list](../book/api.md#part)."))
    assert [link["href"] for link in made.select(".wall > p > a")] == [
        "../../notebooks/02-ov-circuit.html",
        "../../book/api.html#part",
    ]


def test_what_a_page_says_further_down_is_reached_on_the_page():
    made = page(text("## Part\n\nOf these [further below](#not-ours), of those in [chapter 2](02-two.ipynb#map)."))
    assert [link["href"] for link in made.select(".wall a")] == [
        "../../notebooks/01-one.html#not-ours",
        "../../notebooks/02-two.html#map",
    ]
