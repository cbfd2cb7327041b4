"""Slides from an executed chapter, as one page that needs no network: headings, formulas, code, figures, exercises.

A slide shows the first sentence of each paragraph, and of a figure the drawing and its one sentence. The speaker's notes
have the rest: whole paragraphs, the folds of the chapter, how a figure was measured, the code and the tables too long for
a wall, the solutions of exercises. The key `n` opens the notes below each slide, without the solutions; `s` opens those
of the slide that is seen, with them, in a window that the class does not see. Printed, a slide is a page.

Not by nbconvert (7.17, reveal.js 6.0 at its side, network cut, chapter 1): without slideshow metadata a chapter is one
slide of 15,578 px; with it in all 58 cells it is 43 slides that show whole paragraphs, the calls that draw, and exercises
and citations as raw MyST, so all below would still be needed. Formulas stay raw unless MathJax 2 comes along, the theme
does not follow the reader's, and the page needs require.js, jQuery and reveal.js, 0.35 MB in place of slides.js.
"""

import ast
import html
import re

from bs4 import BeautifulSoup
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from bookkit.editions import editions
from bookkit.site.formulas import mathml

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
MARKDOWN.use(
    dollarmath_plugin,
    double_inline=True,
    renderer=lambda text, options: mathml(text, block=options["display_mode"]),
)
SENTENCE = re.compile(r".*?[.?!](?=\s|$)", re.DOTALL)
# Longer code and longer tables are read in the notebook, not on a wall. Characters are those of what has no drawing.
MOST_LINES = 8
MOST_ROWS = 10
MOST_CHARACTERS = 650
# A drawing of more panels is shown in pairs, which is how a chapter lays them out.
MOST_PANELS = 6
PANELS_IN_PART = 2
LEFT_OUT = ("Set-up", "What is next", "References")
# A question to the reader, in bold, with its answer below it in the same fold: on the wall the question alone.
CHECK = re.compile(r"\*\*(Check in your head): (.+?)\*\*\s*(.*)", re.DOTALL)
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
<script defer src="../slides.js"></script><script defer src="../access.js"></script>
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

    def note_last(self, block):
        """In the notes of the slide that is being filled, whatever it stands under."""
        self.slides[-1]["notes"].append(block)

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
                f"<section class='slide' id='slide-{number}'><div class='wall'><h{level}>{slide['title']}</h{level}>"
                f"{''.join(slide['shown'])}</div><p class='place'>{number} / {len(kept)}</p>{notes}</section>"
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

    Returns whether a value below the cell has its code above it: whether the last part is shown. A cell that is one
    call or one attribute, such as those that draw what a study found, shows what it draws and not the call.
    """
    if is_call(source):
        return True
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
        # One sentence may lead to it; a formula, or more than one sentence, is an idea of its own.
        above = deck.slides[-1]["shown"]
        if has_code(deck.slides[-1]) or len(above) > 1 or any(r"\[" in shown for shown in above):
            deck.start(deck.section)
        deck.show(block)
    return lines_of_code(parts[-1]) <= MOST_LINES


def has_code(slide):
    return any(shown.startswith("<pre") for shown in slide["shown"])


def is_call(source):
    """Whether a cell is one line, a call of one function or an attribute, that keeps nothing. A cell with magic commands is not."""
    try:
        statements = ast.parse(source).body
    except SyntaxError:
        return False
    return (
        "\n" not in source.strip()
        and len(statements) == 1
        and isinstance(statements[0], ast.Expr)
        and isinstance(statements[0].value, (ast.Call, ast.Attribute))
    )


def lines_of_code(source):
    """Lines that are neither empty nor a comment nor a docstring of one line."""
    return sum(bool(line.strip()) and not line.strip().startswith(("#", '"""')) for line in source.splitlines())


def blocks(cell, chapter):
    """What a code cell shows: (whether it needs a slide of its own, HTML for the wall, HTML for the notes) for each output in HTML."""
    for output in cell.outputs:
        text = output.get("data", {}).get("text/html", "")
        if text:
            drawn = "<figure" in text or "sh-tabled" in text
            yield drawn, *for_wall(text, chapter)


def for_wall(text, chapter):
    """An output as (what fits a wall, what goes into the notes).

    How it was measured and the numbers behind a drawing are for the notes. Of what is too long, the wall has the
    caption, which says what was found. What answers the mouse is named, with a link to where it does.
    """
    block = BeautifulSoup(text, "html.parser")
    notes = "".join(str(fold.extract()) for fold in block.select("details.sh-details:not(.sh-circuitsvis)"))
    caption = block.select_one("figcaption, caption")
    finding = f"<p>{caption.decode_contents().strip()}</p>" if caption else ""
    if block.select_one(".sh-workbench"):
        return f"{finding}<p>{link(chapter, 'Open the workbench in the chapter')}</p>", notes
    if block.select_one(".sh-live"):
        # Its scripts stay on the chapter's page; here it is the still figure.
        block.select_one(".sh-live").unwrap()
        notes += f"<p>{link(chapter, 'In the chapter this figure answers the mouse')}</p>"
    drawn = block.select_one("svg, .sh-attention")
    rows = len(block.select("tr"))
    characters = len(block.get_text()) - len(caption.get_text() if caption else "")
    if finding and not drawn and (rows > MOST_ROWS + 1 or characters > MOST_CHARACTERS):
        return finding, str(block) + notes
    return (f"<div class='table'>{block}</div>" if rows else str(block)), notes


def in_parts(text):
    """A figure of many panels as several, each with the caption."""
    panels = BeautifulSoup(text, "html.parser").select(".sh-drawing > svg")
    if len(panels) <= MOST_PANELS:
        return [text]
    parts = []
    for start in range(0, len(panels), PANELS_IN_PART):
        part = BeautifulSoup(text, "html.parser")
        for place, panel in enumerate(part.select(".sh-drawing > svg")):
            if not start <= place < start + PANELS_IN_PART:
                panel.extract()
        parts.append(str(part))
    return parts


def link(chapter, words):
    """A link to a chapter's page on the site."""
    return f"<a href='{SITE}notebooks/{chapter}.html'>{words}</a>" if chapter else words


def add_outputs(deck, cell, chapter, *, code_shown):
    """What a code cell shows: figures and tables of ours alone, verdicts with the text, other values below their code."""
    for alone, block, notes in blocks(cell, chapter):
        for part in in_parts(block):
            (deck.show_alone if alone else deck.show)(part)
        if notes:
            deck.note(notes)
    for output in cell.outputs:
        data = output.get("data", {"text/plain": output.get("text", "").rstrip()})
        if "text/html" in data:
            continue
        if "text/markdown" in data:
            add_text(deck, data["text/markdown"])
        elif 0 < len(data.get("text/plain", "").splitlines()) <= MOST_LINES:
            value = f"<pre class='value'>{html.escape(data['text/plain'])}</pre>"
            # A value whose code is not on the wall says nothing there.
            (deck.show if code_shown else deck.note)(value)


def answer(code, said, plain):
    """The solution of an exercise, for the speaker alone."""
    text = f"<p><strong>Solution.</strong></p><pre><code>{html.escape(code.rstrip())}</code></pre>"
    return f"<div class='answer'>{text}{MARKDOWN.render(plain(said))}</div>"


def slides(notebook, *, works, numbers, chapter=""):
    """An executed chapter as one HTML page. `numbers` are those of the book's exercises, by label.

    `chapter` is the name by which the site has it; without one nothing leads there.
    """

    def plain(markdown):
        text = editions.plain(markdown, works=works, numbers=numbers, site=SITE)
        text = CHAPTER.sub(rf"]({SITE}notebooks/\1.html", text)
        # What a page says further down may not be on a slide.
        return text.replace("](#", f"]({SITE}notebooks/{chapter}.html#") if chapter else text

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
            if solution := editions.SOLUTION.search(cell.source):
                asked = False
                deck.note_last(answer(solution.group(2), solution.group(3), plain))
                deck.start(deck.section)
            elif "glance" in tags or (section in LEFT_OUT and not headings):
                continue
            elif exercise:
                asked = True
                deck.start(f"Exercise {numbers[exercise.group(1)]}")
                hint = "".join(
                    f"<p><strong>Hint.</strong></p>{MARKDOWN.render(plain(said))}"
                    for said in editions.HINT.findall(exercise.group(2))
                )
                deck.show(MARKDOWN.render(plain(editions.HINT.sub("", exercise.group(2)))), hint)
            elif section == "Exercises":
                continue
            elif check := CHECK.match(text) if "fold" in tags else None:
                deck.start(check.group(1))
                question = check.group(2)
                deck.show(MARKDOWN.render(question[0].upper() + question[1:]))
                deck.note_last(f"<div class='answer'>{MARKDOWN.render(check.group(3))}</div>")
                deck.start(deck.section)
            elif "fold" in tags:
                deck.note(MARKDOWN.render(text))
            else:
                add_text(deck, text)
        elif asked or "remove-cell" in tags or "records.save(" in cell.source:
            continue  # answers and checks; installs the package, or says where the figures are kept
        elif section in (*LEFT_OUT, "Exercises"):
            continue
        elif "fold" in tags:
            for _, block, notes in blocks(cell, chapter):
                deck.note(block + notes)
        else:
            folded = tags & {"hide-input", "remove-input", "parameters", "injected-parameters"}
            code_shown = bool(folded) or add_code(deck, cell.source)
            add_outputs(deck, cell, chapter, code_shown=code_shown)
    title = re.sub(r"<[^>]+>", "", next(slide["title"] for slide in deck.slides if slide["title"]))
    return PAGE.format(title=title, slides="\n".join(deck.render()))


def count(page):
    """How many slides a page of them has."""
    return page.count("<section class='slide'")
