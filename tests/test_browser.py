"""The built book in a real browser, read from its folder with the network cut.

Each page is opened once at each width and looked at in both themes. Selenium drives Debian's Chromium with Debian's
chromedriver, which always fit each other; Playwright would bring a browser protocol of its own version and a copy of Node.
"""

import json
import os
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from bookkit import places

pytestmark = pytest.mark.book

SITE = Path(__file__).parent.parent / "_build" / "site" / "_build" / "html"
# Headless Chromium as root in a closed network: no sandbox, and none of its own look-ups.
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --enable-unsafe-swiftshader --hide-scrollbars"
).split()
# Seconds for what never happens. All waiting is for events, and ends with them.
PATIENCE = 300
MOST_SCRIPT = 300_000  # bytes, but for
ALL_DATA = ("search.html", "book/winning-cases.html")  # pages that are nothing without their index, or their cases
WIDTHS = {"desktop": 1280, "phone": 390}
# What a browser in full width leaves of a screen of 1280 × 800, and an old projector.
WALLS = ((1280, 657), (1024, 768))
CHAPTERS = places.chapters(Path(__file__).parent.parent)
THEMES = ("light", "dark")
# axe-core from npm; see tests/vendor/axe-LICENSE.txt.
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf8")
RUN_AXE = """
const [context, options, done] = arguments;
axe.run(context, {resultTypes: ["violations"], preload: false, ...options}).then(found => done(
  found.violations.filter(rule => ["serious", "critical"].includes(rule.impact)).map(
    rule => `${rule.id}: ${rule.help}, ${rule.nodes.length} times, first at ${rule.nodes[0].target} ${rule.nodes[0].html.slice(0, 120)}`)
)).catch(error => done([`axe failed: ${error}`]));
"""
# Without `preload` axe asks for nothing. Of a page's rules only the colours' depend on the theme, and no rule of the
# style sheets gives an article other colours on a phone: there the rest of the page is looked at.
OTHER_RULES = {"rules": {"color-contrast": {"enabled": False}}}
COLOURS = {"runOnly": ["color-contrast"]}
EVERYWHERE = {"include": ["html"]}
COLOURED = {"desktop": EVERYWHERE, "phone": {"exclude": ["article"]}}
# axe takes seconds for the thousands of strokes in a drawing, of which it knows no rule, for tables of hundreds of rows
# and the functions of the library, which are alike, and for code of thousands of words in a dozen colours, of which each
# colour stays on its first three words. On the phone's width code has no colours, which the other width has shown.
LIGHTEN = """
for (const drawing of document.querySelectorAll("figure.sh-figure svg")) drawing.replaceChildren();
for (const row of document.querySelectorAll("table tbody tr:nth-child(n+9)")) row.remove();
for (const entry of [...document.querySelectorAll("section > dl.py")].slice(9)) entry.remove();
const words = {}, most = arguments[0] ? 0 : 3;
for (const word of document.querySelectorAll(".highlight pre span[class]"))
  if ((words[word.className] = (words[word.className] ?? 0) + 1) > most) word.replaceWith(...word.childNodes);
for (const code of document.querySelectorAll(".highlight pre")) code.normalize();
"""
# The driver's word on a slow read of pixels, from circuitsvis drawing without a graphics card. No error of a page.
NOT_OURS = ("GL Driver Message",)

# Contrast of each piece of text in a figure with what is painted under it, by WCAG's formula.
CONTRAST = """
const channel = c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const opaque = ({fill, fillOpacity, opacity}) => fill !== "none" && !fill.startsWith("url") && (parse(fill)[3] ?? 1) * fillOpacity * opacity > 0.5;
const results = [];
for (const figure of document.querySelectorAll("figure.sh-figure")) {
  const card = getComputedStyle(figure).backgroundColor;
  for (const text of figure.querySelectorAll("svg text, figcaption")) {
    if (!text.textContent.trim()) continue;
    text.scrollIntoView({block: "center", inline: "center"});
    const box = text.getBoundingClientRect();
    const style = getComputedStyle(text);
    let ground = card, known = true;
    for (const below of document.elementsFromPoint(box.x + box.width / 2, box.y + box.height / 2)) {
      if (below === figure) break;
      if (below === text || text.contains(below) || below.tagName === "text" || below.tagName === "tspan") continue;
      if (below.tagName === "image" || below.tagName === "IMG") { known = false; break; }
      if (below instanceof SVGGeometryElement && opaque(getComputedStyle(below))) { ground = getComputedStyle(below).fill; break; }
    }
    if (!known) continue;
    const ink = text.tagName === "FIGCAPTION" ? style.color : style.fill;
    const [light, dark] = [luminance(parse(ink)), luminance(parse(ground))].sort((a, b) => b - a);
    results.push({text: text.textContent.trim().slice(0, 40), ink, ground, ratio: (light + 0.05) / (dark + 0.05)});
  }
}
return results;
"""


# What is seen of a page that does not depend on its theme.
LOOK = """
const all = (selector, wrong, told) => [...document.querySelectorAll(selector)].filter(wrong).map(told);
return {
  widths: [document.documentElement.scrollWidth, window.innerWidth],
  no_alt: all("img", i => !i.hasAttribute("alt"), i => i.src),
  no_label: all(".sh-drawing", d => ![...d.children].some(s => s.getAttribute("aria-label")), d => d.outerHTML.slice(0, 80)),
  raw_formulas: all(".math", m => !m.querySelector("math > *"), m => m.textContent),
  formula_errors: all("merror", () => true, e => e.textContent),
  bare_icons: all("[class*='fa-']", i => i.checkVisibility() && getComputedStyle(i, "::before").maskImage === "none", i => i.className),
  unreachable: all(".bd-article :is(table, figure, pre)",
    b => b.scrollWidth > b.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(b).overflowX) && b.tabIndex < 0,
    b => b.outerHTML.slice(0, 80)),
};
"""


# Of each figure's text, in a column of 676 px with every fold open: its size, and where it lies on other text.
LETTERS = """
for (const article of document.querySelectorAll("article.bd-article"))
  if (arguments[0]) Object.assign(article.style, {boxSizing: "content-box", width: arguments[0] + "px", maxWidth: "none", flex: "none"});
for (const fold of document.querySelectorAll("article.bd-article details, details.notes")) fold.open = true;
const results = {small: [], overlapping: [], stretched: [], cut: []};
for (const drawing of document.querySelectorAll("figure.sh-figure > .sh-drawing > svg")) {
  const place = drawing.closest("figure").querySelector("figcaption").textContent.slice(0, 40);
  const written = [...drawing.querySelectorAll("text")].filter(t => t.textContent.trim()).map(t => {
    const {a, b} = t.getScreenCTM(), sizes = [t, ...t.querySelectorAll("tspan")].map(e => parseFloat(getComputedStyle(e).fontSize));
    // A formula's letters have sizes of their own, and its indices are meant to be small.
    return {t, text: t.textContent, px: Math.hypot(a, b) * Math.max(...t.childElementCount ? sizes.slice(1) : sizes), leans: Math.abs(a * b) > 1e-3, box: t.getBoundingClientRect()};
  });
  for (const {text, px} of written) if (px < arguments[1]) results.small.push(`${place}: ${text} ${px.toFixed(1)}`);
  const straight = written.filter(w => !w.leans);
  straight.forEach(({text, box}, i) => straight.slice(i + 1).forEach(other => {
    if (text.length === 1 && other.text.length === 1) return;  // marks that are digits lie where their points lie
    const across = Math.min(box.right, other.box.right) - Math.max(box.left, other.box.left);
    // A line's box is higher than its letters: a quarter of it is air.
    const down = Math.min(box.bottom, other.box.bottom) - Math.max(box.top, other.box.top) - 0.25 * Math.min(box.height, other.box.height);
    if (across > 2 && down > 2) results.overlapping.push(`${place}: ${text} | ${other.text}`);
  }));
  const frame = drawing.parentElement.getBoundingClientRect(), whole = drawing.parentElement.scrollWidth * drawing.parentElement.currentCSSZoom;
  for (const {text, box} of written) if (box.left < frame.left - 1 || box.right > frame.left + whole + 1) results.cut.push(`${place}: ${text}`);
  // What the typeface itself would take, where it has all letters.
  for (const {t, text} of written) {
    const laid = t.textLength.baseVal.value;
    if (!t.hasAttribute("textLength") || /[^\\u0020-\\u00ff]/.test(text)) continue;
    t.removeAttribute("textLength");
    const own = t.getComputedTextLength();
    if (Math.abs(own - laid) > 0.03 * laid + 0.3) results.stretched.push(`${place}: ${text} ${own.toFixed(1)} as ${laid.toFixed(1)}`);
  }
}
return results;
"""


def need(found, reason):
    """Skip for a good reason on a reader's machine; fail for it in CI, where nothing may be skipped."""
    if not found:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def pages():
    """Every page, and the slides."""
    return sorted(path for path in SITE.rglob("*.html") if "_static" not in path.parts or path.parent.name == "slides")


@pytest.fixture(scope="session")
def chrome(tmp_path_factory):
    need((SITE / "index.html").exists(), "The book is not built: run `make book`, or `make test`, which builds it.")
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    need(binary and driver, "NO BROWSER: install chromium and chromium-driver, or the built pages are not looked at.")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chrome')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    browser.set_script_timeout(PATIENCE)
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["http://*", "https://*", "ws://*", "wss://*"]})
    yield browser
    browser.quit()


def show(chrome, page, width, height=900):
    chrome.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    chrome.get(page.as_uri() if isinstance(page, Path) else page)
    WebDriverWait(chrome, PATIENCE).until(lambda b: b.execute_script("return document.readyState") == "complete")
    # Scripts that start after loading may still log: until the page has nothing left to do.
    chrome.execute_async_script("requestAnimationFrame(() => requestIdleCallback(() => arguments[0]()))")


def set_theme(chrome, theme):
    # Colours fade from one theme to the other; here they are there at once, but for those that a figure's own style
    # fades. A style counts once it has been laid out.
    chrome.execute_async_script(
        "const [theme, done] = arguments, root = document.documentElement;"
        "const still = Object.assign(document.createElement('style'), {textContent: '* { transition: none !important }'});"
        "document.head.append(still);"
        "root.dataset.theme = root.dataset.mode = theme;"
        "root.getBoundingClientRect();"
        "still.remove();"
        "root.getBoundingClientRect();"
        "const fades = document.getAnimations().filter(one => one instanceof CSSTransition);"
        "Promise.allSettled(fades.map(fade => fade.finished)).then(() => requestAnimationFrame(() => done()));",
        theme,
    )


def requests(chrome):
    """What has been asked for since the last call: (kind, address)."""
    messages = [json.loads(entry["message"])["message"] for entry in chrome.get_log("performance")]
    sent = [message["params"] for message in messages if message["method"] == "Network.requestWillBeSent"]
    return [(each.get("type"), each["request"]["url"]) for each in sent]


def outside_requests(chrome):
    return outside(requests(chrome))


def outside(asked):
    return [url for _, url in asked if not url.startswith(("file:", "data:", "blob:", "chrome"))]


def script_bytes(asked):
    """Bytes of the scripts that were asked for, each file once."""
    paths = {unquote(urlsplit(url).path) for kind, url in asked if kind == "Script" and url.startswith("file:")}
    return sum(Path(path).stat().st_size for path in paths)


@pytest.fixture(scope="session")
def visits(chrome):
    """What was seen on every page, at each width."""
    seen = []
    for name, width in WIDTHS.items():
        for page in pages():
            show(chrome, page, width)
            where = f"{page.relative_to(SITE)} ({name})"
            log = [e for e in chrome.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]
            asked = requests(chrome)
            visit = {
                "where": where,
                "script": script_bytes(asked),
                "console": [e["message"] for e in log if not any(word in e["message"] for word in NOT_OURS)],
                "outside": outside(asked),
                **chrome.execute_script(LOOK),
                # The phone keeps its own width; there what is seen whole may be smaller, and what is larger scrolls.
                **chrome.execute_script(LETTERS, *((676, 10.95) if name == "desktop" else (None, 8.95))),
            }
            for theme in THEMES if name == "desktop" else ():  # contrast is a matter of colours, not of widths
                set_theme(chrome, theme)
                visit[f"faint {theme}"] = [text for text in chrome.execute_script(CONTRAST) if text["ratio"] < 3]
            chrome.execute_script(LIGHTEN, name == "phone")
            chrome.execute_script(AXE)
            visit["axe"] = chrome.execute_async_script(RUN_AXE, EVERYWHERE, OTHER_RULES)
            for theme in THEMES:
                set_theme(chrome, theme)
                visit[f"colours {theme}"] = chrome.execute_async_script(RUN_AXE, COLOURED[name], COLOURS)
            visit["outside"] += outside(requests(chrome))  # folds were opened, which brings what they hold
            seen.append(visit)
    return seen


def found(visits, what):
    return {visit["where"]: visit[what] for visit in visits if visit.get(what)}


def test_the_console_is_clean(visits):
    assert not found(visits, "console")


def test_no_request_leaves_the_page(visits):
    assert not found(visits, "outside")


def test_no_page_is_wider_than_the_screen(visits):
    assert not {visit["where"]: visit["widths"] for visit in visits if visit["widths"][0] > visit["widths"][1]}


def test_what_scrolls_on_a_phone_fades_until_its_end_is_reached(chrome):
    show(chrome, SITE / "notebooks" / "02-ov-circuit.html", WIDTHS["phone"])
    boxes = "return [...document.querySelectorAll('.bd-article :is(.sh-drawing, .cell_input pre)')].filter(b => b.checkVisibility() && b.scrollWidth > b.clientWidth + 1 === arguments[0])"
    faded = "return arguments[0].map(box => getComputedStyle(box).maskImage !== 'none')"
    wide, narrow = (chrome.execute_script(boxes, kind) for kind in (True, False))
    assert {box.tag_name for box in wide} == {"div", "pre"}, "a map that is wider than a phone, and code"
    assert all(chrome.execute_script(faded, wide)) and narrow and not any(chrome.execute_script(faded, narrow))
    to_its_end = (
        "const [box, done] = arguments; box.addEventListener('scroll', () => requestAnimationFrame(() => done()), {once: true});"
        "box.scrollLeft = box.scrollWidth"
    )
    for box in wide:
        chrome.execute_async_script(to_its_end, box)
    assert not any(chrome.execute_script(faded, wide))


def test_every_picture_has_its_words(visits):
    assert not found(visits, "no_alt")
    assert not found(visits, "no_label")


def test_every_formula_is_set(visits):
    assert not found(visits, "raw_formulas")
    assert not found(visits, "formula_errors")


def test_every_icon_is_drawn(visits):
    assert not found(visits, "bare_icons")


def test_pages_load_little_script_before_a_reader_touches_anything(visits):
    loaded = {visit["where"]: visit["script"] for visit in visits if "slides" not in visit["where"]}
    heavy = {where: n for where, n in loaded.items() if n >= MOST_SCRIPT and not where.startswith(ALL_DATA)}
    assert not heavy and min(loaded.values()) > 50_000, "the theme's own are counted"


@pytest.mark.parametrize("theme", THEMES)
def test_text_in_figures_can_be_read(visits, theme):
    assert not found(visits, f"faint {theme}")


@pytest.mark.parametrize("rules", ["axe", *(f"colours {theme}" for theme in THEMES)])
def test_axe_finds_nothing_serious(visits, rules):
    assert not found(visits, rules)


def test_what_scrolls_sideways_is_reached_with_the_keyboard(visits):
    assert not found(visits, "unreachable")


@pytest.mark.parametrize("fault", ["small", "overlapping", "cut", "stretched"])
def test_letters_in_figures_are_large_enough_clear_of_each_other_and_of_the_typeface_they_were_laid_out_in(
    visits, fault
):
    assert not found(visits, fault)


def test_a_fold_opens_with_the_keyboard_and_shows_on_paper_what_it_hides(chrome, visits):
    page = next(page for page in pages() if "sh-fold" in page.read_text(encoding="utf8"))
    show(chrome, page, WIDTHS["phone"])
    fold = chrome.find_element(By.CSS_SELECTOR, "details.sh-fold")
    content = fold.find_element(By.CSS_SELECTOR, "summary ~ *")
    assert not content.is_displayed()
    fold.find_element(By.CSS_SELECTOR, "summary").send_keys(Keys.ENTER)
    assert content.is_displayed()
    fold.find_element(By.CSS_SELECTOR, "summary").send_keys(Keys.ENTER)
    shown = "return [...document.querySelectorAll('.bd-article details')].filter(d => d.open).map(d => d.className)"
    before = chrome.execute_script(shown)
    chrome.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    printed = chrome.execute_script(shown)
    assert content.is_displayed() and "sh-source" not in printed and len(printed) > len(before)
    chrome.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert chrome.execute_script(shown) == before


def test_a_link_into_a_fold_opens_it(chrome, visits):
    page = next(page for page in pages() if "sh-fold" in page.read_text(encoding="utf8"))
    show(chrome, page, WIDTHS["desktop"])
    name = chrome.find_element(By.CSS_SELECTOR, "details.sh-fold").get_attribute("id")
    show(chrome, f"{page.as_uri()}#{name}", WIDTHS["desktop"])
    assert chrome.find_element(By.ID, name).get_attribute("open")


def test_full_attention_patterns_draw_themselves_when_they_are_opened(chrome, visits):
    drawn = 0
    for page in pages():
        if "sh-circuitsvis" in page.read_text():
            show(chrome, page, WIDTHS["desktop"])
            for fold in chrome.find_elements(By.CSS_SELECTOR, "details.sh-circuitsvis"):
                if not fold.find_elements(By.XPATH, "ancestor::details[not(@open)]"):
                    assert not fold.find_element(By.CSS_SELECTOR, "div").get_attribute("innerHTML")
                    fold.find_element(By.CSS_SELECTOR, "summary").send_keys(Keys.ENTER)
                    WebDriverWait(chrome, PATIENCE).until(lambda _, fold=fold: len(fold.text.splitlines()) > 2)
                    drawn += 1
    assert drawn


def shades_of(view):
    return [
        word.value_of_css_property("background-color")
        for word in view.find_elements(By.CSS_SELECTOR, ".sh-words > span")
    ]


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_an_attention_view_answers_taps_and_keys(chrome, visits, width):
    show(chrome, SITE / "notebooks" / "01-find-heads.html", width)
    view = chrome.find_element(By.CSS_SELECTOR, "figure.sh-attention")
    heads, radios = (view.find_elements(By.CSS_SELECTOR, f".sh-heads {kind}") for kind in ("label", "input"))
    looks = lambda: view.find_element(By.CSS_SELECTOR, ".sh-looks").text  # noqa: E731
    assert looks().startswith(next(h.text for h, r in zip(heads, radios) if r.is_selected()))
    words = view.find_element(By.CSS_SELECTOR, ".sh-words")
    seen = set()
    for head in heads:
        chrome.execute_script("arguments[0].scrollIntoView({block: 'center'})", head)
        head.click()
        assert looks().startswith(f"{head.text} looks at")
        seen.add(tuple(shades_of(view)))
    assert len(seen) == len(heads)  # each head looks elsewhere
    # The last one has the focus; the arrow goes on to the first, as among all radio buttons.
    chrome.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert looks().startswith(heads[0].text) and radios[0].is_selected()
    assert words.size["width"] <= width


def test_full_attention_patterns_answer_the_keyboard(chrome, visits):
    show(chrome, SITE / "notebooks" / "01-find-heads.html", WIDTHS["desktop"])
    fold = chrome.find_element(By.CSS_SELECTOR, "details.sh-circuitsvis")
    fold.find_element(By.CSS_SELECTOR, "summary").send_keys(Keys.ENTER)
    view = fold.find_element(By.CSS_SELECTOR, "div")
    heads = WebDriverWait(chrome, PATIENCE).until(lambda _: view.find_elements(By.CSS_SELECTOR, "[role=button]"))
    large = "return arguments[0].querySelector('h2').textContent"
    first, last = heads[0].text, heads[-1].text
    assert first != last
    for key in (Keys.ENTER, Keys.SPACE):
        for head, name in ((heads[-1], last), (heads[0], first)):
            head.send_keys(key)
            WebDriverWait(chrome, PATIENCE).until(lambda b, name=name: b.execute_script(large, view) == name)
    # What was chosen stays when the focus moves on, and the tab key moves it to the next head.
    heads[0].send_keys(Keys.TAB)
    assert chrome.switch_to.active_element == heads[1]


# Of each slide its height, what sticks out to the right, and the smallest letter on it.
SLIDES = """
const size = element => parseFloat(getComputedStyle(element).fontSize);
const drawn = t => { const {a, b} = t.getScreenCTM(); return Math.hypot(a, b) * Math.max(size(t), ...[...t.querySelectorAll("tspan")].map(size)); };
const seen = element => element.textContent.trim() && element.getClientRects().length;
return [...document.querySelectorAll(".slide")].map(slide => {
  const words = [...slide.querySelectorAll(".wall :is(p, td, th, pre, li, dt, dd, figcaption, caption)")].filter(seen).map(size);
  const letters = [...slide.querySelectorAll(".wall svg text")].filter(seen).map(drawn);
  const wide = [slide, ...slide.querySelectorAll(".wall :is(pre, .table, .sh-drawing)")].map(box => box.scrollWidth - box.clientWidth - 1);
  return {place: slide.id, height: slide.getBoundingClientRect().height, wide: Math.max(...wide), smallest: Math.min(...words, ...letters)};
});
"""


@pytest.mark.parametrize("screen", WALLS, ids=lambda screen: "x".join(map(str, screen)))
def test_every_slide_fits_the_wall_and_can_be_read(chrome, screen):
    decks = sorted((SITE / "_static" / "slides").glob("*.html"))
    assert [deck.stem for deck in decks] == CHAPTERS
    fitted = " ".join(map(str, screen))
    for deck in decks:
        show(chrome, deck, *screen)
        WebDriverWait(chrome, PATIENCE).until(
            lambda b: b.execute_script("return document.documentElement.dataset.fitted") == fitted
        )
        slides = chrome.execute_script(SLIDES)
        assert slides
        assert not [one for one in slides if one["height"] > screen[1] or one["wide"] > 0], deck.name
        # One letter in seventy of the height: the numbers beside a matrix of 294 rows. Running text is twice that.
        assert not [one for one in slides if one["smallest"] < screen[1] / 75], deck.name


def test_notes_open_with_a_key_and_the_speaker_has_them_with_the_solutions(chrome):
    show(chrome, SITE / "_static" / "slides" / f"{CHAPTERS[0]}.html", *WALLS[0])
    count = "return document.querySelectorAll('.notes[open]').length"
    assert chrome.execute_script(count) == 0
    ActionChains(chrome).send_keys("n").perform()
    assert chrome.execute_script(count) == len(chrome.find_elements(By.CSS_SELECTOR, ".notes")) > 0
    solutions = chrome.find_elements(By.CSS_SELECTOR, ".slide .answer")
    assert solutions and not any(solution.is_displayed() for solution in solutions)
    ActionChains(chrome).send_keys("n").perform()

    wall = chrome.current_window_handle
    ActionChains(chrome).send_keys("s").perform()
    (speaker,) = set(chrome.window_handles) - {wall}
    try:
        title = chrome.find_element(By.CSS_SELECTOR, ".slide:has(.answer pre) h2").get_attribute("textContent")
        place = chrome.execute_script(
            "const all = [...document.querySelectorAll('.slide')]; return all.findIndex(s => s.querySelector('.answer pre'))"
        )
        # The keys of either window turn the slides.
        chrome.switch_to.window(speaker)
        chrome.execute_script(
            "for (let n = 0; n < arguments[0]; n++) document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}))",
            place,
        )
        WebDriverWait(chrome, PATIENCE).until(lambda b: b.find_element(By.TAG_NAME, "h1").text == title)
        assert chrome.find_element(By.CSS_SELECTOR, ".notes .answer pre").is_displayed()
        assert chrome.find_element(By.CSS_SELECTOR, ".next").text.startswith("Next: ")
    finally:
        chrome.switch_to.window(speaker)
        chrome.close()
        chrome.switch_to.window(wall)


def test_a_project_is_graded_on_a_form(chrome):
    show(chrome, SITE / "book" / "teaching" / "rubric.html", WIDTHS["phone"])
    form = chrome.find_element(By.CSS_SELECTOR, ".sh-rubric-form")
    questions = form.find_elements(By.TAG_NAME, "fieldset")
    rows = chrome.find_elements(By.CSS_SELECTOR, ".sh-rubric tbody tr")
    assert len(questions) == len(rows) == 5
    total, report = (form.find_element(By.CSS_SELECTOR, one) for one in (".sh-rubric-sum", "textarea[readonly]"))
    assert total.text == "0 of 20 points, 5 questions open"
    form.find_element(By.ID, "rubric-project").send_keys("Planets")
    for question, points in zip(questions, (4, 3, 2, 0, 1), strict=True):
        choice = question.find_element(By.CSS_SELECTOR, f"input[value='{points}']")
        ActionChains(chrome).scroll_to_element(choice).move_to_element(choice).click().perform()
    questions[1].find_element(By.TAG_NAME, "textarea").send_keys("Shuffled planets.")
    assert total.text == "10 of 20 points"
    written = report.get_property("value").splitlines()
    assert written[0] == "Project: Planets" and written[-1] == total.text
    assert "Claim: 4 of 4" in written and "Runs: 0 of 4" in written
    assert written[written.index("Control: 3 of 4") + 1] == "  Shuffled planets."
    form.find_elements(By.TAG_NAME, "button")[-1].click()
    assert total.text == "0 of 20 points, 5 questions open" and "Planets" not in report.get_property("value")


def test_the_first_page_has_a_head_to_choose(chrome):
    show(chrome, SITE / "book" / "index.html", WIDTHS["desktop"])
    living = chrome.find_element(By.CSS_SELECTOR, ".sh-live[data-live='reading']")
    start = WebDriverWait(chrome, PATIENCE).until(lambda b: living.find_element(By.CSS_SELECTOR, ".sh-live-start"))
    chrome.execute_script("arguments[0].click()", start)
    WebDriverWait(chrome, PATIENCE).until(lambda b: living.find_elements(By.CSS_SELECTOR, ".sh-live-figure"))
    assert not living.find_elements(By.CSS_SELECTOR, ".sh-live-start")


def test_the_theme_can_be_switched(chrome, visits):
    show(chrome, SITE / "book" / "index.html", WIDTHS["desktop"])
    button = chrome.find_element(By.CSS_SELECTOR, ".theme-switch-button")
    modes = []
    for _ in range(3):
        button.click()
        modes.append(chrome.execute_script("return document.documentElement.dataset.mode"))
    assert sorted(modes) == ["auto", "dark", "light"]


def test_a_term_explains_itself(chrome, visits):
    def by_mouse(term):
        ActionChains(chrome).scroll_to_element(term).move_to_element(term).perform()

    def by_keyboard(term):
        chrome.execute_script("arguments[0].focus()", term)

    for point_at in (by_keyboard, by_mouse):
        show(chrome, SITE / "book" / "index.html", WIDTHS["desktop"])
        assert not chrome.find_elements(By.CSS_SELECTOR, ".tippy-box")
        point_at(chrome.find_element(By.CSS_SELECTOR, "a[href*='term-successor-head']"))
        tip = WebDriverWait(chrome, PATIENCE).until(lambda b: b.find_element(By.CSS_SELECTOR, ".tippy-box"))
        assert "maps members of many ordinal classes to their successors" in tip.text


def tap(chrome, element):
    """Press an element with a finger, once it stays where it is: what loads above it may move it."""
    x, y = chrome.execute_async_script(
        """
        const [element, done] = arguments;
        function still(before) {
          element.scrollIntoView({block: "center", behavior: "instant"});
          const {x, y, width, height} = element.getClientRects()[0], here = [x + width / 2, y + height / 2];
          if (before && String(before) === String(here)) done(here);
          else requestAnimationFrame(() => requestAnimationFrame(() => still(here)));
        }
        still();
        """,
        element,
    )
    finger = ActionBuilder(chrome, mouse=PointerInput("touch", "finger"), duration=0)
    finger.pointer_action.move_to_location(x, y).pointer_down().pointer_up()
    finger.perform()


@pytest.fixture
def finger(chrome):
    chrome.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    yield chrome
    chrome.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


@pytest.mark.parametrize(
    "pressed, said, leads",
    [
        ("a[href*='term-successor-head']", "maps members of many ordinal classes", "glossary.html#term-successor-head"),
        (".bibtex-citation a", "Gould", "citing.html#"),
    ],
    ids=["term", "citation"],
)
def test_on_a_phone_a_tap_explains_in_place_and_the_explanation_leads_on(finger, pressed, said, leads):
    page = SITE / "notebooks" / "01-find-heads.html"
    show(finger, page, WIDTHS["phone"])
    tap(finger, finger.find_element(By.CSS_SELECTOR, pressed))
    onward = WebDriverWait(finger, PATIENCE).until(lambda b: b.find_element(By.CSS_SELECTOR, ".tippy-box .sh-onward"))
    box = finger.find_element(By.CSS_SELECTOR, ".tippy-box")
    assert said in box.text and finger.current_url == page.as_uri()
    assert box.rect["x"] >= 0 and box.rect["x"] + box.rect["width"] <= WIDTHS["phone"]
    tap(finger, onward)
    WebDriverWait(finger, PATIENCE).until(lambda b: leads in b.current_url)


def test_on_a_phone_a_link_that_is_no_term_is_followed_at_once(finger):
    show(finger, SITE / "notebooks" / "01-find-heads.html", WIDTHS["phone"])
    tap(finger, finger.find_element(By.CSS_SELECTOR, "article a[href='02-ov-circuit.html']"))
    WebDriverWait(finger, PATIENCE).until(lambda b: b.current_url.endswith("02-ov-circuit.html"))


def test_a_mouse_follows_a_term_to_the_glossary(chrome):
    show(chrome, SITE / "notebooks" / "01-find-heads.html", WIDTHS["desktop"])
    chrome.find_element(By.CSS_SELECTOR, "a[href*='term-successor-head']").click()
    WebDriverWait(chrome, PATIENCE).until(lambda b: "glossary.html#term-successor-head" in b.current_url)


def searched(chrome, query, width):
    """What search shows for a query: (address, title, excerpt, marked words) a page."""
    show(chrome, f"{(SITE / 'search.html').as_uri()}?q={query}", width)
    WebDriverWait(chrome, PATIENCE).until(lambda b: "Search finished" in b.find_element(By.ID, "search-results").text)
    return chrome.execute_script("""
      return [...document.querySelectorAll("#search-results li")].map(item => [
        item.querySelector("a").href, item.querySelector("a").textContent, item.querySelector("p").textContent,
        [...item.querySelectorAll("mark")].map(mark => mark.textContent.toLowerCase())]);
    """)


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_search_from_a_folder_lists_each_page_once_with_an_excerpt(chrome, width):
    chrome.get_log("browser")
    results = searched(chrome, "greater-than", width)
    addresses = [address.partition("#")[0] for address, *_ in results]
    assert any("glossary" in address for address in addresses) and len(results) > 3
    assert len(set(addresses)) == len(addresses)
    assert all(title and excerpt for _, title, excerpt, _ in results)
    # The excerpt is the page's own, and has the words that were asked for wherever its prose has them.
    for address, _, excerpt, marked in results:
        page = address.partition("#")[0].removesuffix(".html").removeprefix(f"{SITE.as_uri()}/")
        text = chrome.execute_script("return SH_TEXTS[arguments[0]].join(' ')", page)
        assert excerpt.strip("… ") in text
        assert not ("greater" in text.lower() and "greater" not in marked), address
    assert not [e["message"] for e in chrome.get_log("browser") if e["level"] == "SEVERE"]
    counted = chrome.find_element(By.ID, "search-results").text
    assert f"found {len(results)} page(s)" in counted


def test_search_says_when_nothing_is_found(chrome):
    show(chrome, f"{(SITE / 'search.html').as_uri()}?q=xylophone", WIDTHS["desktop"])
    WebDriverWait(chrome, PATIENCE).until(lambda b: "did not match" in b.find_element(By.ID, "search-results").text)
    assert not chrome.find_elements(By.CSS_SELECTOR, "#search-results li")


def test_a_question_to_check_in_your_head_has_its_answer_in_a_fold(chrome):
    for page in sorted((SITE / "notebooks").glob("*.html")):
        show(chrome, page, WIDTHS["phone"])
        folds = [
            fold
            for fold in chrome.find_elements(By.CSS_SELECTOR, "details.sh-fold")
            if fold.find_element(By.CSS_SELECTOR, "summary").text.startswith("Check in your head:")
        ]
        assert folds, page.name
        for fold in folds:
            answer = fold.find_element(By.CSS_SELECTOR, "summary ~ *")
            assert not answer.is_displayed()
            fold.find_element(By.CSS_SELECTOR, "summary").send_keys(Keys.ENTER)
            assert answer.is_displayed() and len(answer.text) > 50


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_a_table_in_a_chapter_is_sorted_by_its_headings(chrome, width):
    show(chrome, SITE / "notebooks" / "01-find-heads.html", width)
    table = next(
        table
        for table in chrome.find_elements(By.CSS_SELECTOR, "article table.sh-table")
        if table.text.startswith("The eight lists") or "pairs" in table.find_element(By.CSS_SELECTOR, "thead").text
    )
    chrome.execute_script(
        "for (let box = arguments[0]; box; box = box.parentElement) if (box.tagName === 'DETAILS') box.open = true",
        table,
    )
    headings = [button.text for button in table.find_elements(By.CSS_SELECTOR, "thead button")]
    column = next(place for place, name in enumerate(headings) if name.startswith("pairs"))
    shown = "return [...arguments[0].tBodies[0].rows].map(row => row.cells[arguments[1]].textContent)"
    before = chrome.execute_script(shown, table, column)
    names = chrome.execute_script(shown, table, 0)
    table.find_elements(By.CSS_SELECTOR, "thead button")[column].send_keys(Keys.ENTER)
    numbers = [int(text) for text in chrome.execute_script(shown, table, column)]
    assert numbers == sorted(map(int, before), reverse=True) and len(numbers) >= 3
    table.find_elements(By.CSS_SELECTOR, "thead button")[0].send_keys(Keys.ENTER)
    assert chrome.execute_script(shown, table, 0) == sorted(names, key=str.lower)
    assert chrome.execute_script("return document.documentElement.scrollWidth") <= width


def test_a_column_sorts_by_what_its_cells_say(chrome):
    """Shares of counts by the share, numbers in front of an interval, what is missing below, texts as texts."""
    show(chrome, SITE / "book" / "index.html", WIDTHS["desktop"])
    column = ["2 of 384", "–", "110 of 125", "0.90 (0.85 to 0.93)", "−0.10"]
    page = "".join(f"<tr><td>{text}</td><td>{name}</td></tr>" for text, name in zip(column, "baced"))
    chrome.execute_script(
        "document.body.innerHTML = `<article class='bd-article'><table class='sh-table'><thead><tr><th>share</th><th>name</th></tr></thead>"
        "<tbody>${arguments[0]}</tbody></table></article>`; document.dispatchEvent(new Event('DOMContentLoaded'));",
        page,
    )
    texts = "return [...document.querySelectorAll('tbody td:nth-child(' + arguments[0] + ')')].map(cell => cell.textContent)"
    share, name = chrome.find_elements(By.CSS_SELECTOR, "thead button")
    share.click()
    assert chrome.execute_script(texts, 1) == ["0.90 (0.85 to 0.93)", "110 of 125", "2 of 384", "−0.10", "–"]
    share.click()
    assert chrome.execute_script(texts, 1) == ["−0.10", "2 of 384", "110 of 125", "0.90 (0.85 to 0.93)", "–"]
    name.click()
    assert chrome.execute_script(texts, 2) == list("abcde")


def test_a_table_of_results_is_sorted_by_its_headings(chrome, visits):
    show(chrome, SITE / "book" / "results.html", WIDTHS["desktop"])
    table = chrome.find_element(By.CSS_SELECTOR, "table.sh-sortable")
    headings = {button.text.split("\n")[0]: button for button in table.find_elements(By.CSS_SELECTOR, "thead button")}
    rows = (
        "return [...arguments[0].tBodies[0].rows].map(r => [r.cells[0].textContent, Number(r.cells[4].dataset.sort)])"
    )
    before = chrome.execute_script(rows, table)
    assert len(before) >= 2
    for name, column, largest_first in (
        ("Model", 0, False),
        ("Model", 0, True),
        ("Macro", 1, True),
        ("Macro", 1, False),
    ):
        headings[name].send_keys(Keys.ENTER)
        shown = [row[column] for row in chrome.execute_script(rows, table)]
        assert shown == sorted(shown, reverse=largest_first) and len(shown) == len(before)
        order = chrome.execute_script("return arguments[0].closest('th').getAttribute('aria-sort')", headings[name])
        assert order == ("descending" if largest_first else "ascending")
    assert len(table.find_elements(By.CSS_SELECTOR, "[aria-sort]")) == 1


def facts(chrome):
    return [item.text for item in chrome.find_elements(By.CSS_SELECTOR, "#sh-cases li .sh-cases-facts")]


def counted(chrome):
    return chrome.find_element(By.CSS_SELECTOR, "#sh-cases [role=status]").text


def choose(chrome, label, value):
    select = next(
        label_.find_element(By.CSS_SELECTOR, "select")
        for label_ in chrome.find_elements(By.CSS_SELECTOR, "#sh-cases label")
        if label_.text.startswith(label)
    )
    next(option for option in select.find_elements(By.CSS_SELECTOR, "option") if option.text == value).click()


def test_winning_cases_open_on_succession_and_are_searched_filtered_and_read_with_the_keyboard(chrome):
    page = SITE / "book" / "winning-cases.html"
    show(chrome, page, WIDTHS["desktop"])
    data = chrome.execute_script("return window.SH_CASES.runs[0].cases.map(({paper, strict}) => ({paper, strict}))")
    wanted = sum(case["paper"] == "successorship" for case in data)
    assert counted(chrome).startswith(f"{wanted} of {len(data)} cases") and len(facts(chrome)) == min(20, wanted)
    effects = [float(text.split("effect ")[1].split()[0]) for text in facts(chrome)]
    assert effects == sorted(effects, reverse=True) and all(text.startswith("successorship") for text in facts(chrome))
    assert "endoftext" not in chrome.find_element(By.ID, "sh-cases").text

    choose(chrome, "Rules", "stricter, ours")
    strict = sum(case["strict"] == "successorship" for case in data)
    assert counted(chrome).startswith(f"{strict} of")
    choose(chrome, "Rules", "the paper's")
    choose(chrome, "Behaviour", "all")
    assert counted(chrome).startswith(f"{len(data)} of")
    search = chrome.find_element(By.CSS_SELECTOR, "#sh-cases input")
    search.send_keys("no such words anywhere")
    assert counted(chrome).startswith("None of") and facts(chrome) == []
    search.clear()
    search.send_keys(" ", "\b", "\ue00c")  # a key, its undoing, and Escape, which leaves the field
    body = ActionChains(chrome)
    body.send_keys("n").perform()
    assert f"shown are {min(21, len(data))}" in counted(chrome) or len(data) <= 20
    ActionChains(chrome).send_keys("j").send_keys("j").perform()
    assert (
        chrome.execute_script("return [...document.querySelectorAll('#sh-cases li')].indexOf(document.activeElement)")
        == 1
    )
    ActionChains(chrome).send_keys("/").perform()
    assert chrome.execute_script("return document.activeElement.type") == "search"


def test_a_winning_case_opens_in_play_with_the_same_head_and_text(chrome):
    show(chrome, SITE / "book" / "winning-cases.html", WIDTHS["desktop"])
    case = chrome.find_element(By.CSS_SELECTOR, "#sh-cases li")
    shown = case.find_element(By.CSS_SELECTOR, ".sh-cases-text").text.split(" → ")[0].removeprefix("… ")
    address = case.find_element(By.LINK_TEXT, "open in Play").get_attribute("href")
    show(chrome, "about:blank", WIDTHS["desktop"])
    show(chrome, address, WIDTHS["desktop"])
    text = WebDriverWait(chrome, PATIENCE).until(lambda b: b.find_elements(By.CSS_SELECTOR, ".sh-live textarea"))[0]
    flat = lambda words: "".join(words.replace("<|endoftext|>", "¶").replace("⏎", " ").split())  # noqa: E731
    assert flat(text.get_attribute("value")).endswith(flat(shown)[-40:])
    chosen = chrome.find_element(By.CSS_SELECTOR, ".sh-live-map .chosen .name").text
    assert f"head={chosen}" in address


def test_a_choice_among_winning_cases_and_a_single_case_have_an_address(chrome):
    page = SITE / "book" / "winning-cases.html"
    show(chrome, page, WIDTHS["phone"])
    choose(chrome, "Behaviour", "copying")
    first = chrome.find_element(By.CSS_SELECTOR, "#sh-cases li .sh-cases-text").text
    link = chrome.find_element(By.CSS_SELECTOR, "#sh-cases li a").get_attribute("href")
    chosen, told = chrome.current_url, counted(chrome)
    assert "behaviour=copying" in chosen and "case=" in link

    show(chrome, "about:blank", WIDTHS["phone"])
    show(chrome, chosen, WIDTHS["phone"])
    assert counted(chrome) == told and all(text.startswith("copying") for text in facts(chrome))
    show(chrome, "about:blank", WIDTHS["phone"])
    show(chrome, link, WIDTHS["phone"])
    (case,) = chrome.find_elements(By.CSS_SELECTOR, "#sh-cases li .sh-cases-text")
    assert case.text == first and counted(chrome).startswith("One of the")
    chrome.find_element(By.CSS_SELECTOR, "#sh-cases [role=status] a").click()
    WebDriverWait(chrome, PATIENCE).until(lambda b: len(facts(b)) > 1)
    # Another model's cases, by their address.
    show(chrome, f"{page.as_uri()}#model=published%2Fgemma3-270m&behaviour=all", WIDTHS["phone"])
    assert "of L12H0" in counted(chrome) and facts(chrome)
