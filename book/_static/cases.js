/* The page of winning cases: search, filter, sort and read them. The data is a script beside this one, for a page
   that is opened from a folder may not fetch files. Without JavaScript the first cases stand on the page as text.

   Every choice, and every single case, has an address: #behaviour=acronym&model=…, #case=generated:12:34&model=…. */
(function () {
  "use strict";
  const root = document.getElementById("sh-cases");
  const data = window.SH_CASES;
  if (!root || !data || !data.runs.length) return;

  const PER_PAGE = 20, BEFORE = 32;
  const BEHAVIOURS = ["successorship", "acronym", "copying", "greater-than", "other"];
  const RULES = { paper: "the paper's", strict: "stricter, ours" };
  const state = { run: data.runs[0], page: 0, pages: 1, single: null };

  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const visible = token => token.replaceAll("\n", "⏎");
  const tokensOf = item => item.run.texts[item.text].contexts[item.context];
  const writtenBy = text => `${text.name}, written by ${text.natural ? "people" : "rules"}`;
  const nameOf = item => `${item.run.texts[item.text].name}:${item.context}:${item.prefix}`;

  // What the search looks through, made once a case.
  for (const run of data.runs) for (const item of run.cases) {
    item.run = run;
    item.start = Math.max(0, item.prefix - BEFORE);
    const tokens = tokensOf(item), far = item.attended.filter(at => at < item.start).map(at => tokens[at]);
    item.haystack = (far.join(" ") + " " + tokens.slice(item.start, item.prefix + 2).join("")).toLowerCase();
  }

  // Controls, by the name that each has in an address. What is first in its list is left out of the address.
  const controls = {};
  const choice = (name, label, options) => {
    const select = element("select", { className: "form-select" });
    controls[name] = select;
    fill(select, options);
    select.addEventListener("change", () => choose(name));
    return element("label", {}, label, select);
  };
  function fill(select, options) {
    select.replaceChildren(...options.map(([value, text]) => element("option", { value, textContent: text })));
  }
  const search = controls.search = element("input", { type: "search", className: "form-control", placeholder: "a word, a number …" });
  search.addEventListener("input", () => choose("search"));
  const form = element("form", { className: "sh-cases-controls" }, element("label", {}, "Search", search),
    choice("behaviour", "Behaviour", [...BEHAVIOURS, "all"].map(name => [name, name])),
    choice("model", "Model and head", data.runs.map(run => [run.model, `${run.model} ${run.head}`])),
    choice("text", "Text", []),
    choice("rules", "Rules", Object.entries(RULES)),
    choice("sort", "Sorted by", [["effect", "effect"], ["place", "place in the text"]]));
  form.addEventListener("submit", event => event.preventDefault());
  const count = element("p", { role: "status", ariaLive: "polite", className: "sh-cases-count" });
  const list = element("ol", { className: "sh-cases-list" });
  const button = (label, step) => {
    const made = element("button", { type: "button", textContent: label, className: "btn btn-outline-primary btn-sm" });
    made.addEventListener("click", () => turn(step));
    return made;
  };
  const before = button("Previous page", -1), after = button("Next page", 1);
  root.replaceChildren(form, count, list, element("p", { className: "sh-cases-pages" }, before, " ", after));

  function fillTexts() {
    state.run = data.runs.find(run => run.model === controls.model.value) || data.runs[0];
    fill(controls.text, [["", "all"], ...state.run.texts.map(text => [text.name, writtenBy(text)])]);
  }

  const address = single => {
    const parts = new URLSearchParams();
    if (single) parts.set("case", nameOf(single));
    for (const [name, control] of Object.entries(controls)) {
      const usual = control.options ? control.options[0].value : "";
      if (control.value !== usual && (!single || name === "model")) parts.set(name, control.value);
    }
    return `#${parts}`;
  };

  function readAddress() {
    const parts = new URLSearchParams(location.hash.slice(1));
    const set = name => {
      const control = controls[name], wanted = parts.get(name);
      if (!control.options) control.value = wanted ?? "";
      else control.selectedIndex = Math.max(0, [...control.options].findIndex(option => option.value === wanted));
    };
    set("model");
    fillTexts();
    ["search", "behaviour", "text", "rules", "sort"].forEach(set);
    state.single = state.run.cases.find(item => nameOf(item) === parts.get("case")) || null;
    // Where the head never counts the page opens on all that it does.
    if (!parts.has("behaviour") && !state.run.cases.some(item => item[controls.rules.value] === BEHAVIOURS[0])) controls.behaviour.value = "all";
    state.page = 0;
    draw();
  }

  function choose(name) {
    if (name === "model") fillTexts();
    state.page = 0;
    state.single = null;
    history.replaceState(null, "", address(null));
    draw();
  }

  function passage(item) {
    const tokens = tokensOf(item);
    const weight = new Map(item.attended.map((at, place) => [at, item.weight[place]]));
    const made = element("p", { className: "sh-cases-text" }, item.start > 0 ? "… " : "");
    for (let at = item.start; at <= item.prefix; at++) {
      const share = weight.get(at) || 0;
      if (share < 0.01) { made.append(visible(tokens[at])); continue; }
      const mark = element("span", { textContent: visible(tokens[at]), title: `attention ${Math.round(100 * share)}%` });
      mark.style.background = `rgba(217, 119, 43, ${(0.5 * share).toFixed(2)})`;
      made.append(mark);
    }
    made.append(" → ", element("strong", { textContent: visible(tokens[item.prefix + 1]) }));
    return made;
  }

  // The model of Play is one of those shown: there the case itself can be run, with all that the head could see.
  function inPlay(item) {
    if (item.run.model !== "grown/pythia") return [];
    const text = tokensOf(item).slice(0, item.prefix + 1).join("").replaceAll("¶", "<|endoftext|>");
    return [" · ", element("a", { href: `play.html#${new URLSearchParams({ text, head: item.run.head })}`, textContent: "open in Play" })];
  }

  function entry(item) {
    const far = item.attended.map((at, place) => [at, item.weight[place]]).filter(([at, share]) => at < item.start && share >= 0.01);
    const farther = far.length ? ` · further back: ${far.map(([at, share]) => `“${visible(tokensOf(item)[at])}” ${Math.round(100 * share)}%`).join(", ")}` : "";
    const facts = `${item[controls.rules.value]} · effect ${item.effect.toFixed(2)} · ${writtenBy(item.run.texts[item.text])}${farther} · `;
    const link = element("a", { href: address(item), textContent: "link", title: "The address of this case" });
    return element("li", { tabIndex: -1 }, element("div", { className: "sh-cases-facts" }, facts, link, ...inPlay(item)), passage(item));
  }

  function draw() {
    const { run, single } = state, wanted = search.value.toLowerCase(), behaviour = controls.behaviour.value;
    const shown = single ? [single] : run.cases.filter(item =>
      (behaviour === "all" || item[controls.rules.value] === behaviour) &&
      (!controls.text.value || run.texts[item.text].name === controls.text.value) && (!wanted || item.haystack.includes(wanted)));
    if (controls.sort.value === "effect") shown.sort((one, other) => other.effect - one.effect);
    state.pages = Math.max(1, Math.ceil(shown.length / PER_PAGE));
    state.page = Math.min(state.page, state.pages - 1);
    const first = state.page * PER_PAGE, here = shown.slice(first, first + PER_PAGE);
    if (single) count.replaceChildren(`One of the ${run.cases.length} cases of ${run.head} in ${run.model}. `, element("a", { href: "#", textContent: "Show the others" }));
    else count.textContent = shown.length
      ? `${shown.length} of ${run.cases.length} cases of ${run.head}; shown are ${first + 1} to ${first + here.length}.`
      : `None of the ${run.cases.length} cases of ${run.head} fits: search for less.`;
    list.start = first + 1;
    list.replaceChildren(...here.map(entry));
    before.disabled = state.page === 0;
    after.disabled = state.page === state.pages - 1;
  }

  function turn(step) {
    const page = state.page + step;
    if (page < 0 || page >= state.pages) return;
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
  window.addEventListener("hashchange", readAddress);
  readAddress();
})();
