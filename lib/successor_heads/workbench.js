// The workbench of chapter 4. All that it shows and says stands in one table, which the page carries as JSON and which
// workbench.py writes and reads as well. The logits of an edited token are those of the token, plus λ times the edit's
// length times the difference of two rows: this adds them up. No library, no request. Whoever makes the same edit
// elsewhere listens to the figure's event "edit", and finds the edit in `figure.edit`.
(function () {
  "use strict";
  const SOURCE = 0, RESIDUE = 1, OWN = 2, TARGET = 3, WANTED = 4, ORIGINAL = 5; // the columns of an edit

  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  function filled(wording, values) {
    return wording.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  }

  function fill(select, options, wanted) {
    select.replaceChildren(...options.map(([value, text]) => element("option", { value }, text)));
    if (options.some(([value]) => String(value) === String(wanted))) select.value = wanted;
  }

  function pushOf(list, edit, scale, directions) {
    return scale * list.lengths[directions][list.edits.indexOf(edit)];
  }

  function logits(list, edit, push, directions) {
    const rows = list.directions[directions];
    return list.clean[edit[SOURCE]].map(
      (value, member) => list.unit * (value + push * (rows[edit[RESIDUE]][member] - rows[edit[OWN]][member])));
  }

  function highest(values) {
    return values.indexOf(Math.max(...values));
  }

  function shownMembers(values, most, always) {
    const members = values.map((_, member) => member);
    if (values.length <= most) return members;
    const shown = members.sort((a, b) => values[b] - values[a]).slice(0, most);
    return shown.concat(always.filter((member) => member >= 0 && !shown.includes(member)));
  }

  function build(figure, number) {
    const table = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const lists = table.lists;
    const id = (name) => "sh-bench-" + number + "-" + name;
    const control = {};
    for (const name of ["list", "source", "residue", "directions"]) control[name] = element("select", { id: id(name) });
    control.scale = element("input", { id: id("scale"), type: "range", ...table.scale });
    const scaleValue = element("output", { for: id("scale") });
    const answer = element("p", { class: "sh-bench-answer", "aria-live": "polite" });
    const key = element("caption");
    const body = element("tbody");

    fill(control.list, Object.keys(lists).map((title) => [title, title]));
    fill(control.directions, Object.keys(Object.values(lists)[0].directions).map((name) => [name, name]));

    const list = () => lists[control.list.value];
    // An edit to the residue that the source has changes nothing, and is not offered.
    const editsOf = (source) => list().edits.filter((edit) => edit[SOURCE] === Number(source) && edit[TARGET] !== edit[SOURCE]);
    const chosen = () => editsOf(control.source.value).find((edit) => edit[RESIDUE] === Number(control.residue.value));

    function update() {
      const of = list(), edit = chosen(), scale = Number(control.scale.value), directions = control.directions.value;
      const push = pushOf(of, edit, scale, directions), values = logits(of, edit, push, directions);
      const now = highest(values);
      const said = {
        now: of.words[now], wanted: of.words[edit[WANTED]], old: of.words[edit[ORIGINAL]],
        before: of.words[highest(of.clean[edit[SOURCE]])],
      };
      const verdict = now === edit[WANTED] ? "right" : now === edit[ORIGINAL] ? "old" : "wrong";
      answer.textContent = filled(table.wording[verdict] + " " + table.wording.unedited, said);
      answer.dataset.verdict = verdict;
      scaleValue.textContent = scale.toFixed(2);
      key.replaceChildren(table.wording.bars + " ", element("b", { class: "wanted" }, filled(table.wording.wanted, said)));
      if (said.old) key.append(" ", element("b", { class: "original" }, filled(table.wording.original, said)));
      // One zero for all bars, wherever the largest and the smallest leave it.
      const low = Math.min(0, ...values), span = Math.max(0, ...values) - low || 1;
      const zero = (-100 * low) / span;
      body.replaceChildren(...shownMembers(values, table.most_bars, [edit[WANTED], edit[ORIGINAL]]).map((member) => {
        const kind = member === edit[WANTED] ? "wanted" : member === edit[ORIGINAL] ? "original" : "";
        const bar = element("div", { class: "bar " + kind, "data-sign": values[member] < 0 ? "negative" : "positive" });
        const width = (100 * Math.abs(values[member])) / span;
        bar.style.width = width + "%";
        bar.style.left = (values[member] < 0 ? zero - width : zero) + "%";
        const track = element("div", { class: "track" }, bar);
        track.style.setProperty("--zero", zero + "%");
        const row = element("tr", { "data-member": member },
          element("th", { scope: "row" }, of.words[member] + (table.marks[kind] || "")), element("td", {}, track),
          element("td", { class: "value" }, values[member].toFixed(of.digits).replace("-", "−")));
        if (member === now) row.classList.add("wins");
        return row;
      }));
      for (const button of presets.children) button.setAttribute("aria-pressed", String(isShown(table.presets[button.dataset.preset])));
      figure.edit = {
        list: control.list.value, words: of.words, source: edit[SOURCE], residue: edit[RESIDUE], own: edit[OWN],
        wanted: edit[WANTED], original: edit[ORIGINAL], directions, push,
      };
      figure.dispatchEvent(new Event("edit"));
    }

    function newSource() {
      fill(control.residue, editsOf(control.source.value).map((edit) =>
        [edit[RESIDUE], filled(table.wording.residue, { residue: edit[RESIDUE], word: list().words[edit[TARGET]] })]), control.residue.value);
      update();
    }

    function newList() {
      const sources = [...new Set(list().edits.map((edit) => edit[SOURCE]))].filter((source) => editsOf(source).length);
      fill(control.source, sources.map((member) => [member, list().words[member]]));
      control.scale.value = list().scale;
      newSource();
    }

    function isShown(preset) {
      return preset.list === control.list.value && lists[preset.list].edits[preset.edit] === chosen() &&
        preset.directions === control.directions.value && lists[preset.list].scale === Number(control.scale.value);
    }

    function open(preset) {
      const edit = lists[preset.list].edits[preset.edit];
      control.list.value = preset.list;
      control.directions.value = preset.directions;
      newList();
      control.source.value = edit[SOURCE];
      newSource();
      control.residue.value = edit[RESIDUE];
      update();
    }

    function labelOf(preset) {
      const of = lists[preset.list], edit = of.edits[preset.edit];
      const wording = preset.directions === table.presets[0].directions ? table.wording.preset : table.wording.preset_control;
      return filled(wording, { source: of.words[edit[SOURCE]], residue: edit[RESIDUE], wanted: of.words[edit[WANTED]], directions: preset.directions });
    }

    const presets = element("div", { class: "sh-bench-presets", role: "group", "aria-label": "Edits to begin with" },
      ...table.presets.map((preset, place) => {
        const button = element("button", { type: "button", "data-preset": place }, labelOf(preset));
        button.addEventListener("click", () => open(preset));
        return button;
      }));

    control.list.addEventListener("change", newList);
    control.source.addEventListener("change", newSource);
    for (const name of ["residue", "directions"]) control[name].addEventListener("change", update);
    control.scale.addEventListener("input", update);
    const labelled = (name) => element("label", { class: ["source", "residue"].includes(name) ? "half" : "" }, element("span", {}, table.controls[name]),
      name === "scale" ? element("span", { class: "range" }, control.scale, scaleValue) : control[name]);
    const model = figure.querySelector(".sh-live"); // which makes the same edit, where the page has it
    figure.querySelector(".sh-bench").append(presets,
      element("div", { class: "sh-bench-controls", role: "group", "aria-label": "Workbench for edits" }, ...Object.keys(table.controls).map(labelled)),
      element("div", { class: "sh-bench-answers" }, element("div", {}, answer, element("table", { class: "sh-bench-bars" }, key, body)), ...(model ? [model] : [])));
    figure.querySelector(".sh-answers").removeAttribute("open");
    figure.dataset.built = "yes";
    table.presets.length ? open(table.presets[0]) : newList();
  }

  function start() {
    // A notebook runs this once for each output, also for those that are there already.
    document.querySelectorAll("figure.sh-workbench").forEach((figure, number) => figure.dataset.built || build(figure, number));
  }
  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", start) : start();
})();
