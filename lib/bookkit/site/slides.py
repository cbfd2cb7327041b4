"""Slides from an executed chapter, as one page that needs no network: headings, formulas, code, figures, exercises.

A slide shows the first sentence of each paragraph; the whole of it is in the notes below, which the key `n` opens.
Printed, a slide is a page.
"""

import html
import re

from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from bookkit.editions import editions

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
MARKDOWN.use(
    dollarmath_plugin,
    double_inline=True,
    renderer=lambda text, options: (
        rf"\[{html.escape(text)}\]" if options["display_mode"] else rf"\({html.escape(text)}\)"
    ),
)
SENTENCE = re.compile(r".*?[.?!](?=\s|$)", re.DOTALL)
# Longer code is read in the notebook, not on a wall.
MOST_LINES = 22
LEFT_OUT = ("Set-up", "What is next", "References")

PAGE = """<!doctype html>
<html lang="en" data-theme="light">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} – slides</title>
<link rel="stylesheet" href="../book.css"><link rel="stylesheet" href="../slides.css">
<script>if (matchMedia("(prefers-color-scheme: dark)").matches) document.documentElement.dataset.theme = "dark";</script>
<script defer src="../vendor/mathjax-tex-svg.js"></script><script defer src="../circuitsvis.js"></script><script defer src="../slides.js"></script><script defer src="../access.js"></script>
</head>
<body>
<main>
{slides}
</main>
</body>
</html>
"""


class Deck:
    """Slides as they are filled: each has a title, what is shown, and notes."""

    def __init__(self):
        self.slides = []

    def start(self, title):
        self.slides.append({"title": title, "shown": [], "notes": []})

    def show(self, block, notes=""):
        self.slides[-1]["shown"].append(block)
        if notes:
            self.slides[-1]["notes"].append(notes)

    def show_alone(self, block):
        """With a sentence above it at the most, under the same title."""
        if len(self.slides[-1]["shown"]) > 1:
            self.start(self.slides[-1]["title"])
        self.show(block)
        self.start(self.slides[-1]["title"])

    def render(self):
        kept = [slide for slide in self.slides if slide["shown"]]
        for number, slide in enumerate(kept, start=1):
            level = 1 if number == 1 else 2
            notes = (
                f"<details class='notes'><summary>Notes</summary>{''.join(slide['notes'])}</details>"
                if slide["notes"]
                else ""
            )
            yield (
                f"<section class='slide' id='slide-{number}'><h{level}>{slide['title']}</h{level}>{''.join(slide['shown'])}"
                f"{notes}<p class='place'>{number} / {len(kept)}</p></section>"
            )


def add_text(deck, markdown):
    """A markdown cell: its headings begin slides; of a paragraph the first sentence is shown, of anything else all."""
    for block in re.split(r"\n\n+", markdown.strip()):
        if heading := re.match(r"(#{1,3}) (.+)", block):
            deck.start(MARKDOWN.renderInline(heading.group(2)))
            block = block[heading.end() :].strip()
        if not block:
            continue
        if re.match(r"[-*|<$]|\d+\. ", block):
            deck.show(MARKDOWN.render(block))
        else:
            first = SENTENCE.match(block)
            deck.show(MARKDOWN.render(first.group() if first else block), MARKDOWN.render(block))


def add_outputs(deck, cell):
    """What a code cell shows: figures stand alone, sentences go with the text, tables stay below their code."""
    for output in cell.outputs:
        data = output.get("data", {})
        if "<figure" in data.get("text/html", ""):
            deck.show_alone(data["text/html"])
        elif "text/html" in data:
            deck.show(f"<div class='table'>{data['text/html']}</div>")
        elif "text/markdown" in data:
            add_text(deck, data["text/markdown"])


def slides(notebook, *, works, numbers):
    """An executed chapter as one HTML page. `numbers` are those of the book's exercises, by label."""
    deck, section = Deck(), ""
    deck.start("")
    for cell in notebook.cells:
        tags = set(cell.metadata.get("tags", []))
        if cell.cell_type == "markdown":
            exercise = editions.EXERCISE.search(cell.source)
            text = editions.plain(cell.source, works=works, numbers=numbers, site="")
            headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
            # The last headings often share a cell: what is left out goes by each one's own.
            parts = re.split(r"(?m)^(?=## )", text)
            text = "\n\n".join(part for part in parts if not part.startswith(tuple(f"## {name}" for name in LEFT_OUT)))
            section = headings[-1] if headings else section
            if "glance" in tags or editions.SOLUTION.search(cell.source) or (section in LEFT_OUT and not headings):
                continue
            if exercise:
                deck.start(f"Exercise {numbers[exercise.group(1)]}")
                asked = editions.HINT.sub("", exercise.group(2))
                deck.show(MARKDOWN.render(editions.plain(asked, works=works, numbers=numbers, site="")))
            elif section == "Exercises":
                continue
            else:
                add_text(deck, text)
        elif "remove-cell" in tags or "records.save(" in cell.source:
            continue  # installs the package, or says where the figures are kept
        elif section not in (*LEFT_OUT, "Exercises"):
            if not tags & {"hide-input", "remove-input", "parameters"} and cell.source.count("\n") < MOST_LINES:
                deck.show(f"<pre><code>{html.escape(cell.source)}</code></pre>")
            add_outputs(deck, cell)
    title = re.sub(r"<[^>]+>", "", next(slide["title"] for slide in deck.slides if slide["title"]))
    return PAGE.format(title=title, slides="\n".join(deck.render()))
