"""The model in the page: it computes what torch computes, and Play and the chapters' figures answer keys and fingers."""

import base64
import json
import random
import shutil
from html import unescape
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from bs4 import BeautifulSoup
from matplotlib import pyplot as plt
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from bookkit.site import live as site_live
from successor_heads import (
    ablation,
    anatomy,
    cached,
    direct_effects,
    figures,
    live,
    models,
    ordinals,
    ov_circuit,
    prompts,
    scores,
)
from successor_heads.figures import Drawing, Table, pd
from successor_heads.growing import succession
from successor_heads.growing.train import Recipe
from successor_heads.studies import growing, mod10_features, models_of_today, vector_arithmetic
from test_browser import (  # noqa: F401 # fmt: skip # a fixture
    AXE,
    EVERYWHERE,
    PATIENCE,
    RUN_AXE,
    THEMES,
    WIDTHS,
    chrome,
    outside_requests,
    requests,
    set_theme,
    show,
)

STATIC = Path(__file__).parent.parent / "book" / "_static"
PACKAGE = Path(live.__file__).parent
N_PROMPTS = 1000
NEAR = 1e-3  # logits
ODD = [
    "don't stop… café — naïve 日本語 😀 12345 \n\n  tabs\t x",
    "  two  spaces \n",
    "a\u00a0b\u2003c\ufeffd\u0085e",
    "I'll say <|endoftext|>Monday, it's 3.14!",
    "ǅ ß Ⅷ ٣ ½ x²",
]


@pytest.fixture(scope="module")
def grown():
    return models.load(live.MODEL)


@pytest.fixture(scope="module")
def classes(grown):
    return ordinals.resolve(grown.tokenizer)


@pytest.fixture(scope="module")
def drawing():
    fig, ax = plt.subplots()
    ax.plot([0, 1])
    return lambda: Drawing(fig, alt="A line.", caption="A line goes up.")


@pytest.fixture(scope="module")
def of_numbers(grown, classes, drawing):
    """The figures of chapters 3, 6 and 8 as their studies make them."""
    figures.use_style()
    parts, twin = anatomy.of(grown), anatomy.of(models.untrained_twin(grown, seed=3))
    reader = mod10_features.Reader.of(parts, (1, 0), torch.tensor([0]), seed=0)
    circles = mod10_features.lay_in_circles(reader, classes["numbers"], seed=0)
    recipe = Recipe(held_out=("letters:14-26",))
    points = [
        (step, succession.shares(model, classes, recipe.parts_held_out) | {"maps": growing.maps_of(model, classes)})
        for step, model in ((0, twin), (1, parts))
    ]
    today = [models_of_today.stored(name) for name in ("published/smollm2", "published/gemma3-270m")]
    return {
        "circles": live.Living("circles", drawing(), live.MODEL, options={"tens": circles.tens, "shuffled": circles.shuffled}),
        "growing": growing.draw_live(points, classes, recipe),
        "circuit": models_of_today.draw_circuit(today),
    }  # fmt: skip  # a figure a line


@pytest.fixture(scope="module")
def edits(grown, classes):
    """What chapter 4 edits and adds at λ = 1, and its workbench, with the edits for the model in the page."""
    parts = anatomy.of(grown)
    vectors = vector_arithmetic.Vectors.of(parts, classes, scores.score_heads(parts, classes).best)
    sets = vector_arithmetic.push_sets(vectors, None, seed=0, n_draws=1)
    edited = vector_arithmetic.edit_head(vectors, sets)
    example, _ = vector_arithmetic.choose_example(vectors, sets, edited)
    return vectors, sets, vector_arithmetic.set_up_bench(vectors, sets, edited, example, seed=0, in_page=True)


@pytest.fixture(scope="module")
def folder(grown, classes, drawing, of_numbers, edits, tmp_path_factory):
    """Pages with the book's own scripts and sheets, opened from their files: Play, and the figures of chapters."""
    place = tmp_path_factory.mktemp("live")
    shutil.copy(STATIC / "book.css", place)
    shutil.copytree(STATIC / "fonts", place / "fonts")
    shutil.copytree(STATIC / "live", place / "live")
    for name in ("workbench.js", "workbench.css"):
        shutil.copy(PACKAGE / name, place)
    site_live.scripts(place / "live" / "data", grown)
    macro = scores.score_heads(anatomy.of(grown), classes).macro.tolist()
    reading = {"list": "days", "word": "Wednesday", "head": [1, 0], "macro": macro}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUCCESSOR_HEADS_BOOK", "1")
        bench = edits[-1]._repr_html_()
    shown = {
        "bench": bench,
        "play": live.element("play", site_live.still(grown)),
        "figures": live.Living("reading", drawing(), live.MODEL, options=reading)._repr_html_()
        + live.Living("conventions", drawing(), live.MODEL, options={"list": "days", "head": [1, 0]})._repr_html_()
        + "".join(figure._repr_html_() for figure in of_numbers.values()),
    }
    for name, body in shown.items():
        scripts = "".join(f'<script defer src="live/{each}.js"></script>' for each in ("parts", "play", "figures"))
        (place / f"{name}.html").write_text(
            '<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8"><title>Living</title><meta name="viewport" content="width=device-width">'
            # What the theme brings: ground and ink of the page.
            "<style>html { --pst-color-background: #fff } body { margin: 0 1rem; color: var(--pst-color-text-base); background: var(--pst-color-background) }</style>"
            f'<link rel="stylesheet" href="book.css"><link rel="stylesheet" href="live/live.css"><link rel="stylesheet" href="workbench.css">'
            f'<script defer src="workbench.js"></script>{scripts}'
            f'<body><main class="bd-article"><h1>Living</h1><div class="cell_output">{body}</div></main></body></html>',
            encoding="utf8",
        )
    return place


def generated(classes, n):
    """Prompts as readers may type them: lists in order, shuffled and mixed, sentences with ordinals, and odd characters."""
    rng, words = random.Random(0), [word for resolved in classes.values() for word in resolved.words]
    filler = "the of chapter page was in Mon day night I II V and then came after before last week's no".split()
    found = list(ODD)
    while len(found) < n:
        resolved, length = classes[rng.choice(list(classes))], rng.randint(1, 5)
        start = rng.randrange(len(resolved.words))
        run = [resolved.words[(start + k) % len(resolved.words)] for k in range(length)]
        kind = rng.randrange(4)
        if kind == 1:
            rng.shuffle(run)
        if kind == 2:
            run = [rng.choice(words) for _ in run]
        if kind == 3:
            run = [rng.choice(filler) if rng.random() < 0.6 else word for word in run]
        mark = rng.choice([", ", " ", "\n", "; ", " and "])
        found.append(rng.choice(["", " "]) + mark.join(run) + rng.choice([",", "", ".", mark.rstrip(" ")]))
    return found


LOAD = "const done = arguments[0]; SuccessorHeads.load().then(model => { window.model = model; done(null); }, error => done(error.message));"
# Single precision as base64: a million numbers as JSON would take longer than the runs.
PACK = """
const pack = values => { const bytes = new Uint8Array(Float32Array.from(values).buffer); let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192)); return btoa(text); };
"""


def unpacked(text, *shape):
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), dtype=np.float32).copy()).reshape(shape)


@pytest.fixture(scope="module")
def engine(chrome, folder):  # noqa: F811
    """The page's model, for scripts to ask as `model`."""
    opened(chrome, folder / "play.html")
    assert chrome.execute_async_script(LOAD) is None
    return chrome


def test_the_page_computes_what_torch_computes_on_a_thousand_prompts(engine, grown, classes):
    texts = generated(classes, N_PROMPTS)
    ids = engine.execute_script("return arguments[0].map(text => model.encode(text))", texts)
    assert ids == [prompts.tokens_of(grown.tokenizer, text) for text in texts]
    assert engine.execute_script("return arguments[0].map(ids => model.tokenizer.decode(ids))", ids) == texts
    ran = PACK + "return pack(arguments[0].flatMap(ids => Array.from(model.run(ids).logits)))"
    furthest, agree = 0.0, 0
    for start in range(0, N_PROMPTS, 50):
        here = unpacked(engine.execute_script(ran, ids[start : start + 50]), 50, -1)
        there = prompts.next_token_logits(grown, ids[start : start + 50])
        furthest = max(furthest, float((here - there).abs().max()))
        agree += int((here.argmax(-1) == there.argmax(-1)).sum())
    assert furthest < NEAR and agree == N_PROMPTS
    # The same measure notices a model with one head off.
    changed = unpacked(
        engine.execute_script(PACK + "return pack(model.run(arguments[0], {off: [[1, 0]]}).logits)", ids[-1]), 1, -1
    )
    assert (changed - there[-1]).abs().max() > 10 * NEAR


def test_ablation_edits_and_effects_are_the_library_s(engine, grown, classes):
    text, days, parts = " Monday, Tuesday, Wednesday,", classes["days"], anatomy.of(grown)
    ids = prompts.tokens_of(grown.tokenizer, text)
    mean = prompts.mean_head_outputs(grown, site_live.reference(classes))
    off = [(1, 0), (2, 1), (1, 2)]
    logits = unpacked(
        engine.execute_script(
            PACK + "return pack(model.run(arguments[0], {off: arguments[1]}).logits)", ids, [list(h) for h in off]
        ),
        1,
        -1,
    )
    assert torch.allclose(logits, ablation.logits_without(grown, [text], off, mean=mean), atol=NEAR)

    directions = site_live.residue_directions(parts, classes["numbers"])
    push = 3.0 * (directions[5] - directions[3])
    at = ids.index(int(days.token_ids[2]))
    pushes = torch.zeros(1, len(ids) - at, parts.d_model)
    pushes[0, 0] = push
    steered = cached.Push(1, pushes)
    there = cached.logits_of_variants(grown, [text], [[]], torch.arange(parts.d_vocab), push=steered)[0]
    pushed = "const push = {position: arguments[1], vector: model.about.directions[5].map((v, i) => 3 * (v - model.about.directions[3][i]))};"
    fresh = engine.execute_script(PACK + pushed + "return pack(model.run(arguments[0], {push}).logits)", ids, at)
    assert torch.allclose(unpacked(fresh, 1, -1), there, atol=NEAR)
    # From an earlier run: the same, whether that was of the same text, of a longer one, or of an altered one.
    for before in (
        "model.run(arguments[0])",
        "model.run([...arguments[0], 5, 7])",
        "model.run(arguments[0], {off: [[1, 0]]})",
    ):
        again = engine.execute_script(
            PACK + pushed + f"return pack(model.run(arguments[0], {{push, before: {before}}}).logits)", ids, at
        )
        assert again == fresh
    back = "const altered = model.run(arguments[0], {push, off: [[0, 1]]}); return pack(model.run(arguments[0], {before: altered}).logits)"
    intact = unpacked(engine.execute_script(PACK + pushed + back, ids, at), 1, -1)
    assert torch.allclose(intact, prompts.next_token_logits(grown, [text]), atol=NEAR)

    answer, members = days.token_ids[[3]], days.token_ids
    effects = direct_effects.on_answers(
        grown, [text], answer, members=members, reference=site_live.reference(classes)
    ).difference_fall[:, :, 0]
    here = engine.execute_script(
        "return model.directEffects(model.run(arguments[0]), arguments[1], arguments[2])",
        ids, int(answer), members.tolist(),
    )  # fmt: skip  # one call
    assert torch.allclose(torch.tensor(here), effects, atol=NEAR) and effects.abs().max() > 10 * NEAR
    patterns = engine.execute_script("return model.run(arguments[0]).patterns.map(l => l.map(p => Array.from(p)))", ids)
    expected = prompts.attention_patterns(grown, text)[1]
    assert torch.allclose(torch.tensor(patterns).reshape(expected.shape), expected, atol=1e-5)


@pytest.mark.parametrize("name", scores.CONVENTIONS)
def test_a_head_s_matrix_is_the_library_s_under_every_convention(engine, grown, classes, name):
    options = {key: value for key, value in scores.CONVENTIONS[name].items() if key != "joint"}
    parts, ids = anatomy.of(grown), torch.cat([classes["months"].token_ids, classes["days"].token_ids])
    x = ov_circuit.head_input(parts, ids, source=options.get("source", "mlp0"))
    norms = {key: value for key, value in options.items() if key != "source"}
    for layer in range(parts.n_layers):
        there = ov_circuit.effective_ov_logits(parts, x, ids, layer=layer, **norms)[2]
        asked = (
            PACK
            + "return pack(model.headMatrix(arguments[0], 2, arguments[1], arguments[2]).flatMap(row => Array.from(row)))"
        )
        here = unpacked(engine.execute_script(asked, layer, ids.tolist(), options), len(ids), len(ids))
        assert torch.allclose(here, there, atol=NEAR)


# --- Play ---------------------------------------------------------------------------------------------


def answer_of(browser):
    return browser.find_element(By.CSS_SELECTOR, ".sh-live-answer").text


def settled(browser):
    """Wait until whatever was asked to start has done so, and the maps of heads, if there are any, have their numbers."""
    WebDriverWait(browser, PATIENCE).until(
        lambda b: b.execute_script(
            "return !document.querySelector('.sh-live-start:disabled') && [...document.querySelectorAll('.sh-live-map')].every(map => map.textContent.includes('.') && !map.hasAttribute('aria-busy'))"
        )
    )


def opened(browser, page, address="", width=1280):
    """A page in a new document, at an address of its own, loaded."""
    browser.get("about:blank")
    browser.get_log("browser")
    show(browser, f"{page.as_uri()}{address}", width)
    if not address:
        browser.find_element(By.CSS_SELECTOR, ".sh-live-start").send_keys(Keys.ENTER)
    WebDriverWait(browser, PATIENCE).until(lambda b: b.find_elements(By.CSS_SELECTOR, ".sh-live.alive"))
    settled(browser)


def complaints(browser):
    return [e["message"] for e in browser.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]


@pytest.mark.slow
def test_before_it_is_loaded_play_shows_what_the_model_says(grown):
    soup = BeautifulSoup(site_live.still(grown), "html.parser")
    answers, effects = soup.find_all("table")
    assert "says “Thursday”" in answers.caption.text and len(answers.tbody.find_all("tr")) == site_live.FIRST
    assert [len(row.find_all("td")) for row in effects.tbody.find_all("tr")] == [4, 4, 4, 4]


def test_play_is_driven_by_the_keyboard_and_its_state_is_its_address(chrome, folder):  # noqa: F811
    opened(chrome, folder / "play.html")
    assert "says “Thursday”" in answer_of(chrome)
    chosen = "return document.querySelector('.sh-live-map [aria-pressed=true] .name').textContent"
    first = chrome.execute_script(chosen)
    assert first == "L1H0", "the head whose ablation matters most"
    head = chrome.find_element(By.CSS_SELECTOR, ".sh-live-map .choose[tabindex='0']")
    head.send_keys(Keys.ARROW_RIGHT)
    settled(chrome)
    assert chrome.execute_script(chosen) == "L1H1"
    chrome.switch_to.active_element.send_keys("x")
    settled(chrome)
    chrome.switch_to.active_element.send_keys(Keys.ARROW_LEFT, "x")
    settled(chrome)
    off = chrome.execute_script(
        "return [...document.querySelectorAll('.switch[aria-checked=false]')].map(s => s.getAttribute('aria-label'))"
    )
    assert off == ["L1H0 intact", "L1H1 intact"] and "Intact it says" in answer_of(chrome)
    tokens = chrome.find_elements(By.CSS_SELECTOR, ".sh-live-tokens button")
    tokens[-1].send_keys(Keys.ARROW_LEFT)
    settled(chrome)
    assert (
        chrome.execute_script("return document.querySelector('.sh-live-tokens .looks .word').textContent")
        == "Wednesday"
    )
    choose = lambda label, start: chrome.execute_script(  # noqa: E731
        "const s = document.getElementById([...document.querySelectorAll('label')].find(l => l.textContent === arguments[0]).htmlFor);"
        "s.value = [...s.options].find(o => o.text.startsWith(arguments[1])).value; s.dispatchEvent(new Event('change'))",
        label,
        start,
    )
    choose("Word", "Wednesday")
    choose("Residue it gets", "5, as in Friday")
    settled(chrome)
    address = chrome.execute_script("return location.hash")
    assert "off=L1H1%2CL1H0" in address and "edit=4%3A5%3A3" in address and "from=4" in address
    state = "return [document.querySelector('.sh-live-answer').textContent, ...[...document.querySelectorAll('.sh-live-map .cell')].map(c => c.className + c.textContent), ...[...document.querySelectorAll('.sh-live-tokens button')].map(b => b.className + b.textContent), ...[...document.querySelectorAll('.sh-live select')].map(s => s.value)]"
    seen = chrome.execute_script(state)
    assert not complaints(chrome)
    opened(chrome, folder / "play.html", address)
    assert chrome.execute_script(state) == seen and not complaints(chrome) and not outside_requests(chrome)


def test_play_types_on_and_says_what_it_cannot_read(chrome, folder):  # noqa: F811
    opened(chrome, folder / "play.html")
    text = chrome.find_element(By.CSS_SELECTOR, ".sh-live textarea")
    answered = lambda word: WebDriverWait(chrome, PATIENCE).until(lambda _: word in answer_of(chrome))  # noqa: E731
    text.send_keys(" Thursday,")
    answered("says “Friday”")
    chrome.find_element(By.XPATH, "//button[text()='Add the answer to the text']").click()
    answered("says “Saturday”")
    assert text.get_attribute("value") == "Monday, Tuesday, Wednesday, Thursday, Friday,"
    chrome.execute_script(
        "arguments[0].value = 'one '.repeat(400); arguments[0].dispatchEvent(new Event('input'))", text
    )
    answered("reads 256 tokens at most")
    chrome.execute_script("arguments[0].value = ''; arguments[0].dispatchEvent(new Event('input'))", text)
    answered("Type a text")
    chrome.find_element(By.XPATH, "//button[text()='Shuffled']").click()
    answered("says “Wednesday”")
    # An address that nobody made, and one of a list that is not there, are read as far as they can be.
    opened(chrome, folder / "play.html", "#text=A%2C+B%2C+C%2C&head=L9H9&off=L2H3,zebra&edit=x:y&list=toString&from=99")
    assert "says “D”" in answer_of(chrome) and not complaints(chrome)
    assert len(chrome.find_elements(By.CSS_SELECTOR, ".switch[aria-checked='false']")) == 1


def test_the_engine_and_the_weights_come_when_a_reader_asks_for_them(chrome, folder):  # noqa: F811
    chrome.get("about:blank")
    requests(chrome)
    show(chrome, folder / "figures.html", WIDTHS["desktop"])
    names = lambda: {url.rsplit("/", 1)[-1] for kind, url in requests(chrome) if kind == "Script"}  # noqa: E731
    assert names() == {"parts.js", "play.js", "figures.js", "workbench.js"}
    assert len(chrome.find_elements(By.CSS_SELECTOR, ".sh-live.alive")) == 2, "those that bring their numbers"
    chrome.find_element(By.CSS_SELECTOR, ".sh-live-start").click()
    settled(chrome)
    assert {"model.js", "about.js", "weights-00.js"} <= names()


def test_what_cannot_be_brought_is_said_and_can_be_asked_for_again(chrome, folder):  # noqa: F811
    hidden = folder / "live" / "data" / "weights-03.js"
    hidden.rename(hidden.with_suffix(".away"))
    chrome.get("about:blank")
    show(chrome, folder / "play.html", WIDTHS["desktop"])
    start = chrome.find_element(By.CSS_SELECTOR, ".sh-live-start")
    start.click()
    said = lambda: chrome.find_element(By.CSS_SELECTOR, ".sh-live-said").text  # noqa: E731
    WebDriverWait(chrome, PATIENCE).until(lambda _: "weights-03.js could not be read" in said())
    assert chrome.find_elements(By.CSS_SELECTOR, ".sh-live table"), "the still tables stay"
    hidden.with_suffix(".away").rename(hidden)
    start.click()
    WebDriverWait(chrome, PATIENCE).until(lambda b: b.find_elements(By.CSS_SELECTOR, ".sh-live.alive"))
    chrome.get_log("browser")


@pytest.mark.parametrize("page", ["play", "figures", "bench"])
def test_living_pages_fit_a_phone_and_axe_finds_nothing_serious(chrome, folder, page):  # noqa: F811
    for width in WIDTHS.values():
        opened(chrome, folder / f"{page}.html", width=width)
        for start in chrome.find_elements(By.CSS_SELECTOR, ".sh-live-start"):
            start.click()
        WebDriverWait(chrome, PATIENCE).until(lambda b: not b.find_elements(By.CSS_SELECTOR, ".sh-live:not(.alive)"))
        settled(chrome)
        wide, inner = chrome.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert wide <= inner == width
        low = chrome.execute_script(
            "return Math.min(...[...document.querySelectorAll(':is(.sh-live, .sh-bench) :is(button, select)')].map(b => b.getBoundingClientRect().height))"
        )
        assert low >= 24, "a finger has to hit it"
        chrome.execute_script(AXE)
        for theme in THEMES:
            set_theme(chrome, theme)
            assert chrome.execute_async_script(RUN_AXE, EVERYWHERE, {}) == []
        assert not complaints(chrome)


def test_a_finger_switches_a_head_off(chrome, folder):  # noqa: F811
    opened(chrome, folder / "play.html", width=WIDTHS["phone"])
    chrome.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    switch = chrome.find_element(By.CSS_SELECTOR, "[aria-label='L1H0 intact']")
    chrome.execute_script("arguments[0].scrollIntoView({block: 'center'})", switch)
    x, y = chrome.execute_script(
        "const r = arguments[0].getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]", switch
    )
    for kind, points in (("touchStart", [{"x": x, "y": y}]), ("touchEnd", [])):
        chrome.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    WebDriverWait(chrome, PATIENCE).until(lambda _: switch.get_attribute("aria-checked") == "false")
    chrome.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_the_page_with_the_model_takes_less_than_300_mb(chrome, folder):  # noqa: F811
    opened(chrome, folder / "play.html")
    family = psutil.Process(chrome.service.process.pid).children(recursive=True)
    renderers = [each.memory_full_info().uss for each in family if "--type=renderer" in each.cmdline()]
    assert 21e6 < max(renderers) < 300e6, "more than the weights, and less than a phone has"


# --- figures of chapters ------------------------------------------------------------------------------


def test_the_reading_of_any_head_is_the_library_s(chrome, folder, grown, classes):  # noqa: F811
    opened(chrome, folder / "figures.html")
    parts, months = anatomy.of(grown), classes["months"]
    pick = lambda place, value: chrome.execute_script(  # noqa: E731
        "const s = document.querySelectorAll('.sh-live-figure select')[arguments[0]]; s.value = arguments[1]; s.dispatchEvent(new Event('change'))",
        place,
        value,
    )
    pick(0, "months")
    pick(1, "May")
    for layer, head in ((1, 0), (2, 1)):
        chrome.find_element(By.XPATH, f"//button[span[text()='L{layer}H{head}']]").click()
        expected = ov_circuit.head_matrix(parts, months.token_ids, layer=layer, head=head)[4]
        rows = chrome.execute_script(
            "return [...document.querySelector('.sh-live-figure').querySelectorAll('.sh-live-bars tbody tr')].map(r => [r.dataset.key, Number(r.querySelector('.value').textContent.replace('−', '-'))])"
        )
        assert dict(rows) == pytest.approx(dict(zip(months.words, expected.tolist())), abs=0.006)
        won = chrome.execute_script("return document.querySelector('.sh-live-figure').dataset.said")
        assert won == months.words[int(expected.argmax())]


def test_scores_under_any_convention_are_the_library_s(chrome, folder, grown, classes):  # noqa: F811
    opened(chrome, folder / "figures.html")
    for start in chrome.find_elements(By.CSS_SELECTOR, ".sh-live-start"):
        start.click()
    WebDriverWait(chrome, PATIENCE).until(lambda b: not b.find_elements(By.CSS_SELECTOR, ".sh-live:not(.alive)"))
    figure = chrome.find_elements(By.CSS_SELECTOR, ".sh-live-figure")[1]
    pick = lambda place, value: chrome.execute_script(  # noqa: E731
        "const s = arguments[0].querySelectorAll('select')[arguments[1]]; s.value = arguments[2]; s.dispatchEvent(new Event('change'))",
        figure,
        place,
        value,
    )
    shown = "const map = arguments[0].querySelector('.sh-live-map'); return map.hasAttribute('aria-busy') ? null : [...map.querySelectorAll('.number')].map(n => Number(n.textContent))"
    seen = set()
    for convention in ("canonical", "as at work", "embedding alone"):
        result = scores.score_heads(anatomy.of(grown), classes, **scores.CONVENTIONS[convention])
        pick(1, convention)
        for task in ("letters", "ordinal_words"):
            pick(0, task)
            numbers = WebDriverWait(chrome, PATIENCE).until(lambda b: b.execute_script(shown, figure))
            assert numbers == pytest.approx(result.by_task[task].flatten().tolist(), abs=0.006)
            seen.add(tuple(numbers))
    assert len(seen) > 3, "conventions differ, and lists"


def alive(browser, folder, kind):
    """The page with all figures alive, and the one of a kind."""
    opened(browser, folder / "figures.html")
    for start in browser.find_elements(By.CSS_SELECTOR, ".sh-live-start"):
        start.click()
    WebDriverWait(browser, PATIENCE).until(lambda b: not b.find_elements(By.CSS_SELECTOR, ".sh-live:not(.alive)"))
    return browser.find_element(By.CSS_SELECTOR, f"[data-live='{kind}'] figure")


SET = "const [control, value] = arguments; control.value = value; control.dispatchEvent(new Event(control.tagName === 'SELECT' ? 'change' : 'input'))"


def test_numbers_lie_in_circles_as_the_library_lays_them(chrome, folder, grown, classes):  # noqa: F811
    figure = alive(chrome, folder, "circles")
    reader = mod10_features.Reader.of(anatomy.of(grown), (1, 0), torch.tensor([0]), seed=0)
    table = mod10_features.lay_in_circles(reader, classes["numbers"], seed=0).by_period.set_index("period")
    period, *_ = figure.find_elements(By.CSS_SELECTOR, "input[type=range]")
    _, order = figure.find_elements(By.CSS_SELECTOR, "select")
    for kind, column in (("own", "right"), ("shuffled", "shuffled")):
        chrome.execute_script(SET, order, kind)
        for at in (3, 7, 10, 25):
            chrome.execute_script(SET, period, at)
            assert int(figure.get_attribute("data-said")) == pytest.approx(table.loc[at, column], abs=1), (kind, at)
    assert table.loc[10, "right"] > 3 * table.loc[10, "shuffled"], "or any counts would have done"


def test_the_helix_turns_by_keys_and_by_dragging(chrome, folder):  # noqa: F811
    figure = alive(chrome, folder, "circles")
    drawing = figure.find_element(By.CSS_SELECTOR, "svg.sh-live-helix")
    look = lambda: drawing.get_attribute("innerHTML")  # noqa: E731
    seen = [look()]
    _, spin, tilt = figure.find_elements(By.CSS_SELECTOR, "input[type=range]")
    for control in (spin, tilt):
        control.send_keys(Keys.ARROW_RIGHT)
        seen.append(look())
    chrome.execute_script("arguments[0].scrollIntoView({block: 'center'})", drawing)
    ActionChains(chrome).move_to_element(drawing).click_and_hold().move_by_offset(60, 20).release().perform()
    seen.append(look())
    ActionChains(chrome).move_by_offset(40, 0).perform()
    assert len(set(seen)) == len(seen) and look() == seen[-1], "it turns while it is held, and no longer"
    # Along the axis it is a circle: the tilt of a quarter leaves no height.
    chrome.execute_script(SET, tilt, 90)
    ends = chrome.execute_script(
        "const p = arguments[0].querySelector('.ideal').points; const ys = [...p].map(q => q.y), xs = [...p].map(q => q.x);"
        "return [Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys)]",
        drawing,
    )
    assert ends[0] == pytest.approx(ends[1], rel=0.03)


SPY = """const done = arguments[0]; SuccessorHeads.load().then(model => {
  const run = model.run; model.run = function (...given) { return (window.lastRun = run.apply(this, given)); }; done(); });"""


def test_the_workbench_makes_its_edits_in_the_running_model_as_the_library_does(chrome, folder, grown, classes, edits):  # noqa: F811
    vectors, sets, bench = edits
    chrome.get("about:blank")
    show(chrome, folder / "bench.html", WIDTHS["desktop"])
    assert chrome.find_element(By.CSS_SELECTOR, ".sh-bench-answer").text.startswith("The head answers")
    assert "model.js" not in chrome.page_source, "nothing is brought before a reader asks"
    opened(chrome, folder / "bench.html")
    chrome.execute_async_script(SPY)
    panel = chrome.find_element(By.CSS_SELECTOR, ".sh-live-edit")
    scale = chrome.find_element(By.CSS_SELECTOR, ".sh-bench input[type=range]")
    tasks = {grid.title: grid.task for grid in vectors.grids}
    every, verdicts = torch.arange(anatomy.of(grown).d_vocab), []

    def compare(preset, factor):
        """What the page shows of an edit, and the library's forward pass with the study's own push."""
        editable, resolved = bench.lists[preset.list], classes[tasks[preset.list]]
        source, residue = int(editable.edits.source[preset.edit]), int(editable.edits.residue[preset.edit])
        wanted = int(editable.edits.answer[preset.edit])
        text = "".join(f" {word}," for word in resolved.words[source - 2 : source + 1])
        place = vector_arithmetic.place_of(vectors.edits[resolved.task], resolved, resolved.words[source], residue)
        push = torch.zeros(1, 2, anatomy.of(grown).d_model)
        push[0, 0] = factor * sets[preset.directions][resolved.task][0, place]
        there, unedited = (
            cached.logits_of_variants(grown, [text], [[]], every, push=cached.Push(1, each))[0, 0]
            for each in (push, torch.zeros_like(push))
        )
        here = unpacked(chrome.execute_script(PACK + "return pack(lastRun.logits)"), 1, -1)[0]
        assert (here - there).abs().max() < NEAR and (there - unedited).abs().max() > 10 * NEAR
        shares, before = (each[resolved.token_ids].softmax(-1) for each in (there, unedited))
        now = int(shares.argmax())
        verdict = "right" if now == wanted else "old" if now == editable.edits.original[preset.edit] else "wrong"
        said = panel.find_element(By.CSS_SELECTOR, ".sh-bench-answer")
        assert said.get_attribute("data-verdict") == verdict
        assert resolved.words[now] in said.text and resolved.words[int(before.argmax())] in said.text
        assert panel.find_element(By.CSS_SELECTOR, ".sh-bench-sentence").text == f"{text.strip()} {resolved.words[now]}"
        assert panel.find_element(By.CSS_SELECTOR, "mark").text == resolved.words[source]
        for row in panel.find_elements(By.CSS_SELECTOR, "tbody tr"):
            member = resolved.words.index(row.get_attribute("data-key"))
            value = row.find_element(By.CSS_SELECTOR, ".value").text
            assert float(value.strip("<> %")) / 100 == pytest.approx(float(shares[member]), abs=0.006)
            assert bool(row.find_elements(By.CSS_SELECTOR, ".tick")) == (before[member] >= 0.005)
        verdicts.append(verdict)

    for place, preset in enumerate(bench.presets):
        chrome.find_elements(By.CSS_SELECTOR, ".sh-bench-presets button")[place].send_keys(Keys.ENTER)
        compare(preset, bench.lists[preset.list].scale)
    assert "right" in verdicts and set(verdicts) - {"right"}, "one works, and one does not"
    chrome.find_elements(By.CSS_SELECTOR, ".sh-bench-presets button")[0].send_keys(Keys.ENTER)
    chrome.execute_script(SET, scale, 1.5)
    compare(bench.presets[0], 1.5)
    assert not complaints(chrome) and not outside_requests(chrome)


@pytest.mark.slow
def test_every_sentence_of_the_workbench_ends_in_the_token_that_is_edited(grown, classes, edits):
    for of in (editable.running for editable in edits[-1].lists.values()):
        for member, text in of.sentences.items():
            ids = prompts.tokens_of(grown.tokenizer, text)
            assert ids[-2] == classes[of.task].token_ids[member] and ids.count(ids[-2]) == 1, text


def test_the_scrubber_moves_matrix_and_score_together(chrome, folder, grown, classes):  # noqa: F811
    figure = alive(chrome, folder, "growing")
    scrubber, task = figure.find_element(By.CSS_SELECTOR, "input"), figure.find_element(By.CSS_SELECTOR, "select")
    picture = "return arguments[0].querySelector('canvas').toDataURL()"
    held = succession.held_pairs(classes["letters"], Recipe(held_out=("letters:14-26",)).parts_held_out)
    right = succession.head_ranks(anatomy.of(grown), classes["letters"])[0][1, 0] == 1
    assert figure.get_attribute("data-said") == f"{int(right[~held].sum())} {int(right[held].sum())}"
    trained = chrome.execute_script(picture, figure)
    scrubber.send_keys(Keys.HOME)
    said = figure.find_element(By.CSS_SELECTOR, "figcaption").text
    assert said.startswith("After 0 thousand tokens") and chrome.execute_script(picture, figure) != trained
    figure.find_element(By.XPATH, ".//button[text()='Play']").click()
    WebDriverWait(chrome, PATIENCE).until(lambda _: scrubber.get_attribute("value") == "1")
    assert chrome.execute_script(picture, figure) == trained
    chrome.execute_script(SET, task, "days")
    assert not figure.find_elements(By.CSS_SELECTOR, ".held"), "nothing of the days was held out"


def test_the_circuit_tells_the_stored_numbers_of_what_is_pointed_at(chrome, folder):  # noqa: F811
    figure = alive(chrome, folder, "circuit")
    found = models_of_today.stored("published/smollm2")
    model, thing = figure.find_elements(By.CSS_SELECTOR, "select")
    said = lambda: figure.get_attribute("data-said")  # noqa: E731
    assert said().startswith(f"{found.top} {100 * found.part(found.top)['total']:.0f}%")
    keys = [option.get_attribute("value") for option in thing.find_elements(By.CSS_SELECTOR, "option")]
    way = found.paths.set_index("way").loc["direct"]
    chrome.execute_script(SET, thing, f"{found.top} → answer")
    assert (
        said()
        == f"{found.top} → answer {100 * way['share']:.0f}% ({100 * way['low']:.0f}% to {100 * way['high']:.0f}%)"
    )
    box = figure.find_element(By.XPATH, ".//*[name()='text' and text()='MLP24']")
    chrome.execute_script("arguments[0].scrollIntoView({block: 'center'})", box)
    ActionChains(chrome).move_to_element(box).perform()
    assert said().startswith("MLP24 ") and f"ordinal {found.top}" in keys
    thing.send_keys(Keys.HOME)
    assert said().startswith(keys[0])
    chrome.execute_script(SET, model, "1")
    assert said().startswith(models_of_today.stored("published/gemma3-270m").top)


def test_a_living_figure_is_its_still_picture_where_no_script_runs_and_about_other_models(drawing):
    table = Table(pd.DataFrame({"word": ["Monday"], "logit": [1.0]}), caption="Logits.")
    options = {"word": '<b>"Monday"</b>'}
    alive = live.Living("reading", drawing(), live.MODEL, table=table, options=options)._repr_html_()
    root = BeautifulSoup(alive, "html.parser").find(class_="sh-live")
    assert root["data-live"] == "reading" and json.loads(unescape(root["data-options"])) == options
    assert root.find("svg") and root.find("details").find("table") and int(root["data-bytes"]) > 1e7
    other = live.Living("reading", drawing(), "published/smollm2", table=table)._repr_html_()
    assert "sh-live" not in other and "A line goes up." in other
