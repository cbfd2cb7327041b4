"""Put the site's source together: settings, prose, executed notebooks, and the numbers that the run measured.

    python -m bookkit.site.assemble _build/site --model NAME --notebooks … --records …

Nothing here computes a result. It copies, and where the prose asks for a number it passes on what a record holds. A
chapter that failed has a page as well, which says so (see `failed`).
"""

import argparse
import ast
import json
import shutil
from importlib.resources import files
from pathlib import Path

import nbformat
import yaml

from bookkit import numbering, places
from bookkit.editions import colab, editions
from bookkit.site import cases, failed, in_depth, landing, live, loading, quizzes, results, slides, status
from bookkit.site.words import duration, gigabytes, number, title

# What the site adds to a chapter's table of facts.
MEASURED_ROWS = """\
| Time to run | {time}, measured on {cores} ({processor}), {date} |
| Peak memory | {memory}, measured in the same run |
| To take with you | {student} to work in, {instructor} to teach from{slides} |"""
EDITION = "{{download}}`{name} edition <{root}_static/editions/{name}/{chapter}.ipynb>`"
# No page of Sphinx's, so a link in HTML; `root` leads to the root of the site.
SLIDES = '<a class="reference" href="{root}_static/slides/{chapter}.html">{words}</a>'


def add_measured_rows(notebook):
    """Add run time and peak memory to the table in the cell tagged `glance`. Raises ValueError where there is none."""
    run = notebook.metadata["successor_heads"]
    if run["seconds"] is None:
        return
    for cell in notebook.cells:
        if "glance" in cell.metadata.get("tags", []):
            rows = MEASURED_ROWS.format(
                time=("failed after " if failed.has_failed(notebook) else "") + duration(run["seconds"]),
                memory=gigabytes(run["peak_rss_bytes"]),
                cores="1 core" if run["threads"] == 1 else f"{run['threads']} cores",
                processor=run["machine"]["processor"],
                date=run["started"][:10],
                slides=""
                if failed.has_failed(notebook)
                else f", {SLIDES.format(root='../', chapter=run['chapter'], words='slides')} to show",
                **{name: edition(name, run["chapter"], root="../book/") for name in editions.NAMES},
            )
            lines = cell.source.splitlines()
            last_row = max(place for place, line in enumerate(lines) if line.lstrip().startswith("|"))
            cell.source = "\n".join([*lines[: last_row + 1], rows, *lines[last_row + 1 :]])
            return
    raise ValueError(f"notebooks/{run['chapter']}.ipynb needs a table in a markdown cell tagged 'glance'.")


def edition(name, chapter, *, root):
    """A link to download an edition of a chapter, from a page that sees the folder book as `root`."""
    return EDITION.format(name=name, chapter=chapter, root=root)


def editions_table(notebooks, url):
    """Every chapter's two editions to download; where the book is published from GitHub at `url`, also to open in Colab."""
    is_in_colab = bool(editions.in_colab(url, "student", ""))
    rows = ["| Chapter | To work in | To teach from |", "|---|---|---|"]
    if is_in_colab:
        rows = [f"{row} {more} |" for row, more in zip(rows, ("In Colab", "---"))]
    for notebook in notebooks:
        chapter = notebook.metadata["successor_heads"]["chapter"]
        cells = [title(notebook), *(edition(name, chapter, root="../") for name in editions.NAMES)]
        cells += [f"[student edition]({editions.in_colab(url, 'student', chapter)})"] if is_in_colab else []
        rows.append(f"| {' | '.join(cells)} |")
    said = (
        "In Colab the first cell of an edition installs the package: nothing has to be set up."
        if is_in_colab
        else "This copy of the book does not know where it is published, so none of them opens in Colab. A copy on GitHub "
        "does, once `make address REPOSITORY=owner/name` has told it so."
    )
    return "\n".join([*rows, "", said])


def write_slides(site, notebooks):
    """Write the slides of every chapter that ran to its end; returns a table of them for a page beside the teaching pages."""
    folder = site / "book/_static/slides"
    folder.mkdir()
    works, numbers = editions.references(), numbering.of_book()
    rows = ["| Chapter | Slides |", "|---|---|"]
    for notebook in notebooks:
        chapter = notebook.metadata["successor_heads"]["chapter"]
        shown = "failed in this build"
        if not failed.has_failed(notebook):
            page = slides.slides(notebook, works=works, numbers=numbers, chapter=chapter)
            (folder / f"{chapter}.html").write_text(page, encoding="utf8")
            shown = SLIDES.format(root="../../", chapter=chapter, words=f"{slides.count(page)} slides")
        rows.append(f"| {title(notebook)} | {shown} |")
    return "\n".join(rows)


def hide_repeated_parameters(notebook):
    """Hide papermill's cell of parameters where it only repeats the chapter's own; on another model it stays."""
    own = set()
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "parameters" in tags:
            own = statements(cell.source)
        if "injected-parameters" in tags and statements(cell.source) <= own:
            cell.metadata["tags"] = [*tags, "remove-cell"]


def statements(source):
    """The statements of a cell, without its comments."""
    return {ast.dump(statement) for statement in ast.parse(source).body}


def findings(records):
    """What prose may quote as {{ chapter.finding.part }}, or as {{ smollm2.finding.part }} of what is stored of published models.

    Parts of a finding: value, low, high, n, count, percent, with_interval. All are text. {{ chapter.model }} is the subject.
    """
    quoted = {name: in_parts(found) for name, found in landing.published_findings().items()}
    quoted["landing"] = landing.sentences(records)
    for record in records:
        chapter = name_in_prose(record["chapter"])
        quoted[chapter] = in_parts(record["findings"])
        quoted[chapter]["model"] = record["model"]
    return quoted


def in_parts(found):
    """Findings by their names, each as its parts. A hyphen in a name is an underscore, as a quotation can have it."""
    return {name.replace("-", "_"): parts(one) for name, one in found.items()}


def parts(found):
    """The parts of one finding, as text. What was not measured is a dash, so that any page can be built on any model."""
    value, low, high = found["value"], found["low"], found["high"]
    text = {part: number(found[part]) for part in ("value", "low", "high", "n")}
    text["count"] = number(value) if value is None else f"{value:.0f}"
    text["percent"] = number(value) if value is None else f"{100 * value:.0f}%"
    text["with_interval"] = (
        number(value) if low is None else f"{number(value)} (95% interval {number(low)} to {number(high)})"
    )
    return text


def with_repository(settings, repository):
    """Settings with repository links and launch buttons, or without any where no repository is known: no dead links.

    `repository` goes before what _config.yml says, so that a fork on GitHub shows its own.
    """
    known = settings.pop("repository")
    url = colab.in_full(repository or known["url"])
    if not url:
        return settings
    settings["repository"] = {"url": url, "branch": known["branch"]}
    owner, name = url.removesuffix(".git").rstrip("/").split("/")[-2:]
    # Where GitHub's own pages lie: what a preview of a link shows needs a full address.
    settings["html"].update(
        use_repository_button=True, use_issues_button=True, baseurl=f"https://{owner}.github.io/{name}/"
    )
    settings["launch_buttons"].update(
        colab_url="https://colab.research.google.com", binderhub_url="https://mybinder.org"
    )
    return settings


def name_in_prose(chapter):
    """'01-find-heads' is find_heads in what prose quotes."""
    return chapter.split("-", 1)[1].replace("-", "_")


def assemble(site, *, model, notebook_paths, record_paths, repository):
    """Lay the site's source into the folder `site`, which is emptied first.

    Of a chapter that failed, the path is that of its failed copy, or of the chapter as it is written if there is none.
    """
    shutil.rmtree(site, ignore_errors=True)
    (site / "notebooks").mkdir(parents=True)
    shutil.copytree("book", site / "book", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy("_toc.yml", site)
    # The page on adding a family quotes a class of it.
    (site / "lib/successor_heads").mkdir(parents=True)
    shutil.copy("lib/successor_heads/anatomy.py", site / "lib/successor_heads")

    notebooks = [failed.read(path, model) for path in notebook_paths]
    chapters = [notebook.metadata["successor_heads"]["chapter"] for notebook in notebooks]
    for chapter, notebook in zip(chapters, notebooks, strict=True):
        add_measured_rows(notebook)
        hide_repeated_parameters(notebook)
        if failed.has_failed(notebook):
            failed.explain(notebook)
        nbformat.write(notebook, site / places.notebook(chapter))

    (site / "book/_static/icons.css").write_text(loading.icons(), encoding="utf8")

    # One copy for all attention views, brought when one is opened. It is 1.3 MB, so it comes from the installed package rather than from git.
    shutil.copy(str(files("circuitsvis") / "dist" / "cdn" / "iife.js"), site / "book/_static/circuitsvis.js")

    # These belong to the package, which shows the workbench in notebooks as well.
    for name in ("workbench.js", "workbench.css"):
        shutil.copy(str(files("successor_heads") / name), site / "book/_static" / name)

    settings = with_repository(yaml.safe_load(Path("_config.yml").read_text("utf8")), repository)
    where = colab.address(repository)
    editions.write(site / "book/_static/editions", where=where, site=settings["html"].get("baseurl", ""))
    made_slides = write_slides(site, notebooks)
    quizzes.write(site, notebooks)
    landing.write_explorer(site, notebooks[0])
    in_depth.write(site)

    records = [json.loads(path.read_text("utf8")) for path in record_paths]
    night = json.loads(places.NIGHT.read_text(encoding="utf8")) if places.NIGHT.exists() else {"results": []}
    rows = list(status.rows(notebooks, records, night))
    (site / "book/_static/status.csv").write_text(status.as_csv(rows))
    runs, used = status.tables(rows)
    quoted = findings(records)
    missing = {
        name_in_prose(chapter): notebook
        for chapter, notebook in zip(chapters, notebooks, strict=True)
        if failed.has_failed(notebook)
    }
    for page in (site / "book").rglob("*.md"):
        text = page.read_text(encoding="utf8")
        root = "../" * (len(page.relative_to(site).parts) - 1)
        page.write_text(failed.fill_quotes(text, quoted, missing, root=root), encoding="utf8")
    settings["parse"]["myst_substitutions"] = {
        **quoted,
        "results": results.write(site, [results.STORED, places.RECORDS], subject=model),
        "winning_cases": cases.write(site, record_paths),
        "play": live.write(site),
        "slides": made_slides,
        "editions": editions_table(notebooks, where.url),
        "status_runs": runs,
        "status_versions": used,
        "status_night": status.night_section(night),
    }
    (site / "_config.yml").write_text(yaml.safe_dump(settings, sort_keys=False))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--notebooks", dest="notebook_paths", type=Path, nargs="*", required=True)
    parser.add_argument("--records", dest="record_paths", type=Path, nargs="*", required=True)
    parser.add_argument("--repository", default="", help="owner/name on GitHub, or a full address")
    arguments = vars(parser.parse_args())
    assemble(arguments.pop("site"), **arguments)


if __name__ == "__main__":
    main()
