"""The whole book as one PDF: the built pages, in their order, printed by the browser.

    python -m bookkit.site.pdf _build/site/_build/html

writes _static/successor-heads.pdf there, and a link to it into the pages that leave a place for one. It prints what was
built and builds nothing, so a site without a PDF has no dead link. It needs Chromium or Chrome.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup

from bookkit import places

NAME = "_static/successor-heads.pdf"
PLACE = '<span class="sh-pdf"></span>'
# Seconds of the page's own time that formulas may take; the browser skips what is waiting.
BUDGET = 120
PAGE = """<!doctype html>
<html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8"><title>{title}</title>
{styles}
<link rel="stylesheet" href="_static/print.css">
</head><body class="sh-print"><main>
<header><h1>{title}</h1><p>{author}</p></header>
<nav><h1>Contents</h1><ol>{contents}</ol></nav>
{chapters}
</main></body></html>
"""


def part_of(page):
    """What every name on a page begins with once all pages are one."""
    return page.replace("/", "-")


def chapter(html, page, pages):
    """The article of a built page as a part of the whole: names made its own, links within the book turned to places here."""
    soup = BeautifulSoup((html / f"{page}.html").read_text(encoding="utf8"), "html.parser")
    article = soup.select_one("article.bd-article")
    for useless in article.select(".headerlink, .sh-pdf, .prev-next-footer, noscript"):
        useless.decompose()
    for named in article.select("[id]"):
        # Scripts find their attention view by its name, and drawings their own parts; both are unique already.
        if not named.find_parent("svg") and not named["id"].startswith("cv-"):
            named["id"] = f"{part_of(page)}--{named['id']}"
    folder = (html / page).parent
    for link in article.select("a[href]"):
        address = urlsplit(link["href"])
        if address.scheme:
            continue
        target = os.path.relpath(
            (folder / unquote(address.path)).resolve() if address.path else html / f"{page}.html", html.resolve()
        )
        if target.removesuffix(".html") in pages:
            place = part_of(target.removesuffix(".html"))
            link["href"] = f"#{place}--{address.fragment}" if address.fragment else f"#{place}"
        else:
            link.unwrap()  # a file to download, which paper does not have
    for picture in article.select("img[src]"):
        if not urlsplit(picture["src"]).scheme:
            picture["src"] = os.path.relpath((folder / picture["src"]).resolve(), html.resolve())
    for folded in article.select("details"):
        if not {"hide", "sh-source", "sh-circuitsvis"} & set(folded.get("class", [])):
            folded["open"] = ""
    article["id"] = part_of(page)
    return article


def browser():
    """The path of a browser that can print. Exits with a sentence where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    sys.exit("The PDF needs a browser: install chromium, or google-chrome, and call this again.")


def print_book(html):
    """Print the site in the folder `html`; returns the PDF's path."""
    source = html.parent.parent  # where the site was put together
    settings, toc = (yaml.safe_load((source / name).read_text("utf8")) for name in ("_config.yml", "_toc.yml"))
    pages = places.pages(toc)
    articles = [chapter(html, page, pages) for page in pages]
    index = BeautifulSoup((html / f"{toc['root']}.html").read_text(encoding="utf8"), "html.parser")
    styles = [Path(link["href"].split("?")[0].removeprefix("../")) for link in index.select("link[rel=stylesheet]")]
    whole = html / "_whole.html"
    whole.write_text(
        PAGE.format(
            title=settings["title"],
            author=settings["author"],
            styles="\n".join(f'<link rel="stylesheet" href="{style.as_posix()}">' for style in styles),
            contents="".join(
                f'<li><a href="#{article["id"]}">{article.find("h1").get_text()}</a></li>' for article in articles
            ),
            chapters="\n".join(str(article) for article in articles),
        ),
        encoding="utf8",
    )
    pdf = html / NAME
    pdf.unlink(missing_ok=True)
    flags = f"--headless --no-sandbox --disable-gpu --enable-unsafe-swiftshader --no-pdf-header-footer --generate-pdf-document-outline --virtual-time-budget={BUDGET * 1000}"
    done = subprocess.run(
        [browser(), *flags.split(), f"--print-to-pdf={pdf.resolve()}", whole.resolve().as_uri()],
        capture_output=True,
        text=True,
        timeout=900,
    )
    whole.unlink()
    if not pdf.exists():
        sys.exit(f"The browser printed nothing:\n{done.stderr}")
    return pdf


def link(html, pdf):
    """Put a link to the PDF into every page that has a place for one."""
    for path in html.rglob("*.html"):
        text = path.read_text(encoding="utf8")
        if PLACE in text:
            address = os.path.relpath(pdf, path.parent)
            path.write_text(
                text.replace(
                    PLACE,
                    f'<a class="sh-pdf" href="{address}">The book as a PDF</a> ({pdf.stat().st_size / 1e6:.0f} MB).',
                ),
                encoding="utf8",
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("html", type=Path, nargs="?", default=Path("_build/site/_build/html"))
    html = parser.parse_args().html
    if not (html / "index.html").exists():
        sys.exit(f"There is no built book in {html}: run `make book` first.")
    pdf = print_book(html)
    link(html, pdf)
    print(f"{pdf} ({pdf.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
