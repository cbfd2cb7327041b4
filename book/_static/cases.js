/* The page of winning cases: search, filter, sort and read them. The data is a script beside this one, for a page
   that is opened from a folder may not fetch files. Without JavaScript the first cases stand on the page as text. */
(function () {
  "use strict";
  const root = document.getElementById("sh-cases");
  const data = window.SH_CASES;
  if (!root || !data || !data.cases.length) return;

  const PER_PAGE = 20, BEFORE = 32;
  const behaviours = ["successorship", "acronym", "copying", "greater-than", "other"];
  const tops = Object.keys(data.cases[0]).filter(key => key.startsWith("behaviour_")).map(key => Number(key.slice(10)));
  const state = { page: 0, shown: [] };

  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const visible = token => token.replaceAll("\n", "⏎");
  const tokensOf = item => data.texts[item.text].contexts[item.context];
  const writtenBy = text => `${text.name}, written by ${text.natural ? "people" : "rules"}`;

  // What the search looks through, made once a case.
  data.cases.forEach(item => {
    const tokens = tokensOf(item);
    item.start = Math.max(0, item.prefix - BEFORE);
    const far = item.attended.filter(at => at < item.start).map(at => tokens[at]);
    item.haystack = (far.join(" ") + " " + tokens.slice(item.start, item.prefix + 2).join("")).toLowerCase();
  });

  const choice = (label, options, start) => {
    const select = element("select", { className: "form-select" });
    options.forEach(([value, text]) => select.append(element("option", { value, textContent: text, selected: value === start })));
    select.addEventListener("change", () => { state.page = 0; draw(); });
    return [element("label", {}, label, select), select];
  };
  const search = element("input", { type: "search", className: "form-control", placeholder: "a word, a number …" });
  search.addEventListener("input", () => { state.page = 0; draw(); });
  const [byBehaviour, behaviour] = choice("Behaviour", [["", "all"], ...behaviours.map(name => [name, name])], "");
  const [byText, text] = choice("Text", [["", "all"], ...data.texts.map((of, place) => [String(place), writtenBy(of)])], "");
  const [byTop, top] = choice("Attended tokens", tops.map(n => [String(n), String(n)]), String(tops[Math.floor(tops.length / 2)]));
  const [byOrder, order] = choice("Sorted by", [["effect", "effect"], ["place", "place in the text"]], "effect");
  const count = element("p", { role: "status", ariaLive: "polite", className: "sh-cases-count" });
  const list = element("ol", { className: "sh-cases-list" });
  const button = (label, step) => {
    const made = element("button", { type: "button", textContent: label, className: "btn btn-outline-primary btn-sm" });
    made.addEventListener("click", () => turn(step));
    return made;
  };
  const before = button("Previous page", -1), after = button("Next page", 1);
  root.replaceChildren(
    element("form", { className: "sh-cases-controls", onsubmit: () => false }, element("label", {}, "Search", search), byBehaviour, byText, byTop, byOrder),
    count, list, element("p", { className: "sh-cases-pages" }, before, " ", after));

  function passage(item) {
    const tokens = tokensOf(item);
    const weight = new Map(item.attended.map((at, place) => [at, item.weight[place]]));
    const made = element("p", { className: "sh-cases-text" }, item.start > 0 ? "… " : "");
    for (let at = item.start; at <= item.prefix; at++) {
      const share = weight.get(at) || 0;
      if (share < 0.01) { made.append(visible(tokens[at])); continue; }
      const mark = element("span", { textContent: visible(tokens[at]), title: `attention ${Math.round(100 * share)}%` });
      mark.style.background = `rgba(217, 119, 43, ${(0.6 * share).toFixed(2)})`;
      made.append(mark);
    }
    made.append(" → ", element("strong", { textContent: visible(tokens[item.prefix + 1]) }));
    return made;
  }

  function draw() {
    const wanted = search.value.toLowerCase(), key = `behaviour_${top.value}`;
    state.shown = data.cases.filter(item =>
      (!behaviour.value || item[key] === behaviour.value) && (!text.value || item.text === Number(text.value)) && (!wanted || item.haystack.includes(wanted)));
    if (order.value === "effect") state.shown.sort((one, other) => other.effect - one.effect);
    const pages = Math.max(1, Math.ceil(state.shown.length / PER_PAGE));
    state.page = Math.min(state.page, pages - 1);
    const first = state.page * PER_PAGE, here = state.shown.slice(first, first + PER_PAGE);
    count.textContent = state.shown.length
      ? `${state.shown.length} of ${data.cases.length} cases of ${data.head}; shown are ${first + 1} to ${first + here.length}.`
      : `None of the ${data.cases.length} cases of ${data.head} fits: search for less.`;
    list.start = first + 1;
    list.replaceChildren(...here.map(item => {
      const far = item.attended.map((at, place) => [at, item.weight[place]]).filter(([at, share]) => at < item.start && share >= 0.01);
      const farther = far.length ? ` · further back: ${far.map(([at, share]) => `“${visible(tokensOf(item)[at])}” ${Math.round(100 * share)}%`).join(", ")}` : "";
      return element("li", { tabIndex: -1 }, element("div", { className: "sh-cases-facts", textContent: `${item[key]} · effect ${item.effect.toFixed(2)} · ${writtenBy(data.texts[item.text])}${farther}` }), passage(item));
    }));
    before.disabled = state.page === 0;
    after.disabled = state.page === pages - 1;
  }

  function turn(step) {
    const pages = Math.max(1, Math.ceil(state.shown.length / PER_PAGE)), page = state.page + step;
    if (page < 0 || page >= pages) return;
    state.page = page;
    draw();
    count.scrollIntoView({ block: "nearest" });
  }

  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input, select, textarea");
    if (typing) { if (event.key === "Escape") typing.blur(); return; }
    const items = [...list.children], at = items.indexOf(document.activeElement);
    if (event.key === "/") { event.preventDefault(); search.focus(); }
    else if (event.key === "j" || event.key === "k") {
      const next = items[at < 0 ? 0 : Math.min(items.length - 1, Math.max(0, at + (event.key === "j" ? 1 : -1)))];
      if (next) next.focus();
    } else if (event.key === "n") turn(1);
    else if (event.key === "p") turn(-1);
  });
  draw();
})();
