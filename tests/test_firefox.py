"""Play in Firefox, read from its folder with the network cut.

Debian has Firefox and no driver for it. It needs none: it speaks WebDriver BiDi itself, JSON over a socket
(https://w3c.github.io/webdriver-bidi), of which the few commands that are used here are written out below.
"""

import json
import re
import shutil
import subprocess
import threading

import pytest
import torch
import websocket

from successor_heads import live, models, ordinals, prompts
from test_browser import PATIENCE, SITE, need, outside
from test_live import NEAR, PACK, generated, unpacked

pytestmark = pytest.mark.book

N_PROMPTS = 100  # of the thousand that Chromium is asked
# No look-ups of its own, and nobody behind the only way out.
PREFERENCES = {
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "app.update.disabledForTesting": True,
    "datareporting.policy.dataSubmissionEnabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
}
EVENTS = ("log.entryAdded", "network.beforeRequestSent")
ALIVE = """new Promise(resolve => { const look = () => {
  const map = document.querySelector(".sh-live.alive .sh-live-map");
  map && map.textContent.includes(".") && !map.hasAttribute("aria-busy") ? resolve() : setTimeout(look, 50); }; look(); })"""
STATE = """({answer: document.querySelector(".sh-live-answer").textContent, address: location.hash,
  map: [...document.querySelectorAll(".sh-live-map .cell")].map(cell => cell.className + cell.textContent),
  attention: [...document.querySelectorAll(".sh-live-tokens button")].map(token => token.className + token.textContent),
  chosen: [...document.querySelectorAll(".sh-live select")].map(select => select.value)})"""


class Firefox:
    """A window of Firefox: commands are answered one after the other, events in between are kept."""

    def __init__(self, profile):
        binary = shutil.which("firefox-esr") or shutil.which("firefox")
        need(binary, "NO FIREFOX: install firefox-esr, or Play is not looked at in it.")
        lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items())
        (profile / "user.js").write_text("".join(lines), encoding="utf8")
        command = [binary, "--headless", "--no-remote", "--remote-debugging-port=0", "--profile", str(profile)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        address = next(
            (found for line in self.process.stderr if (found := re.search(r"BiDi listening on (\S+)", line))), None
        )
        assert address, "Firefox ended before it listened"
        # Whatever else it has to say is taken off it, or it would wait for that.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        # It refuses whoever says that a page has sent them.
        self.socket = websocket.create_connection(f"{address[1]}/session", suppress_origin=True, timeout=PATIENCE)
        self.sent, self.events = 0, []
        self.tell("session.new", capabilities={})
        self.tell("session.subscribe", events=EVENTS)
        self.window = self.tell("browsingContext.getTree")["contexts"][0]["context"]

    def tell(self, method, **given):
        """The result of a command."""
        self.sent += 1
        self.socket.send(json.dumps({"id": self.sent, "method": method, "params": given}))
        while (answer := json.loads(self.socket.recv())).get("id") != self.sent:
            self.events.append(answer)
        assert answer["type"] == "success", answer
        return answer["result"]

    def show(self, address):
        """A page in a new document."""
        for url in ("about:blank", address):
            self.tell("browsingContext.navigate", context=self.window, url=url, wait="complete")

    def ask(self, script):
        """What a script gives, as JSON; promises are waited for."""
        script = f"(async () => JSON.stringify(await ({script}) ?? null))()"
        said = self.tell("script.evaluate", expression=script, target={"context": self.window}, awaitPromise=True)
        assert said["type"] == "success", said
        return json.loads(said["result"]["value"])

    def complaints(self):
        """Errors and warnings of the pages so far."""
        told = [event["params"] for event in self.events if event["method"] == "log.entryAdded"]
        return [each["text"] for each in told if each["level"] in ("warn", "error")]

    def outside_requests(self):
        """Addresses that were asked for and lie in no folder."""
        sent = [event["params"] for event in self.events if event["method"] == "network.beforeRequestSent"]
        return outside([(None, each["request"]["url"]) for each in sent])

    def close(self):
        """End it, as a reader would."""
        self.tell("browser.close")
        self.socket.close()
        self.process.wait(timeout=PATIENCE)


@pytest.fixture
def firefox(tmp_path):
    browser = Firefox(tmp_path)
    yield browser
    browser.close()


def test_play_runs_in_firefox_and_says_what_torch_says(firefox):
    play = SITE / "book" / "play.html"
    need(play.exists(), "The book is not built: run `make book`, or `make test`, which builds it.")
    firefox.show(play.as_uri())
    assert firefox.ask("typeof SuccessorHeads.load") == "undefined", "nothing is brought before a reader asks"
    firefox.ask("document.querySelector('.sh-live-start').click()")
    firefox.ask(ALIVE)

    grown = models.load(live.MODEL)
    texts = generated(ordinals.resolve(grown.tokenizer), N_PROMPTS)
    firefox.ask("SuccessorHeads.load().then(model => { window.model = model; })")
    ids = firefox.ask(f"{json.dumps(texts)}.map(text => model.encode(text))")
    assert ids == [prompts.tokens_of(grown.tokenizer, text) for text in texts]
    ran = "(() => { %s return pack(%s.flatMap(ids => Array.from(model.run(ids%s).logits))); })()"
    here = unpacked(firefox.ask(ran % (PACK, json.dumps(ids), "")), N_PROMPTS, -1)
    there = prompts.next_token_logits(grown, ids)
    assert (here - there).abs().max() < NEAR
    assert torch.equal(here.argmax(-1), there.argmax(-1))
    # The same measure notices a model with one head off.
    changed = unpacked(firefox.ask(ran % (PACK, json.dumps(ids[-1:]), ", {off: [[1, 0]]}")), 1, -1)
    assert (changed - there[-1]).abs().max() > 10 * NEAR

    # What a reader chose is in the address, and comes back from it.
    shown = firefox.ask(STATE)
    firefox.ask(
        "(() => { document.querySelector(\"[aria-label='L1H0 intact']\").click();"
        " const tokens = document.querySelectorAll('.sh-live-tokens button'); tokens[tokens.length - 2].click(); })()"
    )
    firefox.ask(ALIVE)
    altered = firefox.ask(STATE)
    assert altered != shown and "off=L1H0" in altered["address"] and "from=" in altered["address"]
    firefox.show(play.as_uri() + altered["address"])
    firefox.ask(ALIVE)
    assert firefox.ask(STATE) == altered
    assert firefox.complaints() == [] and firefox.outside_requests() == []
    # Both would have been seen.
    firefox.ask("fetch('https://outside.invalid/').catch(error => console.error(error.name))")
    assert "TypeError" in firefox.complaints() and firefox.outside_requests() == ["https://outside.invalid/"]
