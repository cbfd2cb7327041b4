// For those who use a keyboard or a screen reader: what the theme and circuitsvis leave out.

// What scrolls sideways can be reached and scrolled with the keyboard. What does depends on the width.
const SIDEWAYS = ":is(.bd-article, .slide) :is(table, figure, figure > div, pre, .output, .table, .sh-scroll, .pst-scrollable-table-container, .sh-formula), .slide";
function reachWhatScrolls() {
  // All is read before anything is written, or the page would be laid out anew for each box.
  const boxes = [...document.querySelectorAll(SIDEWAYS)].map((box) => {
    const scrolls = box.scrollWidth > box.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(box).overflowX);
    return { box, scrolls, more: scrolls && hasMore(box) };
  });
  for (const { box, scrolls, more } of boxes) {
    if (scrolls) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
    box.classList.toggle("sh-more", more);
  }
}

// A finger sees no scroll bar: an edge behind which something is left fades, until it is reached.
const hasMore = (box) => box.scrollLeft + box.clientWidth < box.scrollWidth - 1;
document.addEventListener("scroll", ({ target }) => {
  if (target !== document && target.matches(SIDEWAYS)) target.classList.toggle("sh-more", hasMore(target));
}, { capture: true, passive: true });

// A button's name is what stands on it. The icons are pictures and no words.
function nameButtons() {
  document.querySelectorAll(".search-button-field").forEach((button) => button.removeAttribute("aria-label"));
  document.querySelectorAll(".theme-switch-button :is(i, svg)").forEach((icon) => {
    icon.removeAttribute("title");
    icon.querySelector("title")?.remove();
    icon.setAttribute("aria-hidden", "true");
  });
}

// The full patterns' library is 1.3 MB, and few open them: it is brought once a page, by the first that is opened.
const STATIC = document.currentScript.src.replace(/[^/]*$/, "");
let bringing = null;
window.bringCircuitsVis = () => (bringing ??= new Promise((resolve, reject) => {
  const script = document.createElement("script");
  script.src = STATIC + "circuitsvis.js";
  script.onload = resolve;
  script.onerror = () => { bringing = null; reject(new Error("circuitsvis.js could not be read")); };
  document.head.append(script);
}));

// The full patterns are drawn with a mouse in mind. Its heads become buttons: focus shows a head, Enter or Space keeps it.
function openAttentionView(view) {
  view.setAttribute("role", "group");
  for (const label of view.querySelectorAll("h4")) {
    const head = label.parentElement;
    head.querySelector("canvas")?.setAttribute("aria-hidden", "true");
    if (head.getAttribute("role") === "button") continue;
    head.tabIndex = 0;
    head.setAttribute("role", "button");
    head.setAttribute("aria-label", `Show head ${label.textContent}`);
    const send = (kind) => label.dispatchEvent(new MouseEvent(kind, { bubbles: true }));
    head.addEventListener("focus", () => send("mouseover"));
    head.addEventListener("blur", () => send("mouseout"));
    head.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      send("click");
    });
  }
  const large = view.querySelector("h2");
  large?.parentElement.querySelector("canvas")?.setAttribute("aria-label", `Attention pattern of head ${large.textContent}`);
}

window.addEventListener("load", () => {
  nameButtons();
  // The theme may draw its icons later than this.
  for (const button of document.querySelectorAll(".theme-switch-button")) {
    new MutationObserver(nameButtons).observe(button, { childList: true, subtree: true });
  }
  for (const view of document.querySelectorAll("details.sh-circuitsvis > div")) {
    const open = () => openAttentionView(view);
    new MutationObserver(open).observe(view, { childList: true, subtree: true });
    open();
  }
  reachWhatScrolls();
  new ResizeObserver(reachWhatScrolls).observe(document.body);
});

// A link to something in a fold opens it, and paper shows what is folded, but neither code nor full attention patterns.
function unfoldTarget() {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let box = target || null; box; box = box.parentElement) if (box.tagName === "DETAILS") box.open = true;
}
window.addEventListener("hashchange", unfoldTarget);
window.addEventListener("load", unfoldTarget);
let opened = [];
window.addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll(".bd-article details:not([open], .hide, .sh-source, .sh-circuitsvis)")];
  for (const fold of opened) fold.open = true;
});
window.addEventListener("afterprint", () => { for (const fold of opened) fold.open = false; });
