"""The workbench: its numbers, its tables without JavaScript, and the page in a real browser, driven by the keyboard."""

import json
from pathlib import Path

import pytest
import torch
from bs4 import BeautifulSoup
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from successor_heads import ordinals, workbench
from test_browser import PATIENCE, chrome, need, outside_requests, set_theme, show  # noqa: F401

ROOT = Path(__file__).parent.parent
STATIC = ROOT / "book" / "_static"


@pytest.fixture(scope="module")
def lists(tokenizer):
    """Days and letters with logits made by hand: the unedited head counts, and each direction promotes its successor."""
    made = {}
    for task, resolved in ordinals.resolve(tokenizer).items():
        if task in ("days", "letters"):
            n = len(resolved.words)
            clean = torch.zeros(n, n)
            clean[resolved.source, resolved.target] = 4.0
            follows = torch.stack([(resolved.index % 10 == (r + 1) % 10).float() for r in range(10)])
            wrong = follows.roll(3, 0)
            made[task] = workbench.EditableList(
                resolved, torch.arange(n), clean, {"class means": follows, "permuted": wrong}, scale=4.5
            )
    return made


def test_logits_are_the_source_plus_k_times_the_difference(lists):
    days = lists["days"]
    before, after = (days.logits(1, 5, k, directions="class means") for k in (0.0, 4.5))
    assert before.argmax() == 2 and after.argmax() == 5, "Tuesday with a 5 is followed by Saturday"
    assert after.mean().abs() < 1e-6
    assert (after - before)[5] - (after - before)[2] == pytest.approx(9.0), "5 in and 2 out, 4.5 times each"
    assert "answers Saturday (as the edit says)" in workbench.answer_sentence(days, 1, 5, 4.5, directions="class means")
    assert "answers Wednesday (the old answer)" in workbench.answer_sentence(days, 1, 5, 0.1, directions="class means")


def test_an_edit_to_the_own_residue_is_not_offered(lists):
    assert [r for _, r in workbench.residues_of(lists["days"], 1)] == [1, 3, 4, 5, 6, 7]
    assert workbench.residues_of(lists["days"], 1)[3] == ("5, as in Friday", 5)


def test_without_javascript_every_answer_is_in_a_table(lists):
    soup = BeautifulSoup(workbench.page(lists, caption="A caption."), "html.parser")
    assert soup.figcaption.text == "A caption."
    assert soup.find("details", class_="sh-answers").has_attr("open")
    tables = soup.find_all("table")
    assert len(tables) == 2
    rows = {row.th.text: [cell.text for cell in row.find_all("td")] for row in tables[0].tbody.find_all("tr")}
    assert rows["Tuesday"] == [
        "",
        "Tuesday ✓",
        "Wednesday ✓",
        "Thursday ✓",
        "Friday ✓",
        "Saturday ✓",
        "Sunday ✓",
        "Monday ✓",
        "",
        "",
    ]
    assert "</script" not in json.dumps(json.loads(soup.find("script").string)), "the tables can be read as JSON"


def test_a_large_class_shows_its_highest_members_and_the_two_that_matter(lists):
    soup = BeautifulSoup(workbench.bars(lists["letters"], 0, 7, 1.0, directions="permuted"), "html.parser")
    words = [row.th.text for row in soup.find_all("tr")]
    assert "H ◀ edited" in words and "B ◁ before" in words and workbench.MOST_BARS <= len(words) < 26


def test_the_live_workbench_answers_as_the_page_does(lists):
    need(_has_ipywidgets(), "ipywidgets is not installed here")
    box = workbench.live(lists)
    (task, source, residue), (directions, scale) = box.children[0].children, box.children[1].children
    assert scale.value == 4.5 and source.value == 0
    source.value, residue.value = 1, 5
    assert "answers Saturday (as the edit says)" in box.children[2].value
    scale.value = 0.1
    assert "answers Wednesday (the old answer)" in box.children[2].value
    directions.value, scale.value = "permuted", 4.5
    assert "answers Saturday" not in box.children[2].value
    task.value = "letters"
    assert scale.value == 4.5 and "answers" in box.children[2].value


def _has_ipywidgets():
    try:
        import ipywidgets  # noqa: F401
    except ImportError:
        return False
    return True


def test_in_the_book_the_page_is_shown_and_in_a_notebook_the_widgets(lists, monkeypatch):
    shown = []
    monkeypatch.setattr(workbench, "display", shown.append)
    monkeypatch.setattr(workbench, "live", lambda lists: "widgets")
    monkeypatch.setenv("SUCCESSOR_HEADS_BOOK", "1")
    workbench.show(lists, caption="c")
    monkeypatch.delenv("SUCCESSOR_HEADS_BOOK")
    workbench.show(lists, caption="c")
    assert "sh-workbench" in shown[0].data and shown[1] == "widgets"


@pytest.fixture(scope="module")
def page(chrome, lists, tmp_path_factory):  # noqa: F811
    """The workbench on a page of its own, with the book's own script and sheet, opened from its file."""
    path = tmp_path_factory.mktemp("bench") / "page.html"
    path.write_text(
        '<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<link rel="stylesheet" href="{(STATIC / "book.css").as_uri()}"><body><main class="bd-article"><div class="cell_output">'
        f'{workbench.page(lists, caption="A caption.")}</div></main><script src="{(STATIC / "workbench.js").as_uri()}"></script></body></html>',
        encoding="utf8",
    )
    return path


def bars_of(browser):
    rows = browser.find_elements(By.CSS_SELECTOR, ".sh-bench-bars tbody tr")
    return {
        row.find_element(By.TAG_NAME, "th").text: float(row.find_element(By.CSS_SELECTOR, ".value").text)
        for row in rows
    }


def focused(browser):
    return browser.execute_script("return document.activeElement.id.split('-').pop()")


def answer_of(browser):
    return browser.find_element(By.CSS_SELECTOR, ".sh-bench-answer").text


def test_the_workbench_is_driven_by_the_keyboard_and_its_numbers_are_the_library_s(chrome, page, lists):  # noqa: F811
    chrome.get_log("browser")
    show(chrome, page, 1280)
    assert not chrome.find_element(By.CSS_SELECTOR, ".sh-answers").get_attribute("open"), "closed where the script runs"
    body = chrome.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    order = [focused(chrome)]
    for _ in range(4):
        chrome.switch_to.active_element.send_keys(Keys.TAB)
        order.append(focused(chrome))
    assert order == ["class", "source", "residue", "directions", "scale"]

    def press(name, *keys):
        control = chrome.find_element(By.CSS_SELECTOR, f"[id$='-{name}']")
        chrome.execute_script("arguments[0].focus()", control)
        for key in keys:
            chrome.switch_to.active_element.send_keys(key)

    press("source", Keys.ARROW_DOWN)  # Tuesday
    press("residue", "5")
    assert "Saturday (as the edit says)" in answer_of(chrome)
    press("scale", Keys.HOME)
    assert "Wednesday (the old answer)" in answer_of(chrome)
    press("scale", *[Keys.ARROW_RIGHT] * 11)
    days = lists["days"]
    expected = days.logits(1, 5, 1.1, directions="class means")
    shown = bars_of(chrome)
    assert {word.split(" ")[0]: value for word, value in shown.items()} == pytest.approx(
        dict(zip(days.resolved.words, expected.tolist())), abs=0.03
    )
    assert "Saturday ◆" in shown and "Wednesday ◇" in shown
    press("directions", Keys.ARROW_DOWN)
    permuted = days.logits(1, 5, 1.1, directions="permuted")
    assert list(bars_of(chrome).values()) == pytest.approx(permuted.tolist(), abs=0.03)
    press("class", Keys.ARROW_DOWN)
    assert chrome.find_element(
        By.CSS_SELECTOR, "output"
    ).text == "4.5" and "without the edit it answers B." in answer_of(chrome)
    assert not [e["message"] for e in chrome.get_log("browser") if e["level"] == "SEVERE"] and not outside_requests(
        chrome
    )


def test_the_workbench_fits_a_phone_and_reads_in_both_themes(chrome, page):  # noqa: F811
    show(chrome, page, 390)
    width, inner = chrome.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= inner == 390
    low = chrome.execute_script(
        "return Math.min(...[...document.querySelectorAll('.sh-bench select')].map(s => s.getBoundingClientRect().height))"
    )
    assert low >= 36, "a finger has to hit it"
    for theme in ("light", "dark"):
        set_theme(chrome, theme)
        ink, ground = chrome.execute_script(
            "const s = getComputedStyle(document.querySelector('.sh-bench select')); return [s.color, s.backgroundColor]"
        )
        assert ink != ground


def test_the_workbench_of_the_book_works_from_its_folder(chrome):  # noqa: F811
    built = ROOT / "_build" / "site" / "_build" / "html" / "notebooks" / "04-vector-arithmetic.html"
    need(built.exists(), "The book is not built: run `make book`.")
    show(chrome, built, 1280)
    WebDriverWait(chrome, PATIENCE).until(lambda b: b.find_elements(By.CSS_SELECTOR, ".sh-bench-bars tbody tr"))
    record = json.loads((ROOT / "_build" / "records" / "grown__pythia" / "04-vector-arithmetic.json").read_text())
    edits = [row for row in record["tables"]["edits"] if row["class"] == "months"]
    pick = lambda name, value: chrome.execute_script(  # noqa: E731
        "const s = document.querySelector(`[id$='-${arguments[0]}']`);"
        "s.value = [...s.options].find(o => o.text.startsWith(arguments[1])).value; s.dispatchEvent(new Event('change'))",
        name,
        value,
    )
    pick("class", "months")
    for row in edits[::7]:
        pick("source", row["source"])
        pick("residue", f"{row['residue']},")
        assert f"The head answers {row['answered']} (" in answer_of(chrome), row
