"""A copy of the book that was told its address: where the links of its pages lead."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup

from bookkit import places
from bookkit.editions import colab, editions
from bookkit.site import assemble

ROOT = Path(__file__).parents[2]
OWN = ("notebooks", "_config.yml", "_toc.yml", "pyproject.toml")  # what `make address` writes to, or reads
# Chapters and pages of which a site is soon built: what leads to their notebooks is the same on all of them.
CHAPTERS = places.chapters(ROOT)[:2]
PAGES = ["book/teaching/index"]
HERE, BRANCH = "someone/fork", "next"
URL = f"https://github.com/{HERE}"


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of the project after `make address REPOSITORY=someone/fork BRANCH=next`."""
    folder = tmp_path_factory.mktemp("fork")
    for path in ROOT.iterdir():
        if path.name in OWN:
            (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / path.name)
        elif path.name not in ("_build", ".git"):
            (folder / path.name).symlink_to(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["colab.py", "--repository", HERE, "--branch", BRANCH])
        colab.main()
    return folder


def lay(folder, site):
    """Assemble the site from chapters that have not run, with what _config.yml of `folder` says of its address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        chapters = [Path(places.notebook(chapter)) for chapter in places.chapters()]
        assemble.assemble(site, model=places.DEFAULT_MODEL, notebook_paths=chapters, record_paths=[], repository="")
    return site


@pytest.fixture(scope="module")
def pages(copied):
    """The copy's pages as Jupyter Book builds them, parsed."""
    site = lay(copied, copied / "_build" / "site")
    chapters = [{"file": page} for page in [*(f"notebooks/{chapter}" for chapter in CHAPTERS), *PAGES]]
    (site / "_toc.yml").write_text(yaml.safe_dump({"format": "jb-book", "root": "book/index", "chapters": chapters}))
    command = [Path(sys.executable).with_name("jupyter-book"), "build", "-q", site]
    # Links to the pages that were left out are told, and no matter here.
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT / "lib")})
    assert done.returncode == 0, done.stderr
    html = site / "_build" / "html"
    return {
        path.relative_to(html).with_suffix("").as_posix(): BeautifulSoup(path.read_text(encoding="utf8"), "html.parser")
        for path in html.glob("*/**/*.html")
        if "_static" not in path.parts
    }


def links(page, word):
    return {link["href"] for link in page.select("a[href]") if word in link["href"]}


@pytest.mark.book
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_opens_in_colab_and_on_binder_as_it_lies_in_the_repository(copied, pages, chapter):
    page, notebook = pages[f"notebooks/{chapter}"], places.notebook(chapter)
    assert (copied / notebook).is_file()
    assert links(page, "colab.research") == {
        f"https://colab.research.google.com/github/{HERE}/blob/{BRANCH}/{notebook}"
    }
    assert links(page, "mybinder.org") == {f"https://mybinder.org/v2/gh/{HERE}/{BRANCH}?urlpath=lab/tree/{notebook}"}
    assert (copied / "environment.yml").is_file(), "Binder makes its machine from it"
    assert URL in links(page, "github.com") and any(link.startswith(f"{URL}/issues") for link in links(page, URL))
    assert (
        page.select_one("meta[property='og:url']")["content"]
        == f"https://someone.github.io/fork/notebooks/{chapter}.html"
    )


@pytest.mark.book
def test_a_page_that_is_no_notebook_offers_no_colab_of_itself(pages):
    assert not links(pages["book/index"], "colab.research") | links(pages["book/index"], "mybinder.org")


@pytest.mark.book
def test_every_student_edition_opens_in_colab_where_publish_puts_it(copied, pages, tmp_path):
    found = links(pages["book/teaching/index"], "colab.research")
    prefix = f"https://colab.research.google.com/github/{HERE}/blob/{editions.BRANCH}/"
    assert all(link.startswith(prefix) for link in found)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(copied)
        # The workflow makes this folder, and it alone, the branch.
        written = editions.write(tmp_path / "editions", where=colab.address())
    on_branch = {path.relative_to(tmp_path / "editions").as_posix(): path for path in written}
    opened = {link.removeprefix(prefix) for link in found}
    assert opened == {name for name in on_branch if name.startswith("student/")} and len(opened) == len(
        places.chapters(ROOT)
    )
    publish = (ROOT / ".github" / "workflows" / "publish.yml").read_text(encoding="utf8")
    assert f"--initial-branch {editions.BRANCH}" in publish and f'.git" {editions.BRANCH}\n' in publish
    for name in opened:
        assert f"successor-heads @ git+{URL}@{BRANCH}" in on_branch[name].read_text(encoding="utf8")


@pytest.mark.slow
def test_without_an_address_nothing_offers_colab_and_the_table_says_why(tmp_path):
    site = lay(ROOT, tmp_path / "site")
    settings = yaml.safe_load((site / "_config.yml").read_text(encoding="utf8"))
    assert "repository" not in settings and "colab_url" not in settings["launch_buttons"]
    table = settings["parse"]["myst_substitutions"]["editions"]
    assert "make address REPOSITORY=owner/name" in table and "research.google" not in table
    assert len(re.findall("student edition <", table)) == len(places.chapters(ROOT))
    assert not [path for path in site.rglob("*.ipynb") if "colab.research" in path.read_text(encoding="utf8")]
