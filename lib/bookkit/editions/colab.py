"""The first code cell of each chapter, which installs the package where it is missing: on Colab.

    python -m bookkit.editions.colab                              write the cell into every chapter
    python -m bookkit.editions.colab --repository owner/name      say first where the book is published from, in _config.yml

`make address REPOSITORY=owner/name` does the latter. _config.yml is the one place that knows the address and the branch:
the launch buttons and the cells come from there, and so does what the package says of itself. While it is empty, the cell installs nothing and says why: PyPI has no
package of this name that is known to be the book's.
"""

import argparse
import re
from pathlib import Path

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


def address():
    """The repository's address, empty where none is known, and the branch."""
    settings = yaml.safe_load(CONFIG.read_text(encoding="utf8"))["repository"]
    return settings["url"] or "", settings["branch"]


def source(url, branch):
    """What pip is asked for: the branch that the notebook lies on; nothing where no address is known."""
    return f"successor-heads @ git+{url}@{branch}" if url else ""


def cell(url, branch):
    """The cell itself. It is not on the page, and it is the same in every chapter."""
    found = source(url, branch)
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


def set_address(url, branch):
    """Write the address into _config.yml, and leave everything else there as it is."""
    line = f'repository: {{url: "{url}", branch: {branch}}}'
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
    parser.add_argument("--branch", default="main")
    arguments = parser.parse_args()
    if arguments.repository is not None:
        name = arguments.repository
        set_address(name if "://" in name or not name else f"https://github.com/{name}", arguments.branch)
    set_project_url(address()[0])
    made = cell(*address())
    for path in map(Path, map(places.notebook, places.chapters())):
        write(path, made)
        print(f"{path}: {source(*address()) or 'no address'}")


if __name__ == "__main__":
    main()
