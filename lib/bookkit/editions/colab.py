"""The first code cell of each chapter, which installs the package where it is missing: on Colab.

    python -m bookkit.editions.colab                              write the cell into every chapter
    python -m bookkit.editions.colab --repository owner/name      say first where the book is published from, in _config.yml
    … --repository owner/name --branch v0.1.0 --release 0.1.0     have the cell install a release

`make address REPOSITORY=owner/name` does the latter two. _config.yml is the one place that knows the address, the branch
and the release: the launch buttons and the cells come from there, and so does what the package says of itself. While it
is empty, the cell installs nothing and says why: PyPI has no package of this name that is known to be the book's.
"""

import argparse
import re
import tomllib
from pathlib import Path
from typing import NamedTuple

import nbformat
import yaml

from bookkit import places

CONFIG, PROJECT = Path("_config.yml"), Path("pyproject.toml")
ID = "install"
CELL = """from importlib.util import find_spec

if find_spec("successor_heads") is None:  # on Colab
    {otherwise}"""
INSTALL = '%pip install --quiet "{source}"'
REFUSE = (
    "raise ModuleNotFoundError(\"The book's package is missing, and this copy does not know where the book is published: "
    "run `make setup` in the book's folder, or have `make address REPOSITORY=owner/name` write the address here.\")  # fmt: skip  # a short cell, for it is off the page"
)


class Address(NamedTuple):
    """Where the book is published from. A branch may be a tag; without a release the package is what lies on the branch."""

    url: str = ""
    branch: str = "main"
    release: str = ""


NOWHERE = Address()


def address(repository=""):
    """What _config.yml says. `repository`, owner/name or a full address, goes before it, so that a fork shows its own."""
    known = yaml.safe_load(CONFIG.read_text(encoding="utf8"))["repository"]
    url = in_full(repository) or known["url"] or ""
    # A release is its repository's; a fork has its branch.
    release = known.get("release", "") if url == known["url"] else ""
    return Address(url, known["branch"], release)


def in_full(repository):
    """The address of owner/name on GitHub; what is an address already, or empty, as it is."""
    return repository if "://" in repository or not repository else f"https://github.com/{repository}"


def source(where):
    """What pip is asked for: the wheel of a release, or the branch that the notebook lies on; nothing where no address is known."""
    if where.release:
        wheel = f"successor_heads-{where.release}-py3-none-any.whl"
        return f"successor-heads @ {where.url.removesuffix('.git')}/releases/download/v{where.release}/{wheel}"
    return f"successor-heads @ git+{where.url}@{where.branch}" if where.url else ""


def cell(where):
    """The cell itself. It is not on the page, and it is the same in every chapter."""
    found = source(where)
    text = CELL.format(otherwise=INSTALL.format(source=found) if found else REFUSE)
    made = nbformat.v4.new_code_cell(text, metadata={"tags": ["remove-cell"]})
    made["id"] = ID
    return made


def write(path, made):
    """Put the cell after the chapter's title, in place of the one that was there."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [other for other in notebook.cells if other.get("id") != ID]
    notebook.cells.insert(1, made)
    nbformat.write(notebook, path)


def set_address(where):
    """Write the address into _config.yml, and leave everything else there as it is."""
    release = f', release: "{where.release}"' if where.release else ""
    line = f'repository: {{url: "{where.url}", branch: {where.branch}{release}}}'
    text, n = re.subn(r"^repository: .*$", line, CONFIG.read_text(encoding="utf8"), flags=re.MULTILINE)
    if n != 1:
        raise ValueError(f"{CONFIG} has no line that starts with repository: put one there.")
    CONFIG.write_text(text, encoding="utf8")


def set_project_url(url):
    """Write the address into pyproject.toml, where package indexes read it; without one, take the line out."""
    text = re.sub(r"^Repository = .*\n", "", PROJECT.read_text(encoding="utf8"), flags=re.MULTILINE)
    line = f'Repository = "{url}"\n' if url else ""
    PROJECT.write_text(text.replace("[project.urls]\n", f"[project.urls]\n{line}", 1), encoding="utf8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", help="owner/name on GitHub, or a full address")
    parser.add_argument("--branch", default="main", help="the branch or tag that the chapters lie on")
    parser.add_argument("--release", default="", help="version of a release on GitHub, which the chapters then install")
    arguments = parser.parse_args()
    if arguments.repository is not None:
        url = in_full(arguments.repository)
        version = tomllib.loads(PROJECT.read_text(encoding="utf8"))["project"]["version"]
        if arguments.release and not url.startswith("https://github.com/"):
            parser.error("a release is looked for on GitHub: give REPOSITORY=owner/name with RELEASE, or no RELEASE.")
        if arguments.release not in ("", version):
            parser.error(f"this is version {version}, and not {arguments.release}: see pyproject.toml.")
        set_address(Address(url, arguments.branch, arguments.release))
    where = address()
    set_project_url(where.url)
    made = cell(where)
    for path in map(Path, map(places.notebook, places.chapters())):
        write(path, made)
        print(f"{path}: {source(where) or 'no address'}")


if __name__ == "__main__":
    main()
