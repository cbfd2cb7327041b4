"""The page of quizzes: every question with its choices, and below each, folded, what there is to say about all four."""

from bookkit import numbering
from bookkit.site.words import title
from successor_heads.exercises import quiz

PAGE = "book/teaching/quiz.md"
PLACE = "{{ quiz }}"


def write(site, notebooks):
    """Put the questions into their page of the site, by chapter. A site without that page has no quiz."""
    page = site / PAGE
    if not page.exists():
        return
    chapters = [section(notebook) for notebook in notebooks]
    page.write_text(page.read_text(encoding="utf8").replace(PLACE, "\n\n".join(chapters)), encoding="utf8")


def section(notebook):
    """A chapter's questions as Markdown, under the chapter's title."""
    chapter = numbering.chapter_number(notebook.metadata["successor_heads"]["chapter"])
    return "\n\n".join([f"## {title(notebook)}", *map(asked, quiz.of_chapter(chapter))])


def asked(question):
    """One question as Markdown, its answer folded."""
    said = "\n".join(
        f"- **{letter}** {'**Right.**' if letter == question.right else 'No.'} {why}"
        for letter, why in question.because.items()
    )
    return f"{question.as_markdown()}\n\n:::{{admonition}} Answer\n:class: dropdown\n{said}\n:::"
