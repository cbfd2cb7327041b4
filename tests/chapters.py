"""Running a chapter, or as much of it as a question needs."""

import ast
import symtable
from dataclasses import dataclass, field

from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient

from bookkit.build.execute import OwnKernel

# Seconds that a cell may take, as in `make book`: no test fails because the machine is busy.
CELL_TIMEOUT = 3600


def run(notebook, folder):
    """Execute a notebook in place, in a kernel that works in `folder`."""
    client = NotebookClient(
        notebook, timeout=CELL_TIMEOUT, resources={"metadata": {"path": str(folder)}}, kernel_manager_class=OwnKernel
    )
    client.execute()


def needed(cells, wanted):
    """Those of a notebook's code cells without which the `wanted` ones do not run, and these, in the notebook's order.

    A needed cell's name comes from the last cell before it that binds it, and from all that change what it holds: by an
    item, an attribute, or a method called for its effect. What a function reads may be bound anywhere. Whoever
    leaves out too much meets a NameError, and no wrong result.
    """
    code = [cell for cell in cells if cell.cell_type == "code"]
    names = [_names_of(cell.source) for cell in code]
    modules = set().union(*(cell.imported for cell in names))
    kept = {place for place, cell in enumerate(code) if any(cell is one for one in wanted)}
    while True:
        more = set()
        for reader in kept:
            for name in names[reader].read:
                more.update([place for place in range(reader) if name in names[place].bound][-1:])
            for place, cell in enumerate(names):
                changed = cell.changed - modules
                if (cell.bound | changed) & names[reader].read_later or (
                    place < reader and changed & names[reader].used
                ):
                    more.add(place)
        if more <= kept:
            return [code[place] for place in sorted(kept)]
        kept |= more


@dataclass
class _Names:
    """What a cell does with the notebook's names."""

    read: set = field(default_factory=set)  # before the cell binds them
    used: set = field(default_factory=set)  # those of them that are not read for a change alone, as in x["a"] = 1
    read_later: set = field(default_factory=set)  # in a function
    bound: set = field(default_factory=set)
    changed: set = field(default_factory=set)
    imported: set = field(default_factory=set)


def _names_of(source):
    names = _Names()
    for statement in ast.parse(TransformerManager().transform_cell(source)).body:
        scope = symtable.symtable(ast.unparse(statement), "cell", "exec")
        # A loop binds its variable before its body reads it.
        if isinstance(statement, ast.For):
            names.bound |= {node.id for node in ast.walk(statement.target) if isinstance(node, ast.Name)}
        for symbol in scope.get_symbols():
            if symbol.is_referenced() or isinstance(statement, ast.AugAssign):
                names.read |= {symbol.get_name()} - names.bound
        for inner in scope.get_children():
            is_function = inner.get_type() == "function" and inner.get_name() not in COMPREHENSIONS
            (names.read_later if is_function else names.read).update(_global_names(inner) - names.bound)
        stores = [_owner(node) for node in ast.walk(statement) if _stores(node)]
        loads = [
            node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        ]
        names.used |= {name for name in names.read if loads.count(name) > stores.count(name)}
        names.bound |= {s.get_name() for s in scope.get_symbols() if s.is_assigned() or s.is_imported()}
        names.imported |= {s.get_name() for s in scope.get_symbols() if s.is_imported()}
        names.changed |= {_owner(node) for node in ast.walk(statement) if _changes(node)}
    return names


COMPREHENSIONS = ("listcomp", "setcomp", "dictcomp", "genexpr", "lambda")


def _global_names(scope):
    """The notebook's names that a function or a comprehension reads, those inside it included."""
    own = {symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global() and symbol.is_referenced()}
    return own.union(*map(_global_names, scope.get_children()))


def _changes(node):
    """Whether a name's object is changed here: x[0] = 1, x.a = 1, or x.append(1)."""
    called = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    return _stores(node) or (called and isinstance(node.value.func, ast.Attribute))


def _stores(node):
    return isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load)


def _owner(node):
    """The name in front of all dots, brackets and calls; None where there is none."""
    while not isinstance(node, ast.Name):
        node = getattr(node, "func", None) or getattr(node, "value", None)
        if node is None:
            return None
    return node.id
