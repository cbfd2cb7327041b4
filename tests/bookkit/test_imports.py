"""What a notebook depends on: found in the source of a library made for this, and held against what Python imports of the real one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from bookkit import places
from bookkit.build import imports

ROOT = Path(__file__).parents[2]
LIBRARY = {
    "rooms/__init__.py": "",
    "rooms/norms.py": "def later():\n    from . import constants\n    return constants\n",
    "rooms/constants.py": "import json, numpy.linalg\n",
    "rooms/unused.py": "from rooms import norms\n",
    "rooms/started.py": "",
    "rooms/drawn.py": "from __future__ import annotations\nif TYPE_CHECKING:\n    import rooms.constants\n",
    "rooms/circle.py": "from rooms import drawn, circle\n",
    "rooms/zoo/config.json": "{}",
    "rooms/py.typed": "",
    "rooms/studies/__init__.py": "",
    "rooms/studies/first.py": "from ..norms import later\nfrom . import helper\n",
    "rooms/studies/helper.py": 'from pathlib import Path\nDATA = Path(__file__).parent / "data" / "table.csv"\n',
    "rooms/studies/second.py": "import rooms\nSHAPE = 'data'\n",
    "rooms/studies/data/table.csv": "1",
    "rooms/models.py": 'ZOO = Path(__file__).parent / "zoo"\nKEPT = Path(__file__).parent.glob("*.py")\n',
}
ALWAYS = {"rooms/__init__.py", "rooms/py.typed"}  # the package itself, and the data that no module names


@pytest.fixture
def library(tmp_path):
    for name, text in LIBRARY.items():
        (tmp_path / "lib" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lib" / name).write_text(text)
    return tmp_path / "lib"


def needs(library, *cells):
    """What a notebook with these cells depends on, without what every user of the package does."""
    path = library.parent / "notebook.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), path)
    found = {str(Path(file).relative_to(library)) for file in imports.of_notebook(path, library)}
    assert not found or found >= ALWAYS
    return found - ALWAYS


STUDY = {"rooms/studies/__init__.py", "rooms/studies/first.py", "rooms/norms.py", "rooms/constants.py"}
HELPER = {"rooms/studies/__init__.py", "rooms/studies/helper.py", "rooms/studies/data/table.csv"}


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("import numpy, json", set()),
        ("import rooms", set()),
        ("from rooms import constants", {"rooms/constants.py"}),
        ("from rooms.studies import first", STUDY | HELPER),
        ("def f():\n    import rooms.studies.first as study", STUDY | HELPER),
        ("from rooms.studies.first import later", STUDY | HELPER),
        ("from rooms.studies import second", {"rooms/studies/__init__.py", "rooms/studies/second.py"}),
        ("from rooms import drawn", {"rooms/drawn.py", "rooms/constants.py"}),
        ("from rooms import circle", {"rooms/circle.py", "rooms/drawn.py", "rooms/constants.py"}),
        ("import_module('rooms.studies.helper')", HELPER),
        ("%matplotlib inline\n!ls\nfrom rooms import norms", {"rooms/norms.py", "rooms/constants.py"}),
        ("subprocess.run([sys.executable, '-m', 'rooms.started'])", {"rooms/started.py"}),
    ],
)
def test_what_a_cell_imports_is_followed_to_the_end(library, cell, expected):
    assert needs(library, "x = 1", cell) == expected


def test_data_belongs_to_the_module_that_names_it(library):
    found = needs(library, "from rooms import models")
    assert "rooms/zoo/config.json" in found and "rooms/studies/data/table.csv" not in found
    # A pattern is what it stands for.
    assert {"rooms/norms.py", "rooms/unused.py"} <= found


def test_a_cell_that_cannot_be_read_depends_on_everything(library):
    assert needs(library, "from rooms import (") == set(LIBRARY) - ALWAYS


# Third parties first and once; then each chapter in a process of its own.
IMPORTED = """
import ast, json, os, sys
import matplotlib.pyplot, nnsight, pandas, scipy.stats, seaborn, sklearn.linear_model, torch, transformers

for chapter, source in json.load(sys.stdin).items():
    if os.fork() == 0:
        exec(source, {})
        print(json.dumps([chapter, [name for name in sys.modules if name.startswith("successor_heads")]]), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.slow
def test_no_module_that_a_chapter_really_imports_is_missed():
    sources = {}
    for chapter in places.chapters(ROOT):
        cells = nbformat.read(ROOT / places.notebook(chapter), as_version=4).cells
        lines = "\n".join(cell.source for cell in cells if cell.cell_type == "code").splitlines()
        sources[chapter] = "\n".join(imports_in(lines))
        assert "successor_heads" in sources[chapter]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "lib")}
    command = [sys.executable, "-c", IMPORTED]
    done = subprocess.run(command, input=json.dumps(sources), env=environment, capture_output=True, text=True)
    seen = dict(map(json.loads, done.stdout.splitlines()))
    assert set(seen) == set(sources), done.stderr
    for chapter, modules in seen.items():
        found = set(imports.of_notebook(ROOT / places.notebook(chapter), ROOT / "lib"))
        missed = [name for name in modules if str(imports._module(name, ROOT / "lib")) not in found]
        assert len(modules) > 5 and not missed, chapter


def imports_in(lines):
    """The import statements that stand at the left margin."""
    inside = False
    for line in lines:
        if inside or line.startswith(("import ", "from ")):
            yield line
            inside = (inside or "(" in line) and ")" not in line
