"""The page of winning cases: its data arrives whole, and its first cases stand on it as text."""

import json

from bs4 import BeautifulSoup

from bookkit.site import cases

TOKENS = ["The", " Window", "\n", "</script>", " {{ x }}", " *a*", " `b`", " <|end|>", " W", "¶"]


def made(n):
    """Data of `n` cases on nasty tokens, as chapter 5 writes it: two of them are succession, and none has a large effect."""
    rows = [
        {
            "text": 0,
            "context": 0,
            "prefix": 7,
            "effect": 0.1 * place,
            "attended": [1, 3],
            "weight": [0.9, 0.004],
            "paper": "successorship" if place in (3, 4) else "acronym",
            "strict": "acronym",
        }
        for place in range(n)
    ]
    return {
        "model": "some",
        "head": "L1H0",
        "texts": [{"name": "t", "natural": True, "contexts": [TOKENS]}],
        "cases": rows,
    }


def write(folder, data):
    """What `cases.write` puts on the page and beside it."""
    (folder / "book/_static").mkdir(parents=True)
    record = folder / "05-natural-language.json"
    if data is not None:
        record.with_suffix("").mkdir()
        (record.with_suffix("") / "cases.json").write_text(json.dumps(data), encoding="utf8")
    return cases.write(folder, [folder / "01-find-heads.json", record]), folder / "book/_static/cases-data.js"


def test_data_arrives_whole_whatever_stands_in_the_text(tmp_path):
    data = made(30)
    _, script = write(tmp_path, data)
    text = script.read_text(encoding="utf8")
    assert "<" not in text  # nothing in it can end the script
    own, *others = json.loads(text.removeprefix("window.SH_CASES = ").rstrip(";\n"))["runs"]
    assert own == data
    # What comes with the library has the form of the chapter's, and is of other models.
    assert {"published/smollm2", "published/gemma3-270m"} <= {run["model"] for run in others}
    for run in others:
        assert set(run) == set(own) and set(run["cases"][0]) == set(own["cases"][0])
        assert set(run["texts"][0]) == set(own["texts"][0])


def test_a_model_that_comes_with_the_library_is_not_shown_twice(tmp_path):
    _, script = write(tmp_path, made(1) | {"model": "published/smollm2"})
    runs = json.loads(script.read_text(encoding="utf8").removeprefix("window.SH_CASES = ").rstrip(";\n"))["runs"]
    assert [run["model"] for run in runs].count("published/smollm2") == 1


def test_the_first_cases_stand_on_the_page_as_they_are_in_the_text_succession_first(tmp_path):
    html, _ = write(tmp_path, made(30))
    assert "\n" not in html and "{{" not in html  # one block of HTML, with nothing left to substitute
    items = BeautifulSoup(html, "html.parser").select("li")
    assert len(items) == cases.FIRST
    facts = [item.select_one(".sh-cases-facts").text for item in items[:3]]
    assert facts == [
        "successorship · effect 0.40 · t, written by people",
        "successorship · effect 0.30 · t, written by people",
        "acronym · effect 2.90 · t, written by people",
    ]
    shown = "".join(TOKENS[:8]).replace("\n", "⏎") + " →  W"
    assert items[0].select_one(".sh-cases-text").text == shown
    assert [span.text for span in items[0].select("span")] == [" Window"]


def test_without_cases_the_page_says_so(tmp_path):
    assert write(tmp_path / "a", None)[0] == cases.NONE == write(tmp_path / "b", made(0))[0]
