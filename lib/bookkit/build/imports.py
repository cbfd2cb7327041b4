"""Which files of the library a notebook depends on: what it imports, what that imports, and the data that these read.

Everything is found in the source and nothing is run. An import counts wherever it stands, also in a function or under
TYPE_CHECKING: one too many costs a chapter's run, one too few would leave a stale result on the page.
"""

import ast
import re
from functools import cache
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

LIB = "lib"
# A string that can be a file or a folder beside a module, or a pattern for some.
NAME_OF_DATA = re.compile(r"[\w*][\w.*-]*(/[\w*][\w.*-]*)*")


def of_notebook(path, lib=LIB):
    """The files of the library that a notebook depends on, in a fixed order.

    A notebook with a cell that cannot be read depends on all of it: what runs there is anybody's guess.
    """
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    try:
        trees = [ast.parse(TransformerManager().transform_cell(source)) for source in cells]
    except SyntaxError:
        return sorted(str(file) for file in Path(lib).rglob("*") if file.is_file() and file.suffix != ".pyc")
    return _files({name for tree in trees for name in _imports(tree, "", lib)}, lib)


def of_module(name, lib=LIB):
    """The files of the library that a module depends on, itself included, in a fixed order."""
    return _files({*_parents(name), name}, lib)


def _files(names, lib):
    """The files of these modules, of all that they import, and their data; besides what lies in the packages unnamed."""
    waiting, modules = set(names), {}
    while waiting:
        name = waiting.pop()
        path = _module(name, lib)
        if path is not None and name not in modules:
            modules[name] = path
            waiting |= _imports_of(path, name, lib)
    data = {file for path in modules.values() for file in _data_of(path)}
    for package in {name.split(".")[0] for name in modules}:
        # What no module names is read in a way that cannot be seen: it counts for everybody.
        data |= _all_data(Path(lib, package)) - _named_data(Path(lib, package))
    return sorted(str(path) for path in {*modules.values(), *data})


def _module(name, lib):
    """The file of a module or package of the library, None for what is not of the library."""
    path = Path(lib, *name.split("."))
    candidates = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _parents(name):
    """The packages around a module, which are imported before it."""
    parts = name.split(".")
    return {".".join(parts[:n]) for n in range(1, len(parts))}


@cache
def _imports_of(path, name, lib):
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return _imports(ast.parse(path.read_text(encoding="utf8")), package, lib)


def _imports(tree, package, lib):
    """The modules of the library that are named in this source, and the packages around them.

    Besides import statements, a string that is the name of a module counts: `import_module` and `python -m` take one.
    """
    named = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                named |= {alias.name for alias in aliases}
            case ast.ImportFrom(module=module, names=aliases, level=level):
                above = package.split(".")[: len(package.split(".")) - (level - 1)] if level else []
                origin = ".".join([*above, *([module] if module else [])])
                named |= {origin, *(f"{origin}.{alias.name}" for alias in aliases)}
            case ast.Constant(value=str(text)) if re.fullmatch(r"\w+(\.\w+)+", text):
                named.add(text)
    found = {name for name in named if _module(name, lib)}
    return found.union(*map(_parents, found))


@cache
def _data_of(path):
    """The files beside a module that strings in it name, alone, by their folder, or by a pattern."""
    source = path.read_text(encoding="utf8")
    if "__file__" not in source and "importlib.resources" not in source:
        return frozenset()
    strings = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    names = [text for text in strings if isinstance(text, str) and NAME_OF_DATA.fullmatch(text)]
    found = [match for name in names for match in path.parent.glob(name)]
    return frozenset(file for match in found for file in ([match] if match.is_file() else _all_data(match)))


@cache
def _all_data(folder):
    """Every file below a folder that is not Python's and not hidden."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))
    return frozenset(path for path in files if not path.name.startswith("."))


@cache
def _named_data(package):
    """The data of a package that some module of it names."""
    return frozenset().union(*map(_data_of, package.rglob("*.py")))
