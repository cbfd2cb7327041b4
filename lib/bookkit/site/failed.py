"""What stands on the page of a chapter that failed, and on pages that would quote it: a failure withholds nothing else."""

import re

import nbformat

from bookkit import places
from bookkit.build.execute import machine, versions
from bookkit.site.words import title

NO_WORD = "it left no word: see what the build printed"
NOTE = """\
````{{admonition}} This chapter failed
:class: error

On `{model}` it ended {where} with an error. What ran before is below; what follows has no output, and what other pages quote of this chapter is missing there.

**The error:** {error}

{source}**What to do:** {advice} Then build the book again: what ran well is kept, and only this chapter runs.
````"""
QUOTES_FAILED = """\
```{{admonition}} Figures are missing here
:class: warning

{chapters} failed in this build, so a dash stands for each figure of it.
```"""
# By what an error begins with.
ADVICE = {
    "CellTimeoutError": "give the cell more time, as in `make book CELL_TIMEOUT=3600`, or choose a smaller model.",
    "DeadKernelError": "the process was stopped from outside, mostly because memory ran out: close other programs, or choose a smaller model.",
    "LimitExceeded": "raise the limit of this model in `models.yml`, or choose a smaller model.",
    "UserError": "the error says it.",
    NO_WORD: "look at what the build printed; a full disk or full memory leaves no word.",
}
OTHERWISE = "run the notebook up to this cell in `make lab`, mend what is wrong there, and if it is the book's own fault, open an issue with this page."


def has_failed(notebook):
    """Whether this is a chapter that did not run to its end."""
    return notebook.metadata["successor_heads"]["result"] == "failed"


def left_no_word(chapter, model):
    """What is noted of a chapter whose run ended without noting anything, in the form in which execute.py does."""
    nothing = dict.fromkeys(("started", "seconds", "peak_rss_bytes", "threads"))
    error = {"cell": None, "source": "", "error": NO_WORD}
    about = {"chapter": chapter, "model": model, "machine": machine(), "versions": versions()}
    return about | nothing | {"result": "failed", "error": error}


def explain(notebook):
    """Put under a failed chapter's title what went wrong, in which cell, and what to do. The traceback becomes one line."""
    run = notebook.metadata["successor_heads"]
    error = run["error"]
    where = "" if error["cell"] is None else f"in cell {error['cell']}"
    source = f"```python\n{error['source'].rstrip()}\n```\n\n" if error["source"] else ""
    advice = next((what for name, what in ADVICE.items() if error["error"].startswith(name)), OTHERWISE)
    text = NOTE.format(model=run["model"], where=where, error=quoted(error["error"]), source=source, advice=advice)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":  # its lines are full of this machine's folders
                output.traceback = [f"{output.ename}: {output.evalue}"]
    at = next(place for place, cell in enumerate(notebook.cells) if cell.cell_type == "markdown")
    head, _, rest = notebook.cells[at].source.partition("\n")
    notebook.cells[at].source = f"{head}\n\n{text}\n{rest}"


def quoted(text):
    """The first line of a text as code, so that nothing in it is Markdown."""
    first = text.splitlines()[0][:500] if text else ""
    return "`" + first.replace("`", "'") + "`"


def fill_quotes(page, quoted_findings, failed, *, root):
    """A page's Markdown, with a note under its title where it quotes a chapter that failed; every such quotation is a dash.

    `failed` has the failed notebooks by the names that quotations use; what they lack is added to `quoted_findings`.
    `root` leads from the page to the folder of the whole source.
    """
    missing = []
    for name, notebook in failed.items():
        found = re.findall(rf"\{{\{{\s*{name}\.(\w+)(?:\.(\w+))?\s*\}}\}}", page)
        for finding, part in found:
            known = quoted_findings.setdefault(name, {"model": notebook.metadata["successor_heads"]["model"]})
            if part:
                known.setdefault(finding, {})[part] = "–"
        if any(part for _, part in found):
            chapter = places.notebook(notebook.metadata["successor_heads"]["chapter"])
            missing.append(f"[{title(notebook)}]({root}{chapter})")
    if not missing:
        return page
    note = QUOTES_FAILED.format(chapters=" and ".join(missing))
    return re.sub(r"^# .*$", lambda heading: f"{heading[0]}\n\n{note}", page, count=1, flags=re.MULTILINE)


def read(path, model):
    """A chapter from the executed or failed copy, or as it is written where its run left nothing."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.setdefault("successor_heads", left_no_word(path.stem, model))
    return notebook
