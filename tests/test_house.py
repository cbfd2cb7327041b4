"""The rules of the house, as far as a program can hold anybody to them: rooms, docstrings, and what the pages promise."""

import ast
import copy
import functools
import json
import re
from pathlib import Path

import pytest
from docutils import nodes
from docutils.core import publish_doctree
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.readers.standalone import Reader
from docutils.utils import SystemMessage

from bookkit import places

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "lib" / "successor_heads"
MODULES = sorted(PACKAGE.rglob("*.py"))
PROSE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "book").rglob("*.md"))]
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef


def dotted(path):
    """The module's name inside the package: 'scores', 'growing.corpus', and '' for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def rooms_in_order():
    """Rows of the table of rooms in book/architecture.md, each a list of names."""
    text = (ROOT / "book" / "architecture.md").read_text(encoding="utf8")
    table = re.search(r"^\| Room \|.*\n\|---.*\n((?:\|.*\n)+)", text, re.MULTILINE).group(1)
    return [re.findall(r"`(\w+)`", row.split("|")[1]) for row in table.splitlines()]


@functools.cache
def imports():
    """(room, room that it imports) of every import inside the package, those inside functions too."""
    found = set()
    for path in MODULES:
        room = dotted(path).split(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "successor_heads":
                inside = node.module.split(".")[1:2] or [alias.name for alias in node.names]
                found |= {(room, other) for other in inside if other != room}
    return found


def against_the_order(rows):
    """Imports of a room from a row below its own."""
    place = {room: number for number, row in enumerate(rows) for room in row}
    return sorted((room, other) for room, other in imports() if place[other] > place[room])


def test_every_room_stands_in_the_table_of_rooms():
    rooms = {dotted(path).split(".")[0] for path in MODULES} - {""}
    assert rooms == {room for row in rooms_in_order() for room in row}


def test_rooms_import_only_from_their_own_row_and_those_above():
    rows = rooms_in_order()
    assert against_the_order(rows) == []
    assert ("scores", "intervals") in against_the_order(rows[::-1]), "upside down, the same check must object"


def test_every_module_is_on_a_page_of_the_library():
    pages = [path.read_text(encoding="utf8") for path in (ROOT / "book" / "api").glob("*.md")]
    listed = re.findall(r"automodule:: successor_heads\.([\w.]+)", "".join(pages))
    # The exercises' modules hold their answers.
    modules = {dotted(path) for path in MODULES if not dotted(path).startswith("exercises.")} - {""}
    assert sorted(listed) == sorted(modules)


# Made once: docutils takes longer over its settings than over a docstring.
AS_IT_IS_READ = get_default_settings(Parser, Reader)
vars(AS_IT_IS_READ).update(report_level=2, halt_level=2, warning_stream=False, traceback=True)


def objections(docstring):
    """What docutils finds in a docstring, and code that would be set as a quotation because no :: stands before it."""
    try:
        parsed = publish_doctree(docstring, settings=copy.copy(AS_IT_IS_READ))
    except SystemMessage as message:
        return [str(message)]
    return [quote.astext() for quote in parsed.findall(nodes.block_quote)]


def docstrings(path):
    """(name, docstring) of the module, of its public classes and functions, and of what is written below a constant."""
    found = []

    def visit(node, name):
        if docstring := ast.get_docstring(node):
            found.append((name, docstring))
        for child in node.body:
            if (
                isinstance(child, DOCUMENTED)
                and not child.name.startswith("_")
                and not isinstance(node, ast.FunctionDef)
            ):
                visit(child, f"{name}.{child.name}")

    tree = ast.parse(path.read_text(encoding="utf8"))
    visit(tree, dotted(path))
    for before, node in zip(tree.body, tree.body[1:]):
        if isinstance(before, ast.Assign | ast.AnnAssign) and isinstance(node, ast.Expr):
            found.append((ast.unparse(before).split(" = ")[0], ast.literal_eval(node.value)))
    return found


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_docstrings_are_in_the_one_dialect(path):
    """Plain reStructuredText without lists of fields: see CONTRIBUTING.md."""
    wrong = {name: found for name, docstring in docstrings(path) if (found := objections(docstring))}
    fields = [name for name, docstring in docstrings(path) if re.search(r"^\s*(:param|:return|Args:|Returns:|Parameters$)", docstring, re.MULTILINE)]  # fmt: skip
    assert not wrong and not fields


def test_what_is_not_in_the_dialect_is_noticed():
    assert objections("The share `|x - x'|² / |x|²`. ::\n\n    kept = share(x)\n") == []
    assert objections("The share |x - x'|² / |x|².") and objections("The share of *x.")
    assert objections("The share of what_ no page has.")
    assert objections("The share.\n\n    kept = share(x)\n") == ["kept = share(x)"]


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.name)
def test_the_commands_that_a_page_names_exist(path):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf8"), re.MULTILINE))
    text = path.read_text(encoding="utf8")
    named = re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE)
    assert set(named) <= targets
    if path.name == "CONTRIBUTING.md":
        assert {"setup", "check", "test", "book", "accept"} <= set(named)


def test_the_paths_that_contributors_are_sent_to_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
    paths = re.findall(r"`((?:lib|book|tests|notebooks|benchmarks|\.github)/[\w./-]*)`", text)
    assert len(paths) > 10
    # NN stands for a number that the contributor chooses.
    assert not [path for path in paths if "NN" not in path and not (ROOT / path).exists()]


@pytest.mark.parametrize(
    "path", [ROOT / places.notebook(chapter) for chapter in places.chapters(ROOT)], ids=lambda path: path.stem
)
def test_a_chapter_gives_no_name_that_it_imported_to_anything_else(path):
    """A room's name is a tempting one for a list: `prompts` was both, and four chapters failed half way through."""
    imported, given = set(), set()
    for cell in json.loads(path.read_text(encoding="utf8"))["cells"]:
        if cell["cell_type"] == "code":
            source = re.sub(r"^( *)%.*$", r"\1pass", "".join(cell["source"]), flags=re.MULTILINE)
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    imported |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    given.add(node.id)
    assert imported and not imported & given
