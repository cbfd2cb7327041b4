"""Folds of a chapter: what a sceptic opens and everybody else passes by, and the source of a study where it is called.

A notebook stays an ordinary notebook. Consecutive cells tagged `fold` are one fold: prose, code and figures. The first is
Markdown whose first line, in bold and alone, is the title:

    **What could fool us?**

A tagged cell that begins like that begins a fold of its own. Headings have no place in a fold. In JupyterLab and Colab
the bold line stands above the cells; on the site the cells lie in a `<details>`, closed, which paper shows open.

Under the first cell of a page that calls a function of `successor_heads.studies`, the site puts that function's source,
folded as well; under an exercise's check, what `successor_heads.exercises` checks, with a warning that the answer is in it.
The source is read, not imported, so a site is built without torch.
"""

import ast
import json
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

TITLE = re.compile(r"\*\*(.+?)\*\*[ \t]*(?:\n|\Z)")
HEADING = re.compile(r"^#{1,6} ", re.MULTILINE)
# Papermill puts its cell behind the one tagged `parameters`, wherever that is.
ALONG = {"fold", "injected-parameters"}
STUDIES = "successor_heads.studies"
EXERCISES = "successor_heads.exercises"


def marked(cells, page):
    """The cells of a page (dictionaries as in its file) with marks where folds begin and end, and where a source goes.

    Raises ValueError where a fold has no title or holds a heading.
    """
    made, inside = [], False
    sources, checks = calls(cells), calls(cells, package=EXERCISES)
    for cell in cells:
        tags, text = set(cell["metadata"].get("tags", [])), "".join(cell["source"])
        markdown = cell["cell_type"] == "markdown"
        title = TITLE.match(text) if markdown and "fold" in tags else None
        if inside and (title or not tags & ALONG):
            made.append(mark("fold-end"))
            inside = False
        if title:
            made.append(mark("fold-start", title.group(1)))
            inside, text = True, text[title.end() :].strip()
            cell = {**cell, "source": text}
        elif "fold" in tags and not inside:
            raise ValueError(f"{page}: the fold that begins with {text[:40]!r} needs a title, a first line in bold.")
        if inside and markdown and HEADING.search(text):
            raise ValueError(f"{page}: a fold holds the heading {text[:40]!r}; folds have a title only.")
        if text or not title:
            made.append(cell)
        if cell["cell_type"] == "code":
            made += [mark("study-source", name) for name in next(sources)]
            made += [mark("check-source", name) for name in next(checks)]
    if inside:
        made.append(mark("fold-end"))
    return [{**cell, "id": cell.get("id", f"mark-{place}")} for place, cell in enumerate(made)]


def mark(directive, argument=""):
    """A Markdown cell that holds one directive of those below."""
    return {"cell_type": "markdown", "metadata": {}, "source": f"~~~{{{directive}}}\n{argument}\n~~~"}


def calls(cells, package=STUDIES):
    """For each code cell in turn, the functions of `package` that no cell above it calls: `package.module.function`."""
    known: dict[str, str] = {}
    seen = set()
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        try:
            tree = ast.parse("".join(cell["source"]))
        except SyntaxError:  # a magic command, an exercise's stub
            yield []
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and f"{node.module}.".startswith(f"{package}."):
                known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        functions = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
        named = [
            f"{known[head]}{dot}{rest}"
            for name in functions
            for head, dot, rest in [name.partition(".")]
            if head in known
        ]
        # A function of the package, or of a module in it: what lies deeper is no function of a study.
        shallow = [name for name in dict.fromkeys(named) if name.removeprefix(f"{package}.").count(".") < 2]
        fresh = [name for name in shallow if name not in seen and source(name)]
        seen |= set(fresh)
        yield fresh


def source(name):
    """The text of a function or class named in full, and the file it stands in; None where the module has none of that name."""
    module, _, function = name.rpartition(".")
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return None
    if spec is None or not spec.origin:
        return None
    text = definitions(Path(spec.origin).read_text(encoding="utf8")).get(function)
    return text and (text, spec.origin)


@cache
def definitions(text):
    """The functions and classes of a module's text, by name: {name: source}. A page asks for many of one module."""
    found: dict[str, str] = {}
    lines = text.splitlines()
    for node in ast.parse(text).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            found.setdefault(node.name, "\n".join(lines[first - 1 : node.end_lineno]))
    return found


def mark_page(app, page, content):
    """Before a notebook is parsed: mark it."""
    if app.env.doc2path(page).endswith(".ipynb"):
        notebook = json.loads(content[0])
        notebook["cells"] = marked(notebook["cells"], page)
        content[0] = json.dumps(notebook)


class fold(nodes.Element):
    """A `<details>`: its title, then what it hides."""


class fold_title(nodes.TextElement):
    """Its `<summary>`."""


class fold_end(nodes.Element):
    """Where a fold ends, until the page is read to its end."""


class FoldStart(SphinxDirective):
    """Begins a fold; its content is the title."""

    has_content = True

    def run(self):
        text = " ".join(self.content)
        found, messages = self.state.inline_text(text, self.lineno)
        node = fold("", fold_title("", "", *found), classes=["sh-fold"], names=[nodes.fully_normalize_name(text)])
        self.state.document.note_implicit_target(node, node)
        return [node, *messages]


class FoldEnd(SphinxDirective):
    """Ends it."""

    def run(self):
        return [fold_end()]


class StudySource(SphinxDirective):
    """The source of one function, folded; its content is the function's name in full."""

    has_content = True

    def run(self):
        (name,) = self.content
        text, path = source(name)
        self.env.note_dependency(path)
        code = nodes.literal_block(text, text, language="python")
        return [fold("", self.title(name), code, classes=["sh-source"])]

    def title(self, name):
        return fold_title("", "", nodes.Text("Source of "), nodes.literal("", name.removeprefix(f"{STUDIES}.")))


class CheckSource(StudySource):
    """The source of an exercise's check, folded."""

    def title(self, name):
        return fold_title("", "", nodes.Text("Show the check (contains the answer)"))


class GatherFolds(SphinxTransform):
    """What stands between the marks becomes the fold's content."""

    default_priority = 15  # after sphinx-exercise has gathered its own, so that a fold may hold an exercise

    def apply(self):
        for end in list(self.document.findall(fold_end)):
            siblings = end.parent.children
            last = siblings.index(end)
            start = max(place for place in range(last) if "sh-fold" in siblings[place].get("classes", ()))
            content = siblings[start + 1 : last]
            for node in [*content, end]:
                end.parent.remove(node)
            siblings[start].extend(content)


def visit_fold(self, node):
    self.body.append(self.starttag(node, "details"))


def depart_fold(self, node):
    self.body.append("</details>\n")


def visit_title(self, node):
    self.body.append(self.starttag(node, "summary", ""))


def depart_title(self, node):
    self.body.append("</summary>\n")


def setup(app):
    app.add_node(fold, html=(visit_fold, depart_fold))
    app.add_node(fold_title, html=(visit_title, depart_title))
    app.add_node(fold_end)
    for directive in (FoldStart, FoldEnd, StudySource, CheckSource):
        name = re.sub(r"(?<!^)([A-Z])", r"-\1", directive.__name__).lower()
        app.add_directive(name, directive)
    app.add_transform(GatherFolds)
    app.connect("source-read", mark_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
