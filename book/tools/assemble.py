"""Put the site's source together: settings, prose, executed notebooks, and the numbers that the run measured.

    python book/tools/assemble.py _build/site --notebooks … --records …

Nothing here computes a result. It copies, and where the prose asks for a number it passes on what a record holds.
"""

import argparse
import ast
import csv
import io
import json
import shutil
from collections import Counter
from importlib.resources import files
from pathlib import Path

import accept
import cases
import editions
import nbformat
import results
import slides
import yaml
from night import NIGHT

# What the site adds to a chapter's table of facts.
MEASURED_ROWS = """\
| Time to run | {time}, measured on {cores} ({processor}), {date} |
| Peak memory | {memory}, measured in the same run |
| To take with you | {student} to work in, {instructor} to teach from |"""
EDITION = "{{download}}`{name} edition <{root}_static/editions/{name}/{chapter}.ipynb>`"


def duration(seconds):
    """Seconds as a person says them: '48 s', '3 min 20 s'."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def gigabytes(n_bytes):
    """Bytes in units of 10^9, one decimal: '1.3 GB'."""
    return f"{n_bytes / 1e9:.1f} GB"


def number(value):
    """A measured number as prose shows it: counts in full, anything else to two decimals, and a dash for none."""
    if value is None:
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def add_measured_rows(notebook):
    """Add run time and peak memory to the table in the cell tagged `glance`. Raises ValueError where there is none."""
    run = notebook.metadata["successor_heads"]
    for cell in notebook.cells:
        if "glance" in cell.metadata.get("tags", []):
            rows = MEASURED_ROWS.format(
                time=duration(run["seconds"]),
                memory=gigabytes(run["peak_rss_bytes"]),
                cores="1 core" if run["threads"] == 1 else f"{run['threads']} cores",
                processor=run["machine"]["processor"],
                date=run["started"][:10],
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
    """Every chapter's two editions to download, and to open in Colab where the book is published from GitHub at `url`."""
    rows = ["| Chapter | To work in | To teach from | In Colab |", "|---|---|---|---|"]
    for notebook in notebooks:
        chapter = notebook.metadata["successor_heads"]["chapter"]
        opened = editions.in_colab(url, "student", chapter)
        links = [edition(name, chapter, root="../") for name in editions.NAMES]
        rows.append(
            "| "
            + " | ".join([title(notebook), *links, f"[student edition]({opened})" if opened else "once published"])
            + " |"
        )
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
    """What prose may quote as {{ chapter.finding.part }}: '01-find-heads' is find_heads there.

    Parts of a finding: value, low, high, n, count, percent, with_interval. All are text. {{ chapter.model }} is the subject.
    """
    quoted = {}
    for record in records:
        chapter = record["chapter"].split("-", 1)[1].replace("-", "_")
        quoted[chapter] = {name: parts(found) for name, found in record["findings"].items()}
        quoted[chapter]["model"] = record["model"]
    return quoted


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


def title(notebook):
    """The text of a notebook's first heading."""
    return next(
        line.removeprefix("# ")
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("# ")
    )


def status(notebooks, records, night):
    """One row per chapter: what was recorded when it ran, whether it found what was accepted, and how its last night was."""
    found = {record["chapter"]: record["findings"] for record in records}
    for notebook in notebooks:
        run = notebook.metadata["successor_heads"]
        kept = accept.read_findings(accept.accepted_path(run["model"], run["chapter"]))
        nightly = Counter(row["result"] for row in night["results"] if row["chapter"] == run["chapter"])
        yield {
            "chapter": run["chapter"],
            "title": title(notebook),
            "result": run["result"],
            "accepted_findings": len(kept),
            "as_accepted": len(kept) - len(accept.differences(found.get(run["chapter"], {}), kept)),
            **{f"night_{result}": nightly[result] for result in ("ok", "failed", "skipped")},
            "date": run["started"],
            "model": run["model"],
            "seconds": run["seconds"],
            "peak_rss_bytes": run["peak_rss_bytes"],
            "threads": run["threads"],
            **{part: run["machine"][part] for part in ("processor", "cores", "memory_bytes", "system")},
            **{f"version_{package}": version for package, version in run["versions"].items()},
        }


def status_tables(rows):
    """The status page's two Markdown tables: the runs, and the versions they used."""
    runs = [
        "| Chapter | Result | As accepted | Last night | Date | Model | Run time | Peak memory | Machine |",
        "|---" * 9 + "|",
    ]
    for row in rows:
        accepted = f"{row['as_accepted']} of {row['accepted_findings']}" if row["accepted_findings"] else "–"
        nightly = (
            ", ".join(
                f"{row[f'night_{result}']} {result}" for result in ("ok", "failed", "skipped") if row[f"night_{result}"]
            )
            or "–"
        )
        machine = f"{row['threads']} of {row['cores']} cores, {row['processor']}, {gigabytes(row['memory_bytes'])}, {row['system']}"
        runs.append(
            f"| [{row['title']}](../notebooks/{row['chapter']}.ipynb) | {row['result']} | {accepted} | {nightly} | {row['date'][:16].replace('T', ' ')} UTC"
            f" | `{row['model']}` | {duration(row['seconds'])} | {gigabytes(row['peak_rss_bytes'])} | {machine} |"
        )
    used = ["| Package | Version |", "|---|---|"]
    pairs = {
        (key.removeprefix("version_"), value)
        for row in rows
        for key, value in row.items()
        if key.startswith("version_")
    }
    used += [f"| {package} | {version} |" for package, version in sorted(pairs)]
    return "\n".join(runs), "\n".join(used)


def night_section(night):
    """What came of the last nightly run, in Markdown: how it ended, each failure with its cell and error, and what was skipped."""
    if not night["results"]:
        return "No nightly run is known to this build. The workflow that publishes the book fetches the last one from the branch `records` first; a build on your machine has it after `python book/tools/night.py fetch`."
    results = Counter(row["result"] for row in night["results"])
    told = [f"On {night['date'][:16].replace('T', ' ')} UTC, {results['ok']} of {results['ok'] + results['failed']} chapters that should have run ran well"
            f" ({results['failed']} failed, {results['skipped']} skipped).", "", "| Model | Chapter | Result | Cell | Error, or why it was skipped |", "|---" * 5 + "|"]  # fmt: skip
    order = {"failed": 0, "skipped": 1, "ok": 2}
    for row in sorted(night["results"], key=lambda row: order[row["result"]]):
        words = (
            " ".join(str(row.get("error") or row.get("reason") or "").split())[:300].replace("`", "'").replace("|", "¦")
        )
        told.append(
            f"| `{row['model']}` | {row['chapter']} | {row['result']} | {row.get('cell') or ''} | {f'`{words}`' if words else ''} |"
        )
    return "\n".join(told)


def status_csv(rows):
    """The same rows as CSV text."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else ["chapter"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def with_repository(settings, repository):
    """Settings with repository links and launch buttons, or without any where no repository is known: no dead links.

    `repository` goes before what _config.yml says, so that a fork on GitHub shows its own.
    """
    known = settings.pop("repository")
    repository = repository or known["url"]
    if not repository:
        return settings
    url = repository if "://" in repository else f"https://github.com/{repository}"
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


def assemble(site, *, notebook_paths, record_paths, repository):
    """Lay the site's source into the folder `site`, which is emptied first."""
    shutil.rmtree(site, ignore_errors=True)
    (site / "notebooks").mkdir(parents=True)
    shutil.copytree("book", site / "book", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy("_toc.yml", site)
    # The page on adding a family quotes a class of it.
    (site / "lib/successor_heads").mkdir(parents=True)
    shutil.copy("lib/successor_heads/anatomy.py", site / "lib/successor_heads")

    notebooks = [nbformat.read(path, as_version=4) for path in notebook_paths]
    for path, notebook in zip(notebook_paths, notebooks, strict=True):
        add_measured_rows(notebook)
        hide_repeated_parameters(notebook)
        nbformat.write(notebook, site / "notebooks" / path.name)

    # One copy for all attention views. It is 1.3 MB, so it comes from the installed package rather than from git.
    shutil.copy(str(files("circuitsvis") / "dist" / "cdn" / "iife.js"), site / "book/_static/circuitsvis.js")

    settings = with_repository(yaml.safe_load(Path("_config.yml").read_text()), repository)
    published = settings.get("repository", {})
    editions.write(site / "book/_static/editions", **published, site=settings["html"].get("baseurl", ""))
    # The lecture is on the first chapter.
    (site / "book/_static/slides").mkdir()
    (site / "book/_static/slides" / f"{notebook_paths[0].stem}.html").write_text(
        slides.slides(notebooks[0], works=editions.references())
    )

    records = [json.loads(path.read_text()) for path in record_paths]
    night = json.loads(NIGHT.read_text(encoding="utf8")) if NIGHT.exists() else {"results": []}
    rows = list(status(notebooks, records, night))
    (site / "book/_static/status.csv").write_text(status_csv(rows))
    runs, used = status_tables(rows)
    settings["parse"]["myst_substitutions"] = {
        **findings(records),
        "results": results.write(site, [results.STORED, "_build/records"], subject=records[0]["model"]),
        "winning_cases": cases.write(site, record_paths),
        "editions": editions_table(notebooks, published.get("url", "")),
        "status_runs": runs,
        "status_versions": used,
        "status_night": night_section(night),
    }
    (site / "_config.yml").write_text(yaml.safe_dump(settings, sort_keys=False))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    parser.add_argument("--notebooks", dest="notebook_paths", type=Path, nargs="*", required=True)
    parser.add_argument("--records", dest="record_paths", type=Path, nargs="*", required=True)
    parser.add_argument("--repository", default="", help="owner/name on GitHub, or a full address")
    arguments = vars(parser.parse_args())
    assemble(arguments.pop("site"), **arguments)


if __name__ == "__main__":
    main()
