"""Slides from an executed chapter, as one page that needs no network: headings, formulas, code, figures, exercises.

A slide shows the first sentence of each paragraph; the whole of it is in the notes below, which the key `n` opens, with
the folds of the chapter and the code too long for a wall. Printed, a slide is a page.

Not by nbconvert (7.17, reveal.js 6.0 at its side, network cut, chapter 1): without slideshow metadata a chapter is one
slide of 15,578 px; with it in all 58 cells it is 43 slides that show whole paragraphs, the calls that draw, and exercises
and citations as raw MyST, so all below would still be needed. Formulas stay raw unless MathJax 2 comes along, the theme
does not follow the reader's, and the page needs require.js, jQuery and reveal.js, 0.35 MB in place of 19 lines of our own.
"""

import ast
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
MOST_LINES = 8
LEFT_OUT = ("Set-up", "What is next", "References")
# From the folder of the slides to the root of the site, and there to another chapter.
SITE = "../../"
CHAPTER = re.compile(r"\]\((\d\d-[\w-]+)\.ipynb")

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
    """Slides as they are filled: each has a title, what is shown, and notes. `section` is the heading they stand under."""

    def __init__(self):
        self.slides = []
        self.section = ""

    def start(self, title):
        self.slides.append({"title": title, "shown": [], "notes": []})

    def start_section(self, title):
        self.section = title
        self.start(title)

    def show(self, block, notes=""):
        self.slides[-1]["shown"].append(block)
        if notes:
            self.slides[-1]["notes"].append(notes)

    def show_alone(self, block):
        """With a sentence above it at the most, under the same title."""
        if len(self.slides[-1]["shown"]) > 1 or has_code(self.slides[-1]):
            self.start(self.slides[-1]["title"])
        self.show(block)
        self.start(self.slides[-1]["title"])

    def note(self, block):
        """In the notes of the section's last slide, which an exercise may follow."""
        filled = (slide for slide in reversed(self.slides) if slide["shown"] and slide["title"] == self.section)
        next(filled, self.slides[-1])["notes"].append(block)

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
    """A markdown cell: its headings begin slides; of a paragraph the first sentence is shown, of anything else all.

    A paragraph that leads to a formula shows its last sentence, which names what stands in the formula.
    """
    blocks = re.split(r"\n\n+", markdown.strip())
    for block, after in zip(blocks, [*blocks[1:], ""], strict=True):
        if heading := re.match(r"(#{1,3}) (.+)", block):
            deck.start_section(MARKDOWN.renderInline(heading.group(2)))
            block = block[heading.end() :].strip()
        if not block:
            continue
        if has_code(deck.slides[-1]):
            deck.start(deck.section)
        if re.match(r"[-*] |[|<$]|\d+\. ", block):
            deck.show(MARKDOWN.render(block))
        else:
            sentences = SENTENCE.findall(block) or [block]
            unfinished = block[len("".join(sentences)) :]
            # An unfinished sentence of a word or two says nothing alone: "So", "Then".
            last = unfinished if len(unfinished.split()) > 2 else sentences[-1] + unfinished
            shown = last if after.startswith("$$") else sentences[0]
            deck.show(MARKDOWN.render(shown.strip()), MARKDOWN.render(block))


def add_code(deck, source):
    """A code cell in parts of a few lines, cut where it has empty lines; a part that is longer is a note.

    A cell of one call, such as those that draw what a study found, shows what it draws and not the call.
    """
    if is_call(source):
        return
    parts: list[str] = []
    for part in re.split(r"\n\n+(?=\S)", source.strip()):
        if parts and lines_of_code(f"{parts[-1]}\n{part}") <= MOST_LINES:
            parts[-1] += f"\n\n{part}"
        else:
            parts.append(part)
    for part in parts:
        block = f"<pre><code>{html.escape(part)}</code></pre>"
        if lines_of_code(part) > MOST_LINES:
            deck.note(block)
            continue
        if has_code(deck.slides[-1]):
            deck.start(deck.section)
        deck.show(block)


def has_code(slide):
    return any(shown.startswith("<pre") for shown in slide["shown"])


def is_call(source):
    """Whether a cell is one line that calls one function and keeps nothing. A cell with magic commands is not."""
    try:
        statements = ast.parse(source).body
    except SyntaxError:
        return False
    return (
        "\n" not in source.strip()
        and len(statements) == 1
        and isinstance(statements[0], ast.Expr)
        and isinstance(statements[0].value, ast.Call)
    )


def lines_of_code(source):
    """Lines that are neither empty nor a comment nor a docstring of one line."""
    return sum(bool(line.strip()) and not line.strip().startswith(("#", '"""')) for line in source.splitlines())


def blocks(cell):
    """What a code cell shows: (whether it needs a slide of its own, HTML) for each figure, table and verdict."""
    for output in cell.outputs:
        text = output.get("data", {}).get("text/html", "")
        if text:
            drawn = "<figure" in text or "sh-tabled" in text
            yield drawn, f"<div class='table'>{text}</div>" if "<table" in text else text


def add_outputs(deck, cell):
    """What a code cell shows: figures and tables of ours alone, verdicts with the text, other values below their code."""
    for alone, block in blocks(cell):
        (deck.show_alone if alone else deck.show)(block)
    for output in cell.outputs:
        data = output.get("data", {})
        if "text/html" in data:
            continue
        if "text/markdown" in data:
            add_text(deck, data["text/markdown"])
        elif 0 < len(data.get("text/plain", "").splitlines()) <= MOST_LINES:
            deck.show(f"<pre class='value'>{html.escape(data['text/plain'])}</pre>")


def slides(notebook, *, works, numbers):
    """An executed chapter as one HTML page. `numbers` are those of the book's exercises, by label."""

    def plain(markdown):
        text = editions.plain(markdown, works=works, numbers=numbers, site=SITE)
        return CHAPTER.sub(rf"]({SITE}notebooks/\1.html", text)

    deck, section, asked = Deck(), "", False
    deck.start("")
    for cell in notebook.cells:
        tags = set(cell.metadata.get("tags", []))
        if cell.cell_type == "markdown":
            exercise = editions.EXERCISE.search(cell.source)
            text = plain(cell.source)
            headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
            # The last headings often share a cell: what is left out goes by each one's own.
            parts = re.split(r"(?m)^(?=## )", text)
            text = "\n\n".join(part for part in parts if not part.startswith(tuple(f"## {name}" for name in LEFT_OUT)))
            section = headings[-1] if headings else section
            if editions.SOLUTION.search(cell.source):
                asked = False
                deck.start(deck.section)
            elif "glance" in tags or (section in LEFT_OUT and not headings):
                continue
            elif exercise:
                asked = True
                deck.start(f"Exercise {numbers[exercise.group(1)]}")
                deck.show(MARKDOWN.render(plain(editions.HINT.sub("", exercise.group(2)))))
            elif section == "Exercises":
                continue
            elif "fold" in tags:
                deck.note(MARKDOWN.render(text))
            else:
                add_text(deck, text)
        elif asked or "remove-cell" in tags or "records.save(" in cell.source:
            continue  # answers and checks; installs the package, or says where the figures are kept
        elif section in (*LEFT_OUT, "Exercises"):
            continue
        elif "fold" in tags:
            for _, block in blocks(cell):
                deck.note(block)
        else:
            if not tags & {"hide-input", "remove-input", "parameters", "injected-parameters"}:
                add_code(deck, cell.source)
            add_outputs(deck, cell)
    title = re.sub(r"<[^>]+>", "", next(slide["title"] for slide in deck.slides if slide["title"]))
    return PAGE.format(title=title, slides="\n".join(deck.render()))
