"""Where things lie in _build, and which model is meant. Whatever builds asks here.

A model's name as a folder's and the default model are the library's own: `successor_heads.files`.
"""

from pathlib import Path

from successor_heads.files import DEFAULT_MODEL, RECORDS, slug

__all__ = ["DEFAULT_MODEL", "RECORDS", "slug"]

# Stands for a chapter where a model is too large for any: its scores alone.
SCORE = "score"
# What a build was asked for.
SETTINGS = Path("_build/settings.json")
# What a sweep is to run and what came of it, and what came of the last nightly run.
PLAN = Path("_build/sweep/plan.json")
SWEEP = Path("_build/sweep/sweep.json")
NIGHT = Path("_build/sweep/night.json")


def pages(toc):
    """The book's pages in the order of a table of contents as _toc.yml holds it, without their endings."""
    match toc:
        case dict():
            own = [toc[key] for key in ("root", "file") if key in toc]
            return own + [page for key in ("parts", "chapters", "sections") for page in pages(toc.get(key, []))]
        case list():
            return [page for entry in toc for page in pages(entry)]


def chapters(root="."):
    """The chapters in the order of _toc.yml. Any other notebook in their folder is a reader's own, and left alone."""
    import yaml  # here, because the nightly run's bookkeeping does without it

    found = pages(yaml.safe_load(Path(root, "_toc.yml").read_text(encoding="utf8")))
    return [page.removeprefix("notebooks/") for page in found if page.startswith("notebooks/")]


def notebook(chapter):
    """A chapter as it is written."""
    return f"notebooks/{chapter}.ipynb"


def subject(name):
    """The model as the notebooks, which run in their own folder, can find it: a path on disk becomes absolute."""
    on_disk = name.startswith((".", "/", "~")) or (
        Path(name).exists() and not name.startswith(("grown/", "published/"))
    )
    return str(Path(name).expanduser().resolve()) if on_disk else name


def site(model):
    """Folder of the site: the default model's is the book, any other model's stands beside it."""
    return "_build/site" if model == DEFAULT_MODEL else f"_build/site-{slug(model)}"


def index(model):
    """First page of that site."""
    return f"{site(model)}/_build/html/index.html"


def executed(slug, chapter):
    """The executed copy of a chapter."""
    return f"_build/executed/{slug}/{chapter}.ipynb"


def failed(slug, chapter):
    """What is left of a chapter that failed: the copy up to the cell, or the reason alone where there is no notebook."""
    return f"_build/executed/{slug}/{chapter}.failed.{'json' if chapter == SCORE else 'ipynb'}"


def record(slug, chapter):
    """The record that a chapter leaves, or that of the scores."""
    return f"{RECORDS}/{slug}/{chapter}.json"


def result(slug, chapter):
    """The file that is there when a chapter, or the scores, went well."""
    return record(slug, SCORE) if chapter == SCORE else executed(slug, chapter)
