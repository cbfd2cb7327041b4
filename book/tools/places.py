"""Where things lie in _build. The Snakefile and build.py both ask here."""

from pathlib import Path

DEFAULT_MODEL = "grown/pythia"


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
