"""The page of winning cases: its data as a script, and its first cases as text.

Chapter 5 leaves `cases.json` in the folder beside its record. A page that is opened from a folder may not fetch files,
so the data becomes a script; for readers without JavaScript, and for search engines, the first cases stand on the page.
"""

import json

CHAPTER = "05-natural-language"
FIRST = 12  # cases that stand on the page as text
BEFORE = 32  # tokens in front of an answer that are shown, as in cases.js
NONE = "On this model the chapter found no winning cases, or has not been run."


def write(site, record_paths):
    """Write `_static/cases-data.js` into the site; returns what stands on the page in place of `{{ winning_cases }}`."""
    path = next((path.with_suffix("") / "cases.json" for path in record_paths if path.stem == CHAPTER), None)
    data = json.loads(path.read_text(encoding="utf8")) if path is not None and path.exists() else {"cases": []}
    if not data["cases"]:
        return NONE
    # "</script>" in a text would end the script early.
    script = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    (site / "book/_static/cases-data.js").write_text(f"window.SH_CASES = {script};\n", encoding="utf8")
    first = sorted(data["cases"], key=lambda case: -case["effect"])[:FIRST]
    items = "".join(f"<li>{item(case, data['texts'])}</li>" for case in first)
    return (
        f'<div id="sh-cases"><p>The {len(first)} of {len(data["cases"])} cases of {data["head"]} with the largest effect:</p>'
        f'<ol class="sh-cases-list">{items}</ol></div>'
        '<script src="../_static/cases-data.js"></script><script src="../_static/cases.js"></script>'
    )


def item(case, texts):
    """One case as HTML, on one line."""
    text = texts[case["text"]]
    tokens = text["contexts"][case["context"]]
    start = max(0, case["prefix"] - BEFORE)
    weights = dict(zip(case["attended"], case["weight"]))
    shaded = "".join(
        f'<span title="attention {weights[at]:.0%}" style="background: rgba(217, 119, 43, {0.6 * weights[at]:.2f})">{visible(tokens[at])}</span>'
        if weights.get(at, 0) >= 0.01
        else visible(tokens[at])
        for at in range(start, case["prefix"] + 1)
    )
    behaviour = case.get("behaviour_3") or next(case[key] for key in case if key.startswith("behaviour_"))
    facts = f"{behaviour} · effect {case['effect']:.2f} · {text['name']}, written by {'people' if text['natural'] else 'rules'}"
    return (
        f'<div class="sh-cases-facts">{facts}</div><p class="sh-cases-text">{"… " if start else ""}{shaded}'
        f" → <strong>{visible(tokens[case['prefix'] + 1])}</strong></p>"
    )


def visible(token):
    """A token as HTML in which Markdown and substitutions find nothing to do."""
    shown = token.replace("\n", "⏎")
    return "".join(
        character if character.isalnum() or character in " ⏎.," else f"&#{ord(character)};" for character in shown
    )
