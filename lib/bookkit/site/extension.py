"""Sphinx extension of this book: what its pages load, say of themselves, and show to those who cannot see them."""

import html
import re
from pathlib import Path
from urllib.parse import urljoin

from bookkit import numbering
from bookkit.site import folds, formulas, loading, search

THEBE = ("thebe",)
# What docutils and the theme write and no screen reader understands: roles without their children, names that hide the words.
UNHEARD = {
    ' role="doc-biblioentry"': "",
    '<div role="list" class="citation-list">': '<div class="citation-list">',
    '<summary aria-label="Toggle hidden content">': "<summary>",
}
SIGNATURE = re.compile(r'<dt class="sig .*?</dt>', re.DOTALL)


def choose_scripts(app, page, template, context, doctree):
    """Give the workbench and living figures their scripts, and drop those of tabs where there are none, and of thebe, which is off here and fills the console with errors."""
    dropped = THEBE if "sd-tab-set" in context.get("body", "") else (*THEBE, "design-tabs")
    if "sh-workbench" in context.get("body", ""):
        app.add_js_file("workbench.js", priority=100)
        app.add_css_file("workbench.css", priority=900)  # behind the theme's tables
    if "sh-rubric" in context.get("body", ""):
        app.add_js_file("rubric.js", loading_method="defer")
    if "sh-live" in context.get("body", ""):
        app.add_css_file("live/live.css")
        kind = "play" if 'data-live="play"' in context["body"] else "figures"
        for place, name in enumerate(("parts", kind)):
            app.add_js_file(f"live/{name}.js", priority=100 + place, loading_method="defer")
    context["script_files"] = [
        script
        for script in context.get("script_files", [])
        if not any(word in f"{script} {getattr(script, 'attributes', {})}".lower() for word in dropped)
    ]


def mend_markup(app, page, template, context, doctree):
    """Take out of a page what axe finds in it and no setting turns off."""
    body = context.get("body", "")
    for found, better in UNHEARD.items():
        body = body.replace(found, better)
    context["body"] = SIGNATURE.sub(lambda signature: lines_for_lists(signature.group()), body)


def lines_for_lists(signature):
    """A function's signature with its parameters in lines: autodoc makes a list of definitions without a term of them."""
    for tag in ("dl", "dd"):
        signature = signature.replace(f"<{tag}>", f'<div class="sh-{tag}">').replace(f"</{tag}>", "</div>")
    return signature


def first_paragraph(body, most=200):
    """The first running text of a page without its tags, cut at a word: what a link to the page shows."""
    found = re.search(r"<p>(.*?)</p>", body, re.DOTALL)
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", "", found.group(1))).split()) if found else ""
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0] + " …"


def preview(app, page, template, context, doctree):
    """Describe a page to those that show a preview of a link. Addresses have to be whole, so the picture needs `html_baseurl`."""
    if doctree is None:  # the index, the search page
        return
    tags = {
        "og:type": "article",
        "og:site_name": app.config.html_title,
        "og:title": html.unescape(re.sub(r"<[^>]+>", "", context["title"])),
        "og:description": first_paragraph(context["body"]),
        "twitter:card": "summary_large_image",
    }
    if app.config.html_baseurl:
        tags["og:url"] = urljoin(app.config.html_baseurl, f"{page}.html")
        tags["og:image"] = urljoin(app.config.html_baseurl, "_static/preview.png")
        tags["og:image:alt"] = "Six tokens flow into one attention head, and their successors come out."
    lines = [f'<meta property="{name}" content="{html.escape(value)}" />' for name, value in tags.items() if value]
    lines.append(f'<meta name="description" content="{html.escape(tags["og:description"])}" />')
    context["metatags"] = "\n".join([context.get("metatags", ""), *lines])


def number_exercises(app, env):
    """Exercise 3.2 is the second of chapter 3, where Sphinx would count on from chapter to chapter."""
    numbers = numbering.of_chapters(sorted(Path(app.srcdir, "notebooks").glob("*.ipynb")))
    for figures in env.toc_fignumbers.values():
        # By their ids, which are their labels.
        for label in figures.get("exercise", {}):
            figures["exercise"][label] = tuple(int(part) for part in numbers[label].split("."))
    return []  # no page is to be read anew


def skip_fields(app, what, name, obj, skip, options):
    """Leave out the fields of named tuples, which Python describes as "Alias for field number 0": the signature has them."""
    return True if str(obj.__doc__).startswith("Alias for field number") else None


def setup(app):
    folds.setup(app)
    search.setup(app)
    formulas.setup(app)
    loading.setup(app)
    app.connect("env-get-updated", number_exercises, priority=900)  # after Sphinx has counted
    # Late, so that the scripts that other extensions add for this page are there to be looked at.
    app.connect("html-page-context", choose_scripts, priority=900)
    app.connect("html-page-context", mend_markup, priority=900)
    app.connect("html-page-context", preview, priority=900)
    app.setup_extension("sphinx.ext.autodoc")  # whose event this is
    app.connect("autodoc-skip-member", skip_fields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
