// Living figures of the chapters. Each is a kind, which a study names in its `Living`, and a function that builds it.
(function () {
  "use strict";
  const { element, svg, nameOf, visible, signed, percent, highest, labelled, choice, bars, headMap, matrix, figure } = window.SuccessorHeads;
  const MOST_BARS = 12;
  const WIDE = 340, HIGH = 230; // a chart, in its own units

  const scoredLists = (model) => Object.fromEntries(Object.entries(model.about.lists).filter(([, list]) => !list.held_out && list.follower.some((member) => member >= 0)));
  const listChoices = (lists) => Object.entries(lists).map(([task, { name }]) => [task, name]);
  const centred = (row) => { const mean = row.reduce((a, b) => a + b, 0) / row.length; return row.map((value) => value - mean); };
  const figcaption = (...parts) => element("figcaption", { "aria-live": "polite" }, ...parts);

  /* Chapter 1: choose a head and a word, and see what the head writes over the list; below, its matrix of the list. */
  function reading(model, options) {
    const lists = scoredLists(model);
    const state = { list: options.list, word: options.word, head: options.head };
    const list = choice(listChoices(lists), state.list, (value) => change({ list: value, word: lists[value].words[lists[value].follower.findIndex((member) => member >= 0)] }));
    const word = choice([], "", (value) => change({ word: value }));
    const map = headMap({ layers: model.nLayers, heads: model.nHeads, onchoose: (head) => change({ head }) });
    const shown = bars(""), said = figcaption();
    const square = matrix({ onchoose: (row) => change({ word: lists[state.list].words[row] }), label: (name) => `Matrix of ${name}: a row for each word read, a column for each word promoted.` });
    const made = element("figure", { class: "sh-figure sh-live-figure" },
      element("div", { class: "sh-live-controls" }, labelled("List", list), labelled("Word it reads", word)),
      element("div", { class: "sh-live-columns" }, element("div", {}, map, element("p", { class: "sh-live-note" }, "Macro successor score. Choose a head.")), element("div", {}, shown)),
      square, said);

    function change(part) {
      Object.assign(state, part);
      show();
    }

    function show() {
      const { words, ids, follower, name } = lists[state.list], row = words.indexOf(state.word), successor = follower[row];
      list.value = state.list;
      word.fill(words.map((each) => [each, each]), state.word);
      map.show({ values: options.macro, chosen: state.head, limit: 1, plain: true, name: "Macro successor score of every head" });
      const rows = model.headMatrix(...state.head, ids), logits = rows[row], top = highest(logits);
      const order = words.map((_, member) => member);
      const first = words.length <= MOST_BARS ? order : order.sort((a, b) => logits[b] - logits[a]).slice(0, MOST_BARS);
      if (successor >= 0 && !first.includes(successor)) first.push(successor);
      const low = Math.min(...logits), span = logits[top] - low || 1;
      shown.show(`${nameOf(state.head)} reads “${state.word}”: logits${words.length > MOST_BARS ? `, the highest of ${words.length}` : ""}, bars from the lowest`, first.map((member) => ({
        key: words[member], word: words[member], value: (logits[member] - low) / span, text: signed(logits[member]), wins: member === top, orange: member === successor })));
      square.show({ rows: rows.map(centred), words, row, name: `${nameOf(state.head)} on the ${name}` });
      const right = successor < 0 ? "nothing follows it in the list" : successor === top ? "its successor" : `and not “${words[successor]}”, its successor`;
      said.textContent = `Reading “${state.word}”, ${nameOf(state.head)} promotes “${visible(words[top])}” most, ${right}. The matrix has a row for every word of the ${name} that it may read: blue is promoted, orange held back, each row around its mean. Choose a row.`;
      made.dataset.said = words[top];
    }

    show();
    return made;
  }

  /* Chapter 2: the matrix of any head over any list under any convention, and by it the score of every head on this list. */
  function conventions(model, options) {
    const lists = scoredLists(model), all = Object.values(lists).flatMap(({ ids }) => ids);
    const state = { list: options.list, head: options.head, convention: "canonical", row: null };
    let round = 0;
    const list = choice(listChoices(lists), state.list, (value) => change({ list: value, row: null }));
    const convention = choice(Object.keys(model.about.conventions).map((name) => [name, name]), state.convention, (value) => change({ convention: value }));
    const map = headMap({ layers: model.nLayers, heads: model.nHeads, onchoose: (head) => change({ head }) }), mapNote = element("p", { class: "sh-live-note" });
    const said = figcaption();
    const square = matrix({ onchoose: (row) => change({ row }), label: (name) => `Matrix of ${name}: a row for each word read, a column for each word promoted.` });
    const made = element("figure", { class: "sh-figure sh-live-figure" },
      element("div", { class: "sh-live-controls" }, labelled("List", list), labelled("Convention", convention)),
      element("div", { class: "sh-live-columns" }, element("div", {}, map, mapNote), square), said);

    function change(part) {
      Object.assign(state, part);
      show();
    }

    /* On how many pairs of the list the successor alone is highest, among the list, or among all ordinals where they compete. */
    function right([layer, head]) {
      const { joint, ...convention } = model.about.conventions[state.convention], { ids, follower } = lists[state.list];
      const rows = model.headMatrix(layer, head, ids, { ...convention, candidates: joint ? all : ids });
      const first = joint ? all.indexOf(ids[0]) : 0;
      const won = follower.filter((member, row) => member >= 0 && rows[row].every((value, candidate) => candidate === first + member || value < rows[row][first + member]));
      return { won: won.length, pairs: follower.filter((member) => member >= 0).length, rows: rows.map((row) => row.subarray(first, first + ids.length)), joint };
    }

    async function show() {
      const mine = (round += 1), { words, name } = lists[state.list], { won, pairs, rows, joint } = right(state.head);
      list.value = state.list;
      convention.value = state.convention;
      square.show({ rows: rows.map(centred), words, row: state.row, name: `${nameOf(state.head)} on the ${name}, ${state.convention}` });
      const read = state.row === null ? "" : ` Reading “${words[state.row]}” it promotes “${words[highest(rows[state.row])]}” most of the list.`;
      said.textContent = `By the ${state.convention} convention ${nameOf(state.head)} names the successor of ${won} of ${pairs} ${name}${joint ? ", against all ordinals" : ""}.${read} Blue is promoted, orange held back, each row around its mean.`;
      map.setAttribute("aria-busy", "true");
      const scores = [];
      for (let layer = 0; layer < model.nLayers; layer++) {
        await new Promise((resume) => setTimeout(resume)); // the picture first
        if (mine !== round) return;
        scores.push(Array.from({ length: model.nHeads }, (_, head) => right([layer, head]).won / pairs));
      }
      map.show({ values: scores, chosen: state.head, limit: 1, plain: true, name: "Score of every head" });
      mapNote.textContent = `Score of every head on the ${name} by this convention. Choose a head.`;
      map.removeAttribute("aria-busy");
    }

    show();
    return made;
  }

  /* Chapter 3: what MLP0 writes on numbers, in the plane of a period that the reader chooses, and along its axis the number itself: a helix to turn. */
  const PERIODS = [3, 25], REACH = 1.5, SIZE = 420, HEIGHT = 2.4; // the helix in radii
  const turned = (period, index) => (2 * Math.PI * index) / period;

  /* As `features.in_circle` has it: points [token][2] in the plane whose directions the tokens marked `learned` teach. */
  function inCircle(rows, index, period, learned) {
    const width = rows[0].length, taught = rows.flatMap((_, row) => (learned[row] ? [row] : []));
    const mean = new Float64Array(width);
    for (const row of taught) for (let i = 0; i < width; i++) mean[i] += rows[row][i] / taught.length;
    const directions = [Math.cos, Math.sin].map((wave) => {
      const waves = taught.map((row) => wave(turned(period, index[row]))), middle = waves.reduce((a, b) => a + b, 0) / waves.length;
      const direction = new Float64Array(width);
      taught.forEach((row, at) => { for (let i = 0; i < width; i++) direction[i] += (waves[at] - middle) * (rows[row][i] - mean[i]); });
      const length = Math.hypot(...direction);
      return direction.map((value) => value / length);
    });
    return { directions, mean, points: (some, around) => some.map((row) => directions.map((direction) => row.reduce((sum, value, i) => sum + (value - around[i]) * direction[i], 0))) };
  }

  const atItsAngle = ([x, y], index, period) => Math.cos(Math.atan2(y, x) - turned(period, index)) > Math.cos(Math.PI / period);
  const meanOf = (rows) => rows[0].map((_, i) => rows.reduce((sum, row) => sum + row[i], 0) / rows.length);

  function circles(model, options) {
    const lists = scoredLists(model), { ids, index } = lists.numbers;
    const vectors = (of) => { const x = model.headInput(of, "mlp0"); return of.map((_, row) => Array.from(x.subarray(row * model.dModel, (row + 1) * model.dModel))); };
    const numbers = vectors(ids), learned = index.map((each) => options.tens.includes(Math.floor(each / 10)));
    const state = { period: 10, list: "numbers", order: "own", spin: 25, tilt: 60 };
    let laid = [];

    const slide = (name, low, high, act) => {
      const input = element("input", { type: "range", min: low, max: high, step: 1, oninput: () => act({ [name]: Number(input.value) }) }), said = element("output");
      input.put = (unit = "") => { input.value = state[name]; said.textContent = state[name] + unit; };
      return { input, said };
    };
    const field = (text, { input, said }) => { const made = labelled(text, input); made.append(said); return made; };
    const period = slide("period", ...PERIODS, change), spin = slide("spin", -180, 180, turn), tilt = slide("tilt", 0, 90, turn);
    const list = choice(Object.entries(lists).map(([task, { name }]) => [task, task === "numbers" ? "numbers held out" : name]), state.list, (value) => change({ list: value }));
    const order = choice([["own", "as it is"], ["shuffled", "permuted, the control"]], state.order, (value) => change({ order: value }));
    const drawing = svg("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, class: "sh-live-helix", role: "img" }), said = figcaption();
    const strip = svg("svg", { viewBox: `0 0 ${PERIODS[1] - PERIODS[0] + 1} 10`, class: "sh-live-strip", preserveAspectRatio: "none", "aria-hidden": "true" });
    const made = element("figure", { class: "sh-figure sh-live-figure" },
      element("div", { class: "sh-live-controls" }, field("Period", period), labelled("Shown", list), labelled("Index", order)),
      element("div", { class: "sh-live-columns" }, element("div", { class: "sh-live-turn" }, drawing),
        element("div", {}, field("Turn", spin), field("Tilt: from the side, or along the axis", tilt),
          element("p", { class: "sh-live-note" }, `At their own angle, by period from ${PERIODS[0]} to ${PERIODS[1]}:`), strip, element("p", { class: "sh-live-note" }, "You can also drag the picture."))), said);

    /* What is shown by a period: points with their place in the list, whether they lie at their angle, the ring's radius. */
    function lay(at) {
      const places = state.order === "own" ? index : options.shuffled, plane = inCircle(numbers, places, at, learned);
      const unseen = numbers.flatMap((_, row) => (learned[row] ? [] : [row]));
      const own = plane.points(unseen.map((row) => numbers[row]), plane.mean);
      const radius = own.reduce((sum, point) => sum + Math.hypot(...point), 0) / own.length;
      let shown = unseen.map((row, n) => ({ word: lists.numbers.words[row], index: places[row], point: own[n] }));
      if (state.list !== "numbers") {
        // Another list is shown around its own mean: what tells it from the numbers is not what is asked.
        const of = lists[state.list], rows = vectors(of.ids);
        shown = plane.points(rows, meanOf(rows)).map((point, n) => ({ word: of.words[n], index: of.index[n], point }));
      }
      return { radius, shown: shown.map((each) => ({ ...each, right: atItsAngle(each.point, each.index, at) })) };
    }

    function change(part) {
      Object.assign(state, part);
      const all = [];
      for (let at = PERIODS[0]; at <= PERIODS[1]; at++) all.push(lay(at));
      laid = all[state.period - PERIODS[0]];
      strip.replaceChildren(...all.map(({ shown }, n) => {
        const share = 10 * shown.filter(({ right }) => right).length / shown.length;
        return svg("rect", { x: n + 0.12, width: 0.76, y: 10 - Math.max(share, 0.15), height: Math.max(share, 0.15), class: n === state.period - PERIODS[0] ? "chosen" : "" });
      }));
      period.input.put();
      const won = laid.shown.filter(({ right }) => right).length, what = list.selectedOptions[0].textContent;
      said.textContent = `By period ${state.period}, ${won} of ${laid.shown.length} ${what} lie at their own angle; by chance one in ${state.period} would. ` +
        `Directions are learned from half of the tens of numbers${state.order === "own" ? "" : ", their index permuted"}. Each is written as its index mod ${state.period}, blue where it lies at its angle; the axis is the index.`;
      drawing.setAttribute("aria-label", `${what} as a helix of period ${state.period}: ${won} of ${laid.shown.length} at their own angle.`);
      made.dataset.said = won;
      turn({});
    }

    function turn(part) {
      Object.assign(state, part);
      spin.input.put("°");
      tilt.input.put("°");
      const a = (state.spin * Math.PI) / 180, b = (state.tilt * Math.PI) / 180, { radius, shown } = laid;
      const low = Math.min(...shown.map((each) => each.index)), span = Math.max(...shown.map((each) => each.index)) - low || 1;
      // Around the axis by `spin`, then the axis towards the eye by `tilt`.
      const seen = ([x, y], share) => {
        const across = x * Math.cos(a) - y * Math.sin(a), deep = x * Math.sin(a) + y * Math.cos(a), along = HEIGHT * (share - 0.5);
        const scale = SIZE / (2 * REACH);
        return [SIZE / 2 + scale * across, SIZE / 2 - scale * (deep * Math.sin(b) + along * Math.cos(b))];
      };
      const steps = Math.ceil((24 * span) / state.period);
      const ideal = Array.from({ length: steps + 1 }, (_, n) => { const angle = turned(state.period, low + (span * n) / steps); return seen([Math.cos(angle), Math.sin(angle)], n / steps); });
      drawing.replaceChildren(
        svg("polyline", { class: "ideal", points: ideal.map((point) => point.map((value) => value.toFixed(1)).join()).join(" ") }),
        ...shown.map(({ word, index: at, point, right }) => {
          const [x, y] = seen(point.map((value) => value / radius), (at - low) / span);
          return svg("text", { x: x.toFixed(1), y: y.toFixed(1), class: right ? "right" : "wrong" }, svg("title", {}, word), String(at % state.period));
        }));
    }

    drawing.addEventListener("pointerdown", (event) => {
      const from = { x: event.clientX, y: event.clientY, spin: state.spin, tilt: state.tilt };
      drawing.setPointerCapture(event.pointerId);
      const move = ({ clientX, clientY }) => turn({ spin: ((Math.round(from.spin + (clientX - from.x) * 0.6) + 540) % 360) - 180, tilt: Math.max(0, Math.min(90, Math.round(from.tilt + (clientY - from.y) * 0.4))) });
      drawing.addEventListener("pointermove", move);
      for (const end of ["pointerup", "pointercancel"]) drawing.addEventListener(end, () => drawing.removeEventListener("pointermove", move), { once: true });
    });
    change({});
    return made;
  }

  /* Chapter 4: the edit that is chosen at the workbench, made in the running model; the workbench says when it is another. */
  function edit(model, options, root) {
    const { wording, marks, lists, unit } = options, bench = root.closest(".sh-workbench");
    const packed = new Int16Array(Uint8Array.from(atob(options.rows), (letter) => letter.charCodeAt(0)).buffer);
    const row = (place) => packed.subarray(place * model.dModel, (place + 1) * model.dModel);
    const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
    const sentence = element("p", { class: "sh-bench-sentence" }), answer = element("p", { class: "sh-bench-answer", "aria-live": "polite" });
    const shown = bars(""), where = element("p", { class: "sh-live-note" });
    const made = element("div", { class: "sh-live-edit", role: "group", "aria-label": "The same edit in the running model" }, answer, sentence, shown, where);
    let intact = null;

    function show() {
      const { list, words, source, residue, own, wanted, original, directions, push } = bench.edit, of = lists[list];
      const members = model.about.lists[of.task].ids, ids = model.encode(of.sentences[source]), rows = of.rows[directions];
      const to = row(rows[residue]), from = row(rows[own]), length = push * of.longest[directions] * unit;
      intact = model.run(ids, { before: intact });
      const position = ids.lastIndexOf(members[source]), vector = Array.from(to, (value, i) => length * (value - from[i]));
      const edited = model.run(ids, { push: { position, vector }, before: intact });
      const within = (run) => window.SuccessorHeads.softmax(members.map((id) => run.logits[id])), shares = within(edited), before = within(intact);
      const now = highest(shares), top = highest(edited.logits);
      const said = { now: words[now], wanted: words[wanted], before: words[highest(before)], source: words[source], top: visible(model.text(top)) };
      const verdict = now === wanted ? "right" : now === original ? "old" : "wrong";
      answer.textContent = [wording[verdict], wording.unedited, ...(top === members[now] ? [] : [wording.outside])].map((text) => filled(text, said)).join(" ");
      answer.dataset.verdict = verdict;
      const text = of.sentences[source].trim(), at = text.lastIndexOf(words[source]);
      sentence.replaceChildren(text.slice(0, at), element("mark", {}, words[source]), text.slice(at + words[source].length), " ", element("b", {}, words[now]));
      where.textContent = filled(wording.where, said);
      const order = words.map((_, member) => member);
      const first = words.length <= options.most_bars ? order : order.sort((a, b) => shares[b] - shares[a]).slice(0, options.most_bars);
      first.push(...[wanted, original].filter((member) => member >= 0 && !first.includes(member)));
      shown.show(wording.bars, first.map((member) => {
        const kind = member === wanted ? "wanted" : member === original ? "original" : "";
        return { key: words[member], word: words[member], value: shares[member], text: percent(shares[member]), before: before[member], wins: member === now, orange: false, kind, mark: marks[kind] || "" };
      }));
    }

    bench.addEventListener("edit", show);
    show();
    return made;
  }

  /* Chapter 6: a scrubber over the training that the chapter ran; a head's matrix of a list and its score move together. */
  function growing(_, options) {
    const { lists, points, head } = options, last = points.length - 1;
    const state = { list: Object.keys(lists)[0], at: last, row: null };
    const scrubber = element("input", { type: "range", min: 0, max: last, step: 1, oninput: () => change({ at: Number(scrubber.value) }) }), read = element("output");
    const scrub = labelled("Training: thousand tokens read", scrubber);
    scrub.append(read);
    const list = choice(listChoices(lists), state.list, (value) => change({ list: value, row: null }));
    let playing = null;
    const play = element("button", { type: "button", onclick: () => (playing ? stop() : start()) }, "Play");
    const chart = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "sh-live-chart", role: "img" }), note = element("p", { class: "sh-live-note" });
    const square = matrix({ onchoose: (row) => change({ row }), label: (name) => `Matrix of ${name}: a row for each word read, a column for each word promoted.` }), said = figcaption();
    const made = element("figure", { class: "sh-figure sh-live-figure" },
      element("div", { class: "sh-live-controls" }, scrub, labelled("List", list)),
      element("div", { class: "sh-live-columns" }, square, element("div", {}, note, chart, element("div", { class: "sh-live-actions" }, play))), said);

    function stop() {
      clearInterval(playing);
      playing = null;
      play.textContent = "Play";
    }
    function start() {
      if (state.at === last) change({ at: 0 });
      play.textContent = "Stop";
      playing = setInterval(() => (state.at === last ? stop() : change({ at: state.at + 1 })), 700);
    }

    const most = points[last].tokens, x = (tokens) => 34 + ((WIDE - 44) * tokens) / most, y = (share) => HIGH - 26 - (HIGH - 40) * share;
    const share = ([right, of]) => right / of;

    function change(part) {
      if (!("at" in part)) stop();
      Object.assign(state, part);
      const { words, never, name } = lists[state.list], point = points[state.at], rows = point.maps[state.list], { seen, held } = point.right[state.list];
      scrubber.value = state.at;
      list.value = state.list;
      read.textContent = point.tokens.toFixed(0);
      scrubber.setAttribute("aria-valuetext", `${point.tokens.toFixed(0)} thousand tokens`);
      square.show({ rows, words, row: state.row, marked: never, limit: limits[state.list], name: `${head} on the ${name} after ${point.tokens.toFixed(0)} thousand tokens` });
      const told = held[1] ? `, and ${held[0]} of ${held[1]} that stand in no text in order` : "";
      const chosen = state.row === null ? "" : ` Reading “${words[state.row]}” it promotes “${words[highest(rows[state.row])]}” most.`;
      said.textContent = `After ${point.tokens.toFixed(0)} thousand tokens ${head} names ${seen[0]} of ${seen[1]} successors that it has read in order${told}.${chosen} ` +
        `Blue is promoted, orange held back, each row around its mean${never.length ? "; rows with a bar are those never in order" : ""}. ${head} is the head that ends best on pairs seen.`;
      made.dataset.said = `${seen[0]} ${held[0]}`;
      draw(held[1] > 0);
    }

    /* One scale for all of the training, or growth would not be seen. */
    const limits = Object.fromEntries(Object.keys(lists).map((task) => [task, Math.max(...points.at(-1).maps[task].flat().map(Math.abs)) * 0.8]));

    function draw(withHeld) {
      const { name } = lists[state.list];
      const line = (kind) => points.map((point) => `${x(point.tokens).toFixed(1)},${y(share(point.right[state.list][kind])).toFixed(1)}`).join(" ");
      const kinds = withHeld ? ["seen", "held"] : ["seen"], at = points[state.at];
      note.replaceChildren(`Successors of ${name} right, by thousand tokens read: `, element("span", { class: "seen" }, "seen in order"), ...(withHeld ? [", ", element("span", { class: "held" }, "never in order")] : []));
      chart.replaceChildren(
        ...[0, 0.5, 1].flatMap((value) => [svg("line", { class: "grid", x1: 34, x2: WIDE - 10, y1: y(value), y2: y(value) }), svg("text", { x: 28, y: y(value), class: "end" }, value)]),
        ...[0, most / 2, most].map((tokens) => svg("text", { x: x(tokens), y: HIGH - 6, class: tokens === most ? "end" : "middle" }, tokens.toFixed(0))),
        svg("line", { class: "now", x1: x(at.tokens), x2: x(at.tokens), y1: y(0), y2: y(1) }),
        ...kinds.map((kind) => svg("polyline", { class: kind, points: line(kind) })),
        ...kinds.map((kind) => svg("circle", { class: kind, r: 5, cx: x(at.tokens), cy: y(share(at.right[state.list][kind])) })));
      chart.setAttribute("aria-label", `Share of successors right along the training; now ${kinds.map((kind) => `${kind === "seen" ? "seen" : "never in order"} ${share(at.right[state.list][kind]).toFixed(2)}`).join(", ")}.`);
    }

    chart.addEventListener("click", (event) => {
      const area = chart.getBoundingClientRect(), tokens = ((((event.clientX - area.left) / area.width) * WIDE - 34) / (WIDE - 44)) * most;
      const off = points.map((point) => Math.abs(point.tokens - tokens));
      change({ at: off.indexOf(Math.min(...off)) });
    });
    change({});
    return made;
  }

  /* Chapter 8: the circuit of a published model, positions by layers, from what was stored of it. A part or an arrow is chosen by hovering, a tap, or in the list of them. */
  const ROWS = 430, TOP = 46, LEFT = 36, ORDINAL = 62, HEAD = 140, MLP = 232, STREAM = 306, HALF = 30, GAP = 21; // of the picture, in its own units
  const about = (share) => `${share < 0 ? "−" : ""}${Math.round(100 * Math.abs(share))}%`;
  const interval = (share, low, high) => `${about(share)} (${about(low)} to ${about(high)})`;

  function circuit(_, options) {
    let model = null, named = new Map();
    const models = choice(options.models.map(({ name }, place) => [place, name]), 0, draw);
    const chosen = choice([], "", choose);
    const drawing = svg("svg", { viewBox: `0 0 340 ${ROWS + TOP + 40}`, class: "sh-live-circuit", role: "img" });
    const shown = bars(""), note = element("p", { class: "sh-live-note" }), said = figcaption();
    shown.classList.add("wordy");
    const made = element("figure", { class: "sh-figure sh-live-figure" },
      element("div", { class: "sh-live-controls" }, labelled("Model", models), labelled("Part or arrow", chosen)),
      element("div", { class: "sh-live-columns" }, drawing, element("div", {}, shown, note)), said);

    /* Everything that can be chosen, by its key: where it stands, and its numbers as rows of a table. */
    function things(model) {
      const { layers, top, parts, ways } = model, row = ROWS / layers, found = new Map();
      const y = (layer, isMlp) => TOP + ROWS - row * (layer + (isMlp ? 0.72 : 0.28));
      const heights = { head: apart(parts.filter((part) => part.head !== null), (part) => y(part.layer, false)), mlp: apart(parts.filter((part) => part.head === null), (part) => y(part.layer, true)) };
      for (const part of parts) {
        const isMlp = part.head === null, kind = isMlp ? "mlp" : "head";
        found.set(part.name, { kind, part, at: [isMlp ? MLP : HEAD, heights[kind].get(part)], name: part.name, rows: [
          ["of the lead, lost without it", part.total, interval(part.total, part.low, part.high)],
          ["of the lead, straight to the answer", part.direct, about(part.direct)],
          ...(isMlp ? [] : [["its attention to the last ordinal", part.attention, about(part.attention)]]),
          ["lists on which it promotes the last ordinal", part.last, about(part.last)],
          ["lists on which it promotes the successor", part.successor, about(part.successor)]] });
      }
      const answer = [STREAM, TOP - 6], from = found.get(top).at;
      for (const { part, at, kind } of [...found.values()]) if (kind === "head") {
        found.set(`ordinal ${part.name}`, { kind: "looks", share: part.attention, line: [[ORDINAL, at[1]], at], name: `last ordinal → ${part.name}`, rows: [[`attention of ${part.name} to the last ordinal`, part.attention, about(part.attention)]] });
      }
      for (const { way, share, low, high } of ways) {
        const to = way === "direct" ? answer : found.get(way) && found.get(way).at, name = way === "direct" ? `${top} → answer` : `${top} → ${way}`;
        if (to) found.set(name, { kind: "way", share, line: [from, to], name, rows: [[way === "direct" ? `of the effect of ${top}, straight to the answer` : `of the effect of ${top}, by way of ${way} alone`, share, interval(share, low, high)]] });
      }
      return { found, answer, row, y };
    }

    /* Heights of boxes, near their layers and clear of one another: who lies too close pushes and is pushed. */
    function apart(parts, height) {
      const sorted = parts.map((part) => [part, height(part)]).sort((a, b) => a[1] - b[1]);
      for (let round = 0; round < 200; round++) for (let i = 1; i < sorted.length; i++) {
        const lacking = GAP - (sorted[i][1] - sorted[i - 1][1]);
        if (lacking > 0) { sorted[i - 1][1] -= lacking / 2; sorted[i][1] += lacking / 2; }
      }
      return new Map(sorted);
    }

    function curve([[x1, y1], [x2, y2]], kind) {
      if (kind === "looks") return `M${x1} ${y1} H${x2 - HALF}`;
      const start = x1 + HALF, end = x2 - (y2 < TOP ? 0 : HALF), middle = (start + end) / 2;
      return `M${start} ${y1} C${middle} ${y1} ${middle} ${y2} ${end} ${y2}`;
    }

    /* The whole picture, once a model; a choice only marks what is chosen, for whatever is drawn anew under a mouse at rest is entered anew. */
    function draw(place) {
      model = options.models[place];
      const { found, answer, row, y } = things(model), cell = Math.max(1, row - 0.6), every = Math.ceil(model.layers / 10);
      const pick = (key) => ({ class: "thing", "data-key": key, onclick: () => choose(key), onpointerenter: (event) => event.pointerType === "mouse" && choose(key) });
      const label = (x, height, text, kind = "middle") => svg("text", { x, y: height, class: kind }, text);
      named = found;
      chosen.fill([...found].map(([key, { name }]) => [key, name]), model.top);
      drawing.replaceChildren(
        ...Array.from({ length: Math.ceil(model.layers / every) }, (_, n) => label(LEFT - 8, y(n * every, false) - row * 0.22, n * every, "end")),
        label(ORDINAL, TOP + ROWS + 16, "last ordinal"), label((HEAD + MLP) / 2, TOP + ROWS + 16, "last position"), label(STREAM, TOP + ROWS + 16, "stream"),
        label(LEFT - 8, TOP - 12, "layer", "end"), label(answer[0], TOP - 20, "answer", "middle answer"),
        svg("line", { class: "position", x1: ORDINAL, x2: ORDINAL, y1: TOP + ROWS, y2: TOP }),
        ...model.stream.flatMap(([last, successor], block) => {
          const at = TOP + ROWS - row * (block + 0.5) + (row - cell) / 2;
          return [["last", last, -9], ["successor", successor, 9]].map(([kind, share, side]) => svg("rect", { class: `stream ${kind}`, x: STREAM + side - 8, width: 16, y: Math.max(TOP, at - cell / 2), height: cell, "fill-opacity": share }, svg("title", {}, `after ${block} blocks the ${kind === "last" ? "last ordinal" : "successor"} is highest on ${about(share)} of the lists`)));
        }),
        ...[...found].filter(([, { line }]) => line).map(([key, { kind, share, line }]) => svg("g", pick(key), svg("path", { class: "hit", d: curve(line, kind) }), svg("path", { class: kind, d: curve(line, kind), "stroke-width": 1 + 7 * Math.max(0, share) }))),
        ...[...found].filter(([, { at }]) => at).map(([key, { kind, at: [x, height], part: { total, name } }]) => {
          const box = { x: x - HALF, y: height - 9, width: 2 * HALF, height: 18, rx: kind === "head" ? 9 : 2 };
          return svg("g", pick(key), svg("rect", { class: "ground", ...box }), svg("rect", { class: kind, ...box, "fill-opacity": 0.12 + 0.5 * Math.max(0, total) }), label(x, height, name));
        }));
      drawing.setAttribute("aria-label", model.alt);
      said.textContent = `${model.name}: boxes are parts, darker where more of the lead is lost without them; arrows are as wide as their shares. The two bars on the right show on how many lists the last ordinal (blue), or its successor (orange), is highest in the stream after each block. ${model.said}`;
      choose(model.top);
    }

    function choose(key) {
      const thing = named.get(key);
      chosen.value = key;
      for (const group of drawing.querySelectorAll(".thing")) group.classList.toggle("chosen", group.dataset.key === key);
      shown.show(thing.name, thing.rows.map(([word, share, text]) => ({ key: word, word, value: Math.min(1, Math.max(0, share)), text, wins: false })));
      note.textContent = thing.kind === "way" ? "The head writes what it wrote on another list; every part behind it but this one writes what it wrote on the intact run." : thing.kind === "looks" ? "Mean over the lists, from the last position." : "The part writes what it wrote on another list of its class and frame; shares are of the right answer's lead.";
      made.dataset.said = `${thing.name} ${thing.rows[0][2]}`;
    }

    draw(0);
    return made;
  }

  figure("reading", { invitation: "Try every head and word", build: reading });
  figure("circles", { invitation: "Turn the helix, and choose its period", build: circles });
  figure("edit", { invitation: "Make this edit in the running model", build: edit });
  figure("growing", { build: growing });
  figure("circuit", { build: circuit });
  figure("conventions", { invitation: "Try every head, list and convention", build: conventions });
})();
