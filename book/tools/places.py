"""Where things lie in _build. The Snakefile and build.py both ask here."""

from pathlib import Path

DEFAULT_MODEL = "grown/pythia"
# Stands for a chapter where a model is too large for any: its scores alone.
SCORE = "score"


def subject(name):
    """The model as the notebooks, which run in their own folder, can find it: a path on disk becomes absolute."""
    on_disk = name.startswith((".", "/", "~")) or (Path(name).is_dir() and not name.startswith("grown/"))
    return str(Path(name).expanduser().resolve()) if on_disk else name


def slug(model):
    """The model's name as a folder's name, as in successor_heads.records."""
    return model.strip("/").replace("/", "__")


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
    return f"_build/records/{slug}/{chapter}.json"


def result(slug, chapter):
    """The file that is there when a chapter, or the scores, went well."""
    return record(slug, SCORE) if chapter == SCORE else executed(slug, chapter)
