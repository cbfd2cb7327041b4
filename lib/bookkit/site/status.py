"""The page of status: how each chapter ran, whether it found what was accepted, and what came of the last night."""

import csv
import io
from collections import Counter

from bookkit.build import accept
from bookkit.site.failed import quoted
from bookkit.site.words import duration, gigabytes, title


def rows(notebooks, records, night):
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
            "cell": run.get("error", {}).get("cell"),
            "error": run.get("error", {}).get("error"),
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


def tables(rows):
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
        result = row["result"]
        if row["error"]:
            cell = f" in cell {row['cell']}" if row["cell"] else ""
            result = f"**failed**{cell}: {quoted(row['error'].replace('|', '¦'))}"
        date = f"{row['date'][:16].replace('T', ' ')} UTC" if row["date"] else "–"
        machine = f"{row['threads'] or '–'} of {row['cores']} cores, {row['processor']}, {gigabytes(row['memory_bytes'])}, {row['system']}"
        runs.append(
            f"| [{row['title']}](../notebooks/{row['chapter']}.ipynb) | {result} | {accepted} | {nightly} | {date}"
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
        return "No nightly run is known to this build. The workflow that publishes the book fetches the last one from the branch `records` first; a build on your machine has it after `python -m bookkit.night fetch`."
    results = Counter(row["result"] for row in night["results"])
    lines = [f"On {night['date'][:16].replace('T', ' ')} UTC, {results['ok']} of {results['ok'] + results['failed']} chapters that should have run ran well"
            f" ({results['failed']} failed, {results['skipped']} skipped).", "", "| Model | Chapter | Result | Cell | Error, or why it was skipped |", "|---" * 5 + "|"]  # fmt: skip
    order = {"failed": 0, "skipped": 1, "ok": 2}
    for row in sorted(night["results"], key=lambda row: order[row["result"]]):
        words = (
            " ".join(str(row.get("error") or row.get("reason") or "").split())[:300].replace("`", "'").replace("|", "¦")
        )
        lines.append(
            f"| `{row['model']}` | {row['chapter']} | {row['result']} | {row.get('cell') or ''} | {f'`{words}`' if words else ''} |"
        )
    return "\n".join(lines)


def as_csv(rows):
    """The same rows as CSV text."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else ["chapter"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
