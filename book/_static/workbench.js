// The workbench of chapter 4. A head is linear: the logits of an edited token are those of the token, plus
// k times the difference of two rows. The page carries the rows; this adds them up. No library, no request.
(function () {
  "use strict";
  const MOST_BARS = 12;
  const LARGEST_SCALE = 6;

  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  function fill(select, options, wanted) {
    select.replaceChildren(...options.map(([value, text]) => element("option", { value }, text)));
    if (options.some(([value]) => String(value) === String(wanted))) select.value = wanted;
  }

  function labelled(text, control) {
    return element("label", {}, element("span", {}, text), control);
  }

  function residuesOf(list, source) {
    const found = [];
    for (let residue = 0; residue < 10; residue++) {
      const edit = list.edits[source + " " + residue];
      if (edit && edit[0] !== source) found.push([residue, residue + ", as in " + list.words[edit[0]]]);
    }
    return found;
  }

  function logits(list, source, residue, k, directions) {
    const clean = list.clean[source];
    const rows = list.directions[directions];
    const own = list.index[source] % rows.length;
    return clean.map((value, member) => (value + k * (rows[residue][member] - rows[own][member])) / 100);
  }

  function highest(values) {
    return values.indexOf(Math.max(...values));
  }

  function shownMembers(values, always) {
    const members = values.map((_, member) => member);
    if (values.length <= MOST_BARS) return members;
    const shown = members.sort((a, b) => values[b] - values[a]).slice(0, MOST_BARS);
    return shown.concat(always.filter((member) => member >= 0 && !shown.includes(member)));
  }

  function build(figure, number) {
    const lists = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const id = (name) => "sh-bench-" + number + "-" + name;
    const task = element("select", { id: id("class") });
    const source = element("select", { id: id("source") });
    const residue = element("select", { id: id("residue") });
    const directions = element("select", { id: id("directions") });
    const scale = element("input", { id: id("scale"), type: "range", min: 0, max: LARGEST_SCALE, step: 0.1 });
    const scaleValue = element("output", { for: id("scale") });
    const answer = element("p", { class: "sh-bench-answer", "aria-live": "polite" });
    const body = element("tbody");
    const table = element(
      "table", { class: "sh-bench-bars" },
      element("caption", {}, "Logits of the class, mean 0. ", element("b", { class: "edited" }, "◆ what the edit says"), " ", element("b", { class: "before" }, "◇ the old answer")),
      body
    );

    fill(task, Object.entries(lists).map(([key, list]) => [key, list.name]));
    fill(directions, Object.keys(Object.values(lists)[0].directions).map((name) => [name, name]));

    function update() {
      const list = lists[task.value];
      const k = Number(scale.value);
      const from = Number(source.value);
      const values = logits(list, from, Number(residue.value), k, directions.value);
      const before = logits(list, from, Number(residue.value), 0, directions.value);
      const [, wanted, original] = list.edits[from + " " + residue.value];
      const now = highest(values);
      const verdict = now === wanted ? "as the edit says" : now === original ? "the old answer" : "the edit says " + list.words[wanted];
      answer.textContent = "The head answers " + list.words[now] + " (" + verdict + "); without the edit it answers " + list.words[highest(before)] + ".";
      scaleValue.textContent = k.toFixed(1);
      const low = Math.min(...values);
      const span = Math.max(...values) - low || 1;
      body.replaceChildren(...shownMembers(values, [wanted, original]).map((member) => {
        const kind = member === wanted ? "edited" : member === original ? "before" : "";
        const mark = member === wanted ? " ◆" : member === original ? " ◇" : "";
        const bar = element("div", { class: "bar " + kind });
        bar.style.width = (100 * (values[member] - low)) / span + "%";
        const row = element("tr", { "data-member": member },
          element("th", { scope: "row" }, list.words[member] + mark), element("td", { class: "track" }, bar), element("td", { class: "value" }, values[member].toFixed(2)));
        if (member === now) row.classList.add("wins");
        return row;
      }));
    }

    function newSource() {
      fill(residue, residuesOf(lists[task.value], Number(source.value)), residue.value);
      update();
    }

    function newClass() {
      const list = lists[task.value];
      fill(source, list.sources.map((member) => [member, list.words[member]]));
      scale.value = list.scale;
      newSource();
    }

    task.addEventListener("change", newClass);
    source.addEventListener("change", newSource);
    for (const control of [residue, directions]) control.addEventListener("change", update);
    scale.addEventListener("input", update);
    figure.querySelector(".sh-bench").append(
      element("div", { class: "sh-bench-controls", role: "group", "aria-label": "Workbench for edits" },
        labelled("Class", task), labelled("Source", source), labelled("Residue it gets", residue), labelled("Directions", directions),
        labelled("Scale k", element("span", { class: "range" }, scale, scaleValue))),
      answer, table
    );
    figure.querySelector(".sh-answers").removeAttribute("open");
    newClass();
  }

  function start() {
    document.querySelectorAll("figure.sh-workbench").forEach(build);
  }
  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", start) : start();
})();
