"""The built book in a real browser, read from its folder with the network cut."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

SITE = Path(__file__).parent.parent / "_build" / "site" / "_build" / "html"
# Headless Chromium as root in a closed network: no sandbox, and none of its own look-ups.
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --enable-unsafe-swiftshader --hide-scrollbars"
).split()
WIDTHS = {"desktop": 1280, "phone": 375}
THEMES = ("light", "dark")
# The driver's word on a slow read of pixels, from circuitsvis drawing without a graphics card. No error of a page.
NOT_OURS = ("GL Driver Message",)

# Contrast of each piece of text in a figure with what is painted under it, by WCAG's formula.
CONTRAST = """
const channel = c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const opaque = text => text && text !== "none" && !text.startsWith("url") && (parse(text)[3] ?? 1) > 0.5;
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
      if (below instanceof SVGGeometryElement && opaque(getComputedStyle(below).fill)) { ground = getComputedStyle(below).fill; break; }
    }
    if (!known) continue;
    const ink = text.tagName === "FIGCAPTION" ? style.color : style.fill;
    const [light, dark] = [luminance(parse(ink)), luminance(parse(ground))].sort((a, b) => b - a);
    results.push({text: text.textContent.trim().slice(0, 40), ink, ground, ratio: (light + 0.05) / (dark + 0.05)});
  }
}
return results;
"""


def need(found, reason):
    """Skip for a good reason on a reader's machine; fail for it in CI, where nothing may be skipped."""
    if not found:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def pages():
    return sorted(path for path in SITE.rglob("*.html") if "_static" not in path.parts)


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
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["http://*", "https://*", "ws://*", "wss://*"]})
    yield browser
    browser.quit()


def show(chrome, page, width):
    chrome.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    )
    chrome.get(page.as_uri() if isinstance(page, Path) else page)
    WebDriverWait(chrome, 60).until(lambda b: b.execute_script("return document.readyState") == "complete")
    if chrome.execute_script("return !!document.querySelector('.math')"):
        WebDriverWait(chrome, 60).until(lambda b: b.execute_script("return !!document.querySelector('mjx-container')"))
    time.sleep(0.3)  # scripts that start after loading may still log


def set_theme(chrome, theme):
    chrome.execute_script("document.documentElement.dataset.theme = document.documentElement.dataset.mode = arguments[0]", theme)
    time.sleep(0.3)  # colours fade from one theme to the other


def outside_requests(chrome):
    messages = [json.loads(entry["message"])["message"] for entry in chrome.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [url for url in urls if not url.startswith(("file:", "data:", "blob:", "chrome"))]


@pytest.fixture(scope="session")
def visits(chrome):
    """What was seen on every page, at each width."""
    seen = []
    for name, width in WIDTHS.items():
        for page in pages():
            show(chrome, page, width)
            where = f"{page.relative_to(SITE)} ({name})"
            log = [e for e in chrome.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]
            seen.append(
                {
                    "where": where,
                    "console": [e["message"] for e in log if not any(word in e["message"] for word in NOT_OURS)],
                    "outside": outside_requests(chrome),
                    "widths": chrome.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]"),
                    "no_alt": chrome.execute_script(
                        "return [...document.images].filter(i => !i.hasAttribute('alt')).map(i => i.src)"
                    ),
                    "no_label": chrome.execute_script(
                        "return [...document.querySelectorAll('figure.sh-figure > svg')]"
                        ".filter(s => !s.getAttribute('aria-label')).map(s => s.outerHTML.slice(0, 80))"
                    ),
                    "raw_formulas": chrome.execute_script(
                        "return [...document.querySelectorAll('.math')].filter(m => !m.querySelector('mjx-container'))"
                        ".map(m => m.textContent)"
                    ),
                    "formula_errors": chrome.execute_script("return document.querySelectorAll('mjx-merror').length"),
                }
            )
    return seen


def found(visits, what):
    return {visit["where"]: visit[what] for visit in visits if visit[what]}


def test_the_console_is_clean(visits):
    assert not found(visits, "console")


def test_no_request_leaves_the_page(visits):
    assert not found(visits, "outside")


def test_no_page_is_wider_than_the_screen(visits):
    assert not {visit["where"]: visit["widths"] for visit in visits if visit["widths"][0] > visit["widths"][1]}


def test_every_picture_has_its_words(visits):
    assert not found(visits, "no_alt")
    assert not found(visits, "no_label")


def test_every_formula_is_set(visits):
    assert not found(visits, "raw_formulas")
    assert not found(visits, "formula_errors")


@pytest.mark.parametrize("theme", THEMES)
def test_text_in_figures_can_be_read(chrome, visits, theme):
    too_faint = {}
    for page in pages():
        show(chrome, page, WIDTHS["desktop"])
        if not chrome.execute_script("return !!document.querySelector('figure.sh-figure')"):
            continue
        set_theme(chrome, theme)
        for sample in chrome.execute_script(CONTRAST):
            if sample["ratio"] < 3:
                too_faint.setdefault(str(page.relative_to(SITE)), []).append(sample)
    assert not too_faint


def test_attention_views_draw_themselves(chrome, visits):
    drawn = 0
    for page in pages():
        if "sh-circuitsvis" in page.read_text():
            show(chrome, page, WIDTHS["desktop"])
            views = chrome.find_elements(By.CSS_SELECTOR, "figure.sh-circuitsvis > div")
            WebDriverWait(chrome, 30).until(lambda _, views=views: all(view.text.strip() for view in views))
            drawn += len(views)
    assert drawn


def test_the_theme_can_be_switched(chrome, visits):
    show(chrome, SITE / "book" / "index.html", WIDTHS["desktop"])
    button = chrome.find_element(By.CSS_SELECTOR, ".theme-switch-button")
    modes = []
    for _ in range(3):
        button.click()
        modes.append(chrome.execute_script("return document.documentElement.dataset.mode"))
    assert sorted(modes) == ["auto", "dark", "light"]


def test_a_term_explains_itself(chrome, visits):
    show(chrome, SITE / "book" / "index.html", WIDTHS["desktop"])
    term = chrome.find_element(By.CSS_SELECTOR, "a[href*='term-successor-head']")
    ActionChains(chrome).scroll_to_element(term).move_to_element(term).perform()
    tip = WebDriverWait(chrome, 10).until(lambda b: b.find_element(By.CSS_SELECTOR, ".tippy-box"))
    assert "maps members of many ordinal classes to their successors" in tip.text


def test_search_finds_a_term(chrome, visits):
    chrome.get_log("browser")
    show(chrome, f"{(SITE / 'search.html').as_uri()}?q=greater-than", WIDTHS["desktop"])
    results = WebDriverWait(chrome, 20).until(lambda b: b.find_elements(By.CSS_SELECTOR, "#search-results li a"))
    assert any("glossary" in link.get_attribute("href") for link in results)
    assert not [e["message"] for e in chrome.get_log("browser") if e["level"] == "SEVERE"]
