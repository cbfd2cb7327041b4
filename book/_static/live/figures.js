// Living figures of the chapters. Each is a kind, which a study names in its `Living`, and a function that builds it.
(function () {
  "use strict";
  const { element, nameOf, visible, signed, highest, labelled, choice, bars, headMap, matrix, figure } = window.SuccessorHeads;
  const MOST_BARS = 12;

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

  figure("reading", { invitation: "Try every head and word", build: reading });
  figure("conventions", { invitation: "Try every head, list and convention", build: conventions });
})();
