"""The texts that search shows its excerpts from.

Sphinx's own search asks for each page that it found, and a browser that reads the book from a folder refuses to read
other pages. So the words of all pages stand in one script, which the search page alone loads. book/_static/search.js
makes the excerpts.
"""

import json
import re
from pathlib import Path

from bs4 import BeautifulSoup

NAME = "searchtexts.js"
# A drawing's labels are no sentences, code is found by the pages of the library, and a link's mark is no word.
UNSAID = ".highlight, .headerlink, .sh-drawing, input, button, template"
ARTICLE = re.compile(r"<article\b.*</article>", re.DOTALL)
# The rest is parsed in half the time without what takes most of a chapter's bytes.
HEAVY = re.compile(r"<(svg|script|style|pre)\b.*?</\1>", re.DOTALL)
BLOCKS = ("p", "dt", "li", "td", "th", "figcaption", "caption", "summary")


def paragraphs(page):
    """What a built page says, in order, without its titles: [text]."""
    found = ARTICLE.search(page)
    if found is None:
        return []
    article = BeautifulSoup(HEAVY.sub("", found.group()), "html.parser")
    for tag in article.select(UNSAID):
        tag.decompose()
    for term in article.select("dl.glossary > dt"):
        if said := term.find_next("p"):
            said.insert(0, f"{term.get_text().strip()}: ")
            term.decompose()
    # The innermost blocks: a cell of a table that holds a paragraph would say it twice.
    blocks = [block for block in article.find_all(BLOCKS) if not block.find(BLOCKS)]
    texts = (" ".join(block.get_text().split()) for block in blocks)
    return [text for text in texts if text]


def write(app, error):
    """When the pages are there: write their words beside the other scripts."""
    if error or app.builder.format != "html":
        return
    folder = Path(app.outdir)
    texts = {
        page: paragraphs((folder / f"{page}.html").read_text(encoding="utf8")) for page in sorted(app.env.found_docs)
    }
    script = f"window.SH_TEXTS = {json.dumps(texts, ensure_ascii=False, separators=(',', ':'))};\n"
    (folder / "_static" / NAME).write_text(script, encoding="utf8")


def load(app, page, template, context, doctree):
    """Have the search page load them."""
    if page == "search":
        app.add_js_file(NAME, priority=100)


def setup(app):
    app.connect("html-page-context", load)
    app.connect("build-finished", write)
