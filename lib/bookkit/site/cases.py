"""The page of winning cases: its data as a script, and its first cases as text.

Chapter 5 leaves `cases.json` in the folder beside its record; of other models some cases come with the library. A page
that is opened from a folder may not fetch files, so the data becomes a script; for readers without JavaScript, and for
search engines, the first cases stand on the page.
"""

import json
from importlib.resources import files

from successor_heads import figures

CHAPTER = "05-natural-language"
FIRST = 12  # cases that stand on the page as text
BEFORE = 32  # tokens in front of an answer that are shown, as in cases.js
CLOSELY = ("at", "raised", "odds")  # what the library keeps of a case for the chapter alone
FIRST_BEHAVIOUR = "successorship"  # with which the page opens
NONE = "On this model the chapter found no winning cases, or has not been run."


def write(site, record_paths):
    """Write `_static/cases-data.js` into the site; returns what stands on the page in place of `{{ winning_cases }}`."""
    path = next((path.with_suffix("") / "cases.json" for path in record_paths if path.stem == CHAPTER), None)
    own = json.loads(path.read_text(encoding="utf8")) if path is not None and path.exists() else {"cases": []}
    if not own["cases"]:
        return NONE
    data = {"runs": [own, *stored_runs(but=own["model"])]}
    # "</script>" in a text would end the script early.
    script = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    (site / "book/_static/cases-data.js").write_text(f"window.SH_CASES = {script};\n", encoding="utf8")
    first = sorted(own["cases"], key=lambda case: (case["paper"] != FIRST_BEHAVIOUR, -case["effect"]))[:FIRST]
    items = "".join(f"<li>{item(case, own['texts'])}</li>" for case in first)
    return (
        f'<div id="sh-cases"><p>{len(first)} of {len(own["cases"])} cases of {own["head"]}, succession first:</p>'
        f'<ol class="sh-cases-list">{items}</ol></div>'
        '<script src="../_static/cases-data.js"></script><script src="../_static/cases.js"></script>'
    )


def stored_runs(*, but):
    """The cases of other models that come with the library, in the form of the chapter's."""
    stored = json.loads((files("successor_heads") / "evidence/natural-text.json").read_text(encoding="utf8"))
    return [
        {
            "model": run["model"],
            "head": run["head"],
            "texts": run["read"],
            "cases": [{key: value for key, value in case.items() if key not in CLOSELY} for case in run["cases"]],
        }
        for run in stored["runs"]
        if run["model"] != but and run["cases"]
    ]


def item(case, texts):
    """One case as HTML, on one line."""
    text = texts[case["text"]]
    tokens = text["contexts"][case["context"]]
    start = max(0, case["prefix"] - BEFORE)
    weights = dict(zip(case["attended"], case["weight"]))
    read = range(start, case["prefix"] + 1)
    shaded = "".join(figures.shaded(tokens[at], weights.get(at, 0.0), as_html=visible) for at in read)
    written_by = f"written by {'people' if text['natural'] else 'rules'}"
    facts = f"{case['paper']} · effect {case['effect']:.2f} · {text['name']}, {written_by}"
    return (
        f'<div class="sh-cases-facts">{facts}</div><p class="sh-cases-text">{"… " if start else ""}{shaded}'
        f" → <strong>{visible(tokens[case['prefix'] + 1])}</strong></p>"
    )


def visible(token):
    """A token as HTML in which Markdown and substitutions find nothing to do."""
    shown = token.replace("\n", "⏎")
    return "".join(
        character if character.isalnum() or character in " ⏎¶.," else f"&#{ord(character)};" for character in shown
    )
