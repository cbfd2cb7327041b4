"""Numbers of chapters and exercises, the same on the site, in the editions, on the slides and in the teaching pages.

A chapter's number is in its file's name, 03-mod-10-features, and its title begins with it. Exercise 3.2 is the second
of chapter 3, in the order in which the notebook has them.
"""

import re
from pathlib import Path

import nbformat

from bookkit import places

LABEL = re.compile(r"```\{exercise(?:-start)?\}[^\n]*\n:label: (\S+)")
REFERENCE = re.compile(r"\{ref\}`(ex-[\w-]+)`")


def chapter_number(stem):
    """3 of '03-mod-10-features'."""
    return int(stem.partition("-")[0])


def exercises(notebook, stem):
    """The exercises of a chapter in their order: label to number, as in {'ex-noise': '3.3'}."""
    labels = [label for cell in notebook.cells if cell.cell_type == "markdown" for label in LABEL.findall(cell.source)]
    return {label: f"{chapter_number(stem)}.{place}" for place, label in enumerate(labels, start=1)}


def of_book(root="."):
    """The exercises of all chapters of the project in the folder `root`: label to number."""
    return of_chapters(Path(root, places.notebook(chapter)) for chapter in places.chapters(root))


def of_chapters(paths):
    """The exercises of these chapters: label to number."""
    return {
        label: number
        for path in paths
        for label, number in exercises(nbformat.read(path, as_version=4), path.stem).items()
    }


def spelled(markdown, numbers):
    """Markdown in which references to exercises are words, for what is no page of the site. KeyError for an unknown label."""
    return REFERENCE.sub(lambda found: f"Exercise {numbers[found[1]]}", markdown)
