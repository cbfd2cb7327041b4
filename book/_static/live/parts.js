// Parts of the living figures: what Play and the figures of the chapters are put together from. No library, no request.
//
// A figure is `<div class="sh-live" data-live="KIND">` with what is shown without JavaScript inside it. Whoever knows the
// kind registers it, `SuccessorHeads.figure("KIND", {invitation, build})`, and every such element gets a button that
// brings the model and calls `build(model, options, root)`, options being the JSON of its `data-options` and root the
// element. Where those are all that is needed, `data-bytes` is 0, and the figure is built with the page, model being null.
// One line in a chapter makes such an element: see `successor_heads.live`.
Object.assign((window.SuccessorHeads ??= {}), (function () {
  "use strict";
  const HERE = document.currentScript.src.replace(/[^/]*$/, "");

  /* The engine, model.js, which a page does without until a reader asks for the model. */
  function bringEngine() {
    if (window.SuccessorHeads.load) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const script = element("script", { src: HERE + "model.js" });
      script.onload = resolve;
      script.onerror = () => reject(new Error("model.js could not be read"));
      document.head.append(script);
    });
  }

  const element = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

  function fill(made, attributes = {}, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== null));
    return made;
  }

  const nameOf = ([layer, head]) => `L${layer}H${head}`;
  const same = (a, b) => a[0] === b[0] && a[1] === b[1];
  const visible = (text) => text.replaceAll("\n", "⏎").replace(/^ /, "");
  const percent = (share) => (share > 0 && share < 0.0005 ? "< 0.1%" : share > 0.9995 && share < 1 ? "> 99.9%" : `${(100 * share).toFixed(share < 0.0995 || share > 0.9005 ? 1 : 0)}%`);
  const signed = (value, digits = 2) => {
    const text = Math.abs(value).toFixed(digits);
    return Number(text) === 0 ? text : (value < 0 ? "−" : "+") + text;
  };
  const highest = (values) => { let best = 0; for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i; return best; };

  let ids = 0;
  function labelled(text, control) {
    control.id = control.id || `sh-live-${ids++}`;
    return element("div", { class: "sh-live-field" }, element("label", { for: control.id }, text), control);
  }

  /* A select of [value, text] pairs that calls `onchange` with the value chosen; `.fill(options, value)` gives it others. */
  function choice(options, value, onchange) {
    const select = element("select", { onchange: () => onchange(select.value) });
    select.fill = (pairs, wanted) => {
      select.replaceChildren(...pairs.map(([each, text]) => element("option", { value: each }, text)));
      select.value = String(wanted);
    };
    select.fill(options, value);
    return select;
  }

  /* Of several buttons in a box one is in the tab order, and arrow keys go from one to the next; `columns` of them in a row. */
  function arrows(box, selector, columns = () => 1) {
    box.addEventListener("keydown", (event) => {
      const buttons = [...box.querySelectorAll(selector)], at = buttons.indexOf(event.target);
      if (at < 0) return;
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns(), Home: -at, End: buttons.length - 1 - at }[event.key];
      const next = buttons[at + step];
      if (step === undefined || !next) return;
      event.preventDefault();
      next.focus();
      next.click();
    });
  }

  const LEAST_TICK = 0.005; // ticks nearer to zero than that would only draw an axis

  /* Bars as a table: rows of {key, word, value, text, before, mark, wins, orange, kind}; values and `before`, a tick, from 0
     to 1, and `kind` a class for the row. */
  function bars(caption) {
    const body = element("tbody"), title = element("caption", {}, caption);
    const table = element("table", { class: "sh-live-bars" }, title, body);
    table.show = (heading, rows) => {
      title.textContent = heading;
      body.replaceChildren(...rows.map(({ key, word, value, text, before = null, wins = false, orange = wins, mark = "", kind = "" }) => {
        const bar = element("div", { class: "bar" }), track = element("td", { class: "track" }, bar);
        bar.style.width = `${100 * Math.max(0, value)}%`;
        if (before !== null && before >= LEAST_TICK) {
          const tick = element("div", { class: "tick" });
          tick.style.left = `${100 * before}%`;
          track.append(tick);
        }
        return element("tr", { "data-key": key, class: `${wins ? "wins" : ""} ${orange ? "orange" : ""} ${kind}` }, element("th", { scope: "row" }, word + mark), track, element("td", { class: "value" }, text));
      }));
    };
    return table;
  }

  /* The map of heads: a button a head, that chooses it, and below it, where `onswitch` is given, a switch.
     `.show({values, chosen, off, limit, name})`: values [layer][head], `limit` where the colour is full, `name` what they are. */
  function headMap({ layers, heads, onchoose, onswitch = null }) {
    const cells = [];
    for (let layer = 0; layer < layers; layer++) for (let head = 0; head < heads; head++) {
      const place = [layer, head], number = element("span", { class: "number" });
      const choose = element("button", { type: "button", class: "choose", onclick: () => onchoose(place) }, element("span", { class: "name" }, nameOf(place)), " ", number);
      const toggle = onswitch && element("button", { type: "button", class: "switch", role: "switch", "aria-label": `${nameOf(place)} intact`, onclick: () => onswitch(place) });
      cells.push({ place, number, choose, toggle, box: element("div", { class: "cell" }, choose, toggle) });
    }
    const box = element("div", { class: "sh-live-map", role: "group" }, ...cells.map((cell) => cell.box));
    box.style.setProperty("--heads", heads);
    arrows(box, ".choose", () => heads);
    if (onswitch) box.addEventListener("keydown", (event) => {
      const cell = cells.find((each) => each.choose === event.target);
      if (cell && event.key.toLowerCase() === "x") onswitch(cell.place);
    });
    box.show = ({ values, chosen, off = [], limit, name, plain = false }) => {
      box.setAttribute("aria-label", `${name}, a row a layer`);
      for (const { place, number, choose, toggle, box: cell } of cells) {
        const value = values[place[0]][place[1]], isChosen = same(place, chosen), isOff = off.some((each) => same(each, place));
        number.textContent = plain ? value.toFixed(2) : signed(value);
        cell.style.setProperty("--share", Math.min(1, Math.abs(value) / limit).toFixed(3));
        cell.className = `cell${value < 0 ? " negative" : ""}${isChosen ? " chosen" : ""}${isOff ? " off" : ""}`;
        choose.tabIndex = isChosen ? 0 : -1;
        choose.setAttribute("aria-pressed", isChosen);
        if (toggle) toggle.setAttribute("aria-checked", !isOff);
      }
    };
    return box;
  }

  /* A text as a row of tokens, shaded by shares; a press chooses one. `.show({words, shares, chosen, marked})`. */
  function tokenRow({ label, onchoose }) {
    const box = element("div", { class: "sh-live-tokens", role: "group", "aria-label": label });
    arrows(box, "button");
    box.show = ({ words, shares, chosen, marked = null }) => {
      if (box.children.length !== words.length) {
        box.replaceChildren(...words.map((_, place) => element("button", { type: "button", onclick: () => onchoose(place) }, element("span", { class: "word" }), element("span", { class: "share" }))));
      }
      words.forEach((word, place) => {
        const button = box.children[place], [text, share] = button.children, seen = place <= chosen;
        text.textContent = visible(word) || "␣";
        share.textContent = seen ? percent(shares[place]) : "";
        button.style.setProperty("--share", seen ? shares[place].toFixed(3) : 0);
        button.className = `${place === chosen ? "looks" : ""}${place === marked ? " edited" : ""}`;
        button.tabIndex = place === chosen ? 0 : -1;
        button.setAttribute("aria-pressed", place === chosen);
      });
    };
    return box;
  }

  /* A matrix of logits, [read][promoted], zero without colour: a canvas of a pixel a cell with names beside it.
     `.show({rows, words, row, marked, limit})`: rows that are `marked` get a bar, and `limit` is where the colour is full,
     else one cell in 200 lies beyond it. A press on a cell calls `onchoose(row, column)`. */
  function matrix({ onchoose, label }) {
    const canvas = element("canvas", { role: "img" }), left = element("div", { class: "read" }), below = element("div", { class: "promoted" });
    const frame = element("div", { class: "chosen-row" }), bars = element("div", { class: "marked-rows" });
    const box = element("div", { class: "sh-live-matrix" }, element("span", { class: "axis-read" }, "read"), left, element("div", { class: "cells" }, canvas, bars, frame), below, element("span", { class: "axis-promoted" }, "promoted"));
    let shown = null;
    const at = (event) => {
      const area = canvas.getBoundingClientRect(), n = shown.words.length;
      const place = (part, size) => Math.max(0, Math.min(n - 1, Math.floor((n * part) / size)));
      return [place(event.clientY - area.top, area.height), place(event.clientX - area.left, area.width)];
    };
    canvas.addEventListener("click", (event) => onchoose(...at(event)));
    canvas.addEventListener("pointermove", (event) => {
      const [row, column] = at(event);
      canvas.title = `${shown.words[row]} → ${shown.words[column]}: ${signed(shown.rows[row][column])}`;
    });
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16));
    function paint() {
      const n = shown.words.length, context = canvas.getContext("2d");
      canvas.width = canvas.height = n;
      const sizes = shown.rows.flatMap((values) => Array.from(values, Math.abs)).sort((a, b) => a - b);
      const limit = shown.limit || sizes[Math.floor(0.995 * (sizes.length - 1))] || 1, inks = [colour("--sh-blue"), colour("--sh-orange")];
      const image = context.createImageData(n, n);
      shown.rows.forEach((values, row) => values.forEach((value, column) => {
        const [red, green, blue] = inks[value < 0 ? 1 : 0];
        image.data.set([red, green, blue, 255 * Math.min(1, Math.abs(value) / limit)], 4 * (row * n + column));
      }));
      context.putImageData(image, 0, 0);
    }
    new MutationObserver(() => shown && paint()).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    box.show = ({ rows, words, row = null, marked = [], limit = null, name }) => {
      shown = { rows, words, limit };
      const n = words.length, step = Math.ceil(n / 16);
      const named = words.flatMap((word, place) => (place % step ? [] : [[word, place]]));
      const names = (side) => named.map(([word, place]) => {
        const tick = element("span", {}, word);
        tick.style.setProperty(side, `${(100 * (place + 0.5)) / n}%`);
        return tick;
      });
      bars.replaceChildren(...marked.map((place) => {
        const bar = element("div");
        Object.assign(bar.style, { top: `${(100 * place) / n}%`, height: `${100 / n}%` });
        return bar;
      }));
      left.replaceChildren(...names("top"));
      below.replaceChildren(...names("left"));
      below.style.height = `${1.1 + 0.36 * Math.max(...named.map(([word]) => word.length))}rem`; // they lean
      frame.hidden = row === null;
      if (row !== null) { frame.style.top = `${(100 * row) / n}%`; frame.style.height = `${100 / n}%`; }
      canvas.setAttribute("aria-label", label(name));
      paint();
    };
    return box;
  }

  // --- figures come alive when the reader asks -------------------------------------------------------------------

  const megabytes = (bytes) => (bytes / 1e6).toFixed(0);

  function figure(kind, { invitation = "", build, atOnce = () => false }) {
    const start = () => document.querySelectorAll(`.sh-live[data-live="${kind}"]`).forEach((root) => (Number(root.dataset.bytes) ? invite(root) : enliven(root, null)));
    function enliven(root, model) {
      const made = build(model, JSON.parse(root.dataset.options || "{}"), root);
      made.tabIndex = -1;
      root.replaceChildren(made);
      root.classList.add("alive");
      return made;
    }
    function invite(root) {
      const { bytes } = root.dataset;
      const bar = element("progress", { max: 1, value: 0, "aria-label": "Loading the model", hidden: true });
      const said = element("span", { class: "sh-live-said", "aria-live": "polite" }, `loads the model once, ${megabytes(bytes)} MB, into this page`);
      const button = element("button", { type: "button", class: "sh-live-start", onclick: wake }, invitation);
      const line = element("div", { class: "sh-live-invitation" }, button, bar, said);
      root.append(line);
      async function wake() {
        const focused = document.activeElement === button;
        button.disabled = true;
        bar.hidden = false;
        let model;
        try {
          await bringEngine();
          model = await window.SuccessorHeads.load((share) => {
            bar.value = share;
            said.textContent = `${megabytes(share * bytes)} of ${megabytes(bytes)} MB`;
          });
        } catch (error) {
          button.disabled = false;
          bar.hidden = true;
          said.textContent = `The model could not be loaded: ${error.message}.`;
          return;
        }
        const made = enliven(root, model);
        if (focused) made.focus({ preventScroll: true }); // not a field, which on a phone would bring its keyboard
      }
      if (atOnce()) wake();
    }
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
    else start();
  }

  return { element, svg, nameOf, same, visible, percent, signed, highest, labelled, choice, arrows, bars, headMap, tokenRow, matrix, figure };
})());
