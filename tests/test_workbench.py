"""The workbench: its one table, its numbers, its tables without JavaScript, and the page in a real browser, driven by the keyboard."""

import base64
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from successor_heads import arithmetic, ordinals, workbench
from successor_heads.workbench import Preset, Workbench
from test_browser import PATIENCE, chrome, need, outside_requests, set_theme, show  # noqa: F401

ROOT = Path(__file__).parent.parent
STATIC, PACKAGE = ROOT / "book" / "_static", ROOT / "lib" / "successor_heads"


@pytest.fixture(scope="module")
def bench(tokenizer):
    """Days and letters with logits made by hand: the unedited head counts, and each direction promotes its successor.

    The push to a 6 is too short to win, so that one preset fails.
    """
    lists = {}
    for task, resolved in ordinals.resolve(tokenizer).items():
        if task in ("days", "letters"):
            n = len(resolved.words)
            clean = torch.zeros(n, n)
            clean[resolved.source, resolved.target] = 4.0
            follows = torch.stack([(resolved.index % 10 == (r + 1) % 10).float() for r in range(10)])
            edits = arithmetic.all_edits(resolved)
            length = torch.where(edits.residue == 6, 0.2, 1.0)
            lists[task] = workbench.EditableList(
                words=resolved.words,
                edits=edits,
                clean=clean,
                directions={"class means": follows, "shuffled": follows.roll(3, 0)},
                lengths={"class means": length, "shuffled": length},
                scale=2.5,
            )
    days = lists["days"]
    works, fails = days.place("Tuesday", 5), days.place("Tuesday", 6)
    presets = [
        Preset("days", works, "class means"),
        Preset("days", fails, "class means"),
        Preset("days", works, "shuffled"),
    ]
    return Workbench(lists, presets)


@pytest.fixture(scope="module")
def soup(bench):
    return BeautifulSoup(bench._repr_html_(), "html.parser")


def test_logits_are_the_source_plus_lambda_times_the_length_times_the_difference(bench):
    days = bench.lists["days"]
    edit = days.place("Tuesday", 5)
    before, after = (days.logits(edit, scale, directions="class means") for scale in (0.0, 2.5))
    assert before.argmax() == 2 and after.argmax() == 5, "Tuesday with a 5 is followed by Saturday"
    assert after.mean().abs() < 1e-6
    assert (after - before)[5] - (after - before)[2] == pytest.approx(5.0), "5 in and 2 out, 2.5 times each"
    short = days.place("Tuesday", 6)
    moved = days.logits(short, 2.5, directions="class means") - days.logits(short, 0.0, directions="class means")
    assert moved[6] - moved[2] == pytest.approx(1.0, abs=1e-5), "a fifth as long"
    assert days.place("Tuesday", 8) is None and days.place("Noday", 1) is None


def test_the_table_is_all_there_is_and_python_reads_it_as_the_logits_are(bench, soup):
    """What the page carries is the table, and the answers read from it are those of the tensors."""
    table = json.loads(soup.find("script", type="application/json").string)
    assert table == json.loads(json.dumps(bench.table))
    for title, editable in bench.lists.items():
        for edit in range(len(editable.edits.source)):
            for directions in editable.directions:
                for scale in (0.1, editable.scale):
                    read = workbench.answer(table, title, edit, scale, directions=directions)
                    logits = editable.logits(edit, scale, directions=directions)
                    assert logits[read] >= logits.max() - 0.05  # rows are rounded


@pytest.mark.parametrize("size", [1e-4, 1.0, 50.0])
@pytest.mark.parametrize("length", [0.1, 20.0])
def test_the_table_holds_the_edits_of_a_head_that_writes_little(bench, size, length):
    """Gemma's best head adds 0.004 logits for each unit of a push of length 20: in hundredths that was no edit at all."""
    days = bench.lists["days"]
    lengths = {name: values * length for name, values in days.lengths.items()}
    directions = {name: size * rows / length for name, rows in days.directions.items()}
    small = Workbench({"days": replace(days, clean=size * days.clean, directions=directions, lengths=lengths)}, [])
    for edit in range(len(days.edits.source)):
        expected = days.logits(edit, 2.5, directions="class means")
        read = workbench.answer(small.table, "days", edit, 2.5, directions="class means")
        assert expected[read] >= expected.max() - 0.02 * size
    moved = workbench.answer(small.table, "days", days.place("Tuesday", 5), 2.5, directions="class means")
    assert moved == 5 and small.table["lists"]["days"]["digits"] == (2 if size >= 1 else 5)


def test_what_javascript_says_stands_in_the_table_and_not_in_the_script(bench):
    """Neither is written twice: no wording of the table is spelled out in the script, and every name in braces is filled in there."""
    script = (PACKAGE / "workbench.js").read_text(encoding="utf8")
    for wording in (*workbench.WORDING.values(), *workbench.MARKS.values()):
        fixed = max(wording.replace("{", "}").split("}")[::2], key=len).strip()
        assert fixed not in script, fixed
    assert not [label for label in workbench.CONTROLS.values() if f'"{label}"' in script]
    assert set(workbench.WORDING) <= set(re.findall(r"\w+", script))


@pytest.fixture(scope="module")
def with_model(bench):
    """The bench on the page about the model that runs there: directions that both lists share, and their own."""
    f = torch.nn.functional.normalize(torch.randn(10, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    vectors = {"days": {"class means": f, "shuffled": f.roll(3, 0)}, "letters": {"class means": f, "shuffled": -f}}
    lists = {
        title: replace(
            editable,
            running=workbench.Running(title, {0: f" {editable.words[0]},"}, vectors[title]),
            lengths={name: 7 * lengths for name, lengths in editable.lengths.items()},
        )
        for title, editable in bench.lists.items()
    }
    return Workbench(lists, bench.presets)


def test_the_page_carries_every_direction_once_and_the_pushes_made_of_it_are_the_list_s(with_model):
    carried, table = with_model.edits_in_page, with_model.table
    rows = np.frombuffer(base64.b64decode(carried["rows"]), dtype="<i2").reshape(-1, 16) * carried["unit"]
    assert len(rows) == 20, "ten directions, and their opposites"
    for title, editable in with_model.lists.items():
        of = carried["lists"][title]
        for name, f in editable.running.vectors.items():
            for edit in (0, 5, 17):
                to, own = (int(each[edit]) for each in (editable.edits.residue, editable.edits.source_residue))
                push = of["longest"][name] * table["lists"][title]["lengths"][name][edit]
                added = push * (rows[of["rows"][name][to]] - rows[of["rows"][name][own]])
                expected = editable.lengths[name][edit] * (f[to] - f[own])
                assert np.abs(added - expected.numpy()).max() < 1e-4 * 7


def test_the_running_model_is_offered_in_the_book_where_it_is_there(bench, with_model, monkeypatch):
    monkeypatch.setenv("SUCCESSOR_HEADS_BOOK", "1")
    assert bench.edits_in_page is None and "data-live" not in bench._repr_html_()
    offered = BeautifulSoup(with_model._repr_html_(), "html.parser").select_one("figure.sh-workbench > .sh-live")
    assert json.loads(offered["data-options"]) == json.loads(json.dumps(with_model.edits_in_page))
    monkeypatch.delenv("SUCCESSOR_HEADS_BOOK")
    assert "data-live" not in with_model._repr_html_(), "a notebook has no model to bring"


def test_what_is_said_of_the_running_model_stands_in_the_page_and_not_in_the_script():
    script = (STATIC / "live" / "figures.js").read_text(encoding="utf8")
    for name, wording in workbench.WORDING_IN_MODEL.items():
        fixed = max(wording.replace("{", "}").split("}")[::2], key=len).strip()
        assert fixed not in script and re.search(rf"\b{name}\b", script), name


def test_without_javascript_every_answer_is_in_a_table(soup):
    assert soup.find("details", class_="sh-answers").has_attr("open")
    tables = soup.find_all("table")
    assert len(tables) == 2
    rows = {row.th.text: [cell.text for cell in row.find_all("td")] for row in tables[0].tbody.find_all("tr")}
    expected = ["", "Tuesday ✓", "", "Thursday ✓", "Friday ✓", "Saturday ✓", "Wednesday", "Wednesday", "", ""]
    assert rows["Tuesday"] == expected, "the own residue is not offered, a 6 is too short, and a 7 promotes nobody"


def test_the_page_brings_its_script_in_a_notebook_and_not_in_the_book(bench, monkeypatch):
    monkeypatch.delenv("SUCCESSOR_HEADS_BOOK", raising=False)
    alone = bench._repr_html_()
    monkeypatch.setenv("SUCCESSOR_HEADS_BOOK", "1")
    in_book = bench._repr_html_()
    assert "function build" in alone and ".sh-bench-bars" in alone
    assert "function build" not in in_book and "<style>" not in in_book and 'class="sh-figure sh-workbench"' in in_book


@pytest.fixture(scope="module")
def page(chrome, bench, tmp_path_factory):  # noqa: F811
    """The workbench on a page of its own, with the book's own script and sheets, opened from its file."""
    path = tmp_path_factory.mktemp("bench") / "page.html"
    sheets = "".join(
        f'<link rel="stylesheet" href="{sheet.as_uri()}">' for sheet in (STATIC / "book.css", PACKAGE / "workbench.css")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUCCESSOR_HEADS_BOOK", "1")
        shown = bench._repr_html_()
    path.write_text(
        '<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'{sheets}<body><main class="bd-article"><div class="cell_output">{shown}</div></main>'
        f'<script src="{(PACKAGE / "workbench.js").as_uri()}"></script></body></html>',
        encoding="utf8",
    )
    return path


def rows_of(browser):
    """Word, with its mark, and what its bar says: (value, sign, where it starts and ends in its track, as shares)."""
    found = {}
    for row in browser.find_elements(By.CSS_SELECTOR, ".sh-bench-bars tbody tr"):
        bar = row.find_element(By.CSS_SELECTOR, ".bar")
        left, width = (float(bar.value_of_css_property(p).removesuffix("px")) for p in ("left", "width"))
        track = row.find_element(By.CSS_SELECTOR, ".track").size["width"]
        value = float(row.find_element(By.CSS_SELECTOR, ".value").text.replace("−", "-"))
        found[row.find_element(By.TAG_NAME, "th").text] = (
            value, bar.get_attribute("data-sign"), left / track, (left + width) / track,
        )  # fmt: skip  # one row
    return found


def values_of(browser):
    return {word.split(" ")[0]: row[0] for word, row in rows_of(browser).items()}


def focused(browser):
    return browser.execute_script("const e = document.activeElement; return e.id.split('-').pop() || e.dataset.preset")


def answer_of(browser):
    return browser.find_element(By.CSS_SELECTOR, ".sh-bench-answer").text


def press(browser, name, *keys):
    control = browser.find_element(By.CSS_SELECTOR, f"[id$='-{name}']")
    browser.execute_script("arguments[0].focus()", control)
    for key in keys:
        browser.switch_to.active_element.send_keys(key)


def test_it_opens_on_a_success_and_the_presets_are_what_they_say(chrome, page, bench):  # noqa: F811
    show(chrome, page, 1280)
    assert answer_of(chrome) == "The head answers Saturday, as it should. Without the edit it answers Wednesday."
    buttons = chrome.find_elements(By.CSS_SELECTOR, ".sh-bench-presets button")
    assert [button.text for button in buttons] == [
        "Tuesday given a 5: should give Saturday",
        "Tuesday given a 6: should give Sunday",
        "Tuesday given a 5, but shuffled",
    ]
    pressed = [button.get_attribute("aria-pressed") for button in buttons]
    assert pressed == ["true", "false", "false"]
    buttons[1].send_keys(Keys.ENTER)
    assert answer_of(chrome).startswith("The head still answers Wednesday; it should give Sunday.")
    buttons[2].send_keys(Keys.ENTER)
    assert answer_of(chrome).startswith("The head ") and "as it should" not in answer_of(chrome)
    buttons[0].send_keys(Keys.ENTER)
    assert "as it should" in answer_of(chrome)


def test_bars_are_drawn_from_zero_both_ways(chrome, page, bench):  # noqa: F811
    show(chrome, page, 1280)
    rows = rows_of(chrome)
    assert {sign for _, sign, _, _ in rows.values()} == {"negative", "positive"}
    zero = {round(end if value < 0 else start, 2) for value, _, start, end in rows.values()}
    assert max(zero) - min(zero) <= 0.011 and 0 < min(zero) < 1, "one zero for all of them"
    for value, sign, *_ in rows.values():
        assert (value < 0) == (sign == "negative")
    widths = {word: end - start for word, (_, _, start, end) in rows.items()}
    values = {word: abs(value) for word, (value, *_) in rows.items()}
    largest = max(values, key=values.get)
    for word in widths:
        assert widths[word] / widths[largest] == pytest.approx(values[word] / values[largest], abs=0.02)


def test_the_workbench_is_driven_by_the_keyboard_and_its_numbers_are_the_library_s(chrome, page, bench):  # noqa: F811
    chrome.get_log("browser")
    show(chrome, page, 1280)
    assert not chrome.find_element(By.CSS_SELECTOR, ".sh-answers").get_attribute("open"), "closed where the script runs"
    chrome.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    order = [focused(chrome)]
    for _ in range(7):
        chrome.switch_to.active_element.send_keys(Keys.TAB)
        order.append(focused(chrome))
    assert order == ["0", "1", "2", "list", "source", "residue", "directions", "scale"]
    days = bench.lists["days"]
    press(chrome, "scale", Keys.HOME)
    assert answer_of(chrome).startswith("The head still answers Wednesday; it should give Saturday.")
    press(chrome, "scale", *[Keys.ARROW_RIGHT] * 22)
    expected = days.logits(days.place("Tuesday", 5), 1.1, directions="class means")
    assert values_of(chrome) == pytest.approx(dict(zip(days.words, expected.tolist())), abs=0.03)
    assert "Saturday ◆" in rows_of(chrome) and "Wednesday ◇" in rows_of(chrome)
    press(chrome, "directions", Keys.ARROW_DOWN)
    expected = days.logits(days.place("Tuesday", 5), 1.1, directions="shuffled")
    assert values_of(chrome) == pytest.approx(dict(zip(days.words, expected.tolist())), abs=0.03)
    press(chrome, "list", Keys.ARROW_DOWN)
    assert chrome.find_element(By.CSS_SELECTOR, "output").text == "2.50"
    assert "Without the edit it answers B." in answer_of(chrome)
    assert len(rows_of(chrome)) < 26, "of a long list the highest, and the two that matter"
    assert any(word.endswith("◆") for word in rows_of(chrome)) and any(word.endswith("◇") for word in rows_of(chrome))
    assert not [e["message"] for e in chrome.get_log("browser") if e["level"] == "SEVERE"]
    assert not outside_requests(chrome)


def test_the_workbench_fits_a_phone_and_reads_in_both_themes(chrome, page):  # noqa: F811
    show(chrome, page, 390)
    width, inner = chrome.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= inner == 390
    low = chrome.execute_script(
        "return Math.min(...[...document.querySelectorAll('.sh-bench :is(select, button)')].map(s => s.getBoundingClientRect().height))"
    )
    assert low >= 36, "a finger has to hit it"
    for theme in ("light", "dark"):
        set_theme(chrome, theme)
        for part in ("select", "button"):
            ink, ground = chrome.execute_script(
                "const e = document.querySelector('.sh-bench ' + arguments[0]); const s = getComputedStyle(e);"
                "const behind = getComputedStyle(document.body).backgroundColor;"
                "return [s.color, s.backgroundColor === 'rgba(0, 0, 0, 0)' ? behind : s.backgroundColor]",
                part,
            )
            assert ink != ground, (theme, part)


def test_the_workbench_of_the_book_works_from_its_folder(chrome):  # noqa: F811
    built = ROOT / "_build" / "site" / "_build" / "html" / "notebooks" / "04-vector-arithmetic.html"
    need(built.exists(), "The book is not built: run `make book`.")
    show(chrome, built, 1280)
    WebDriverWait(chrome, PATIENCE).until(lambda b: b.find_elements(By.CSS_SELECTOR, ".sh-bench-bars tbody tr"))
    assert answer_of(chrome) == "The head answers August, as it should. Without the edit it answers June."
    rows = rows_of(chrome)
    assert all((value < 0) == (sign == "negative") for value, sign, _, _ in rows.values())
    chrome.find_element(By.CSS_SELECTOR, ".sh-workbench .sh-live-start").send_keys(Keys.ENTER)
    WebDriverWait(chrome, PATIENCE).until(lambda b: b.find_elements(By.CSS_SELECTOR, ".sh-live-edit tbody tr"))
    model = chrome.find_element(By.CSS_SELECTOR, ".sh-live-edit .sh-bench-answer").text
    assert model.startswith("The running model ") and model.endswith("Without the edit it goes on with June.")
    before = chrome.find_elements(By.CSS_SELECTOR, "#can-we-edit-the-number-inside-a-token h2, section h2")
    assert before[1].location["y"] > chrome.find_element(By.CSS_SELECTOR, ".sh-bench").location["y"], (
        "in the first section"
    )
