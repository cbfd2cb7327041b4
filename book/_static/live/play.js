// The page Play: type a text and see what the model says next, which heads move the answer, where they look, and what
// becomes of it when heads are ablated or what they read of a word is edited. The whole state is in the address.
(function () {
  "use strict";
  const { element, nameOf, same, visible, percent, signed, highest, labelled, choice, bars, headMap, tokenRow, figure } = window.SuccessorHeads;
  const softmax = (values) => window.SuccessorHeads.softmax(values); // of the engine, which comes when it is asked for
  const EXAMPLES = [
    ["Days", "Monday, Tuesday, Wednesday,"], ["Short days", "Mon, Tue, Wed,"], ["Months", "January, February, March,"], ["Numbers", "97, 98, 99,"],
    ["Letters", "A, B, C,"], ["Two lists in one", "A, 1, B, 2, C,"], ["Shuffled", "Wednesday, Monday, Friday, Tuesday,"], ["Backwards", "5, 4, 3,"],
    ["Roman numerals", "I, II, III, IV,"], ["A sentence", "The first of May is followed by the"],
  ];
  const START = { text: EXAMPLES[0][1], list: "", map: "total", head: null, from: null, off: [], edit: null };
  const MOST_BARS = 12, LARGEST_SCALE = 6, USUAL_SCALE = 3, PAUSE = 120; // ms between the last key and the answer

  // --- the state and the address: #text=…&list=days&map=direct&head=L1H2&from=3&off=L1H2,L2H1&edit=2:7:3 ----------

  const placeOf = (text) => { const found = /^L(\d+)H(\d+)$/.exec(text); return found && [Number(found[1]), Number(found[2])]; };

  function read(hash, model) {
    const given = new URLSearchParams(hash.slice(1)), whole = (text) => (/^\d+$/.test(text || "") ? Number(text) : null);
    const isHead = (place) => place && place[0] < model.nLayers && place[1] < model.nHeads;
    const head = placeOf(given.get("head") || ""), edit = (given.get("edit") || "").split(":").map(Number);
    return {
      text: given.has("text") ? given.get("text") : START.text,
      list: Object.hasOwn(model.about.lists, given.get("list")) ? given.get("list") : "",
      map: given.get("map") === "direct" ? "direct" : "total",
      head: isHead(head) ? head : null,
      from: whole(given.get("from")),
      off: (given.get("off") || "").split(",").map(placeOf).filter(isHead),
      edit: edit.length === 3 && edit.every(Number.isFinite) ? { position: edit[0], residue: edit[1], scale: Math.max(0, Math.min(LARGEST_SCALE, edit[2])) } : null,
    };
  }

  function write(state) {
    const parts = new URLSearchParams({ text: state.text });
    if (state.list) parts.set("list", state.list);
    if (state.map !== START.map) parts.set("map", state.map);
    if (state.head) parts.set("head", nameOf(state.head));
    if (state.from !== null) parts.set("from", state.from);
    if (state.off.length) parts.set("off", state.off.map(nameOf).join(","));
    if (state.edit) parts.set("edit", [state.edit.position, state.edit.residue, state.edit.scale].join(":"));
    return "#" + parts;
  }

  // --- what is asked of a text -----------------------------------------------------------------------------------

  /* The list with most members in the text; of several the one whose member came last. */
  function listIn(ids, lists) {
    let best = "", most = 0;
    for (const [task, { ids: members }] of Object.entries(lists)) {
      const found = ids.map((id) => members.indexOf(id)).filter((member) => member >= 0);
      const weight = new Set(found).size + ids.findLastIndex((id) => members.includes(id)) / (2 * ids.length);
      if (found.length && weight > most) [best, most] = [task, weight];
    }
    return best;
  }

  /* Places in a text whose word has a residue: {position, list, member}. */
  function editable(ids, lists) {
    return ids.flatMap((id, position) => {
      for (const list of Object.values(lists)) {
        const member = list.ids.indexOf(id);
        if (member >= 0) return [{ position, list, member }];
      }
      return [];
    });
  }

  /* "7, as in July": what a member with this residue is called, in the member's own ten. */
  function residueName(list, member, residue) {
    const index = list.index[member], like = list.index.indexOf(index - (index % 10) + residue);
    return like >= 0 ? `${residue}, as in ${list.words[like]}` : String(residue);
  }

  function build(model) {
    const { lists, directions } = model.about;
    let state = read(location.hash, model), intact = null, now = null, round = 0;

    const text = element("textarea", { rows: 2, spellcheck: "false", autocomplete: "off", autocapitalize: "off", oninput: typed });
    const examples = element("div", { class: "sh-live-examples", role: "group", "aria-label": "Examples" },
      ...EXAMPLES.map(([name, example]) => element("button", { type: "button", onclick: () => change({ text: example, from: null, edit: null, list: "" }) }, name)));
    const answer = element("p", { class: "sh-live-answer", "aria-live": "polite" });
    const list = choice([["", "the list in the text"], ...Object.entries(lists).map(([task, { name }]) => [task, name])], state.list, (value) => change({ list: value }));
    const among = bars("Among the list"), over = bars("Over all words");
    const append = element("button", { type: "button", onclick: () => change({ text: text.value + model.text(highest(now.logits)) + "," }) }, "Add the answer to the text");
    const map = headMap({ layers: model.nLayers, heads: model.nHeads, onchoose: (head) => change({ head }), onswitch: toggle });
    const measure = choice([["total", "total effect: the head ablated in the run"], ["direct", "direct effect: taken out at the end"]], state.map, (value) => change({ map: value }));
    const mapNote = element("p", { class: "sh-live-note" }), headNote = element("p", { class: "sh-live-note", "aria-live": "polite" });
    const headTitle = element("h3"), tokens = tokenRow({ label: "Where the head looks from a chosen word", onchoose: (from) => change({ from }) });
    const where = choice([], "", (value) => change({ edit: value === "" ? null : { position: Number(value), residue: NaN, scale: USUAL_SCALE } }));
    const residue = choice([], "", (value) => change({ edit: { ...state.edit, residue: Number(value) } }));
    const scale = element("input", { type: "range", min: 0, max: LARGEST_SCALE, step: 0.1, oninput: () => change({ edit: { ...state.edit, scale: Number(scale.value) } }) });
    const scaleSaid = element("output", {}), editNote = element("p", { class: "sh-live-note" });
    const copied = element("span", { "aria-live": "polite" });
    const link = element("button", { type: "button", onclick: copy }, "Copy a link to this");
    const reset = element("button", { type: "button", onclick: () => change({ ...START }) }, "Start again");

    const section = (title, ...children) => element("section", { "aria-label": title }, element("h2", {}, title), ...children);
    const made = element("div", { class: "sh-play" },
      labelled("Text", text), examples, answer,
      section("What comes next", element("div", { class: "sh-live-columns" }, element("div", {}, among, labelled("Compare within", list)), element("div", {}, over, append))),
      section("Which heads move the answer", element("div", { class: "sh-live-columns" }, element("div", {}, map, labelled("The map shows", measure), mapNote), element("div", {}, headTitle, headNote, tokens))),
      section("Edit what is read of a word", element("div", { class: "sh-live-controls" }, labelled("Word", where), labelled("Residue it gets", residue),
        labelled("Scale k", scale)), editNote),
      element("p", { class: "sh-live-actions" }, link, reset, copied));
    scale.after(scaleSaid);

    let wait = 0;
    function typed() {
      clearTimeout(wait);
      wait = setTimeout(() => change({ text: text.value, from: null, edit: null }), PAUSE);
    }

    function change(part) {
      clearTimeout(wait);
      state = { ...state, ...part };
      show();
      history.replaceState(null, "", write(state));
    }

    function toggle(head) {
      change({ head, off: state.off.some((each) => same(each, head)) ? state.off.filter((each) => !same(each, head)) : [...state.off, head] });
    }

    async function copy() {
      try {
        await navigator.clipboard.writeText(location.href);
        copied.textContent = "Copied.";
      } catch {
        copied.textContent = "The address of this page is the link.";
      }
    }

    /* What an edit adds: k times the direction of the new residue less that of the word's own. */
    function pushOf(edit, places) {
      const place = edit && places.find((each) => each.position === edit.position);
      if (!place) return null;
      const own = directions[place.list.index[place.member] % 10], wanted = directions[edit.residue];
      return { position: edit.position, vector: wanted.map((value, i) => edit.scale * (value - own[i])) };
    }

    function show() {
      if (document.activeElement !== text || text.value !== state.text) text.value = state.text;
      const ids = model.encode(state.text), tooLong = ids.length > model.longest;
      made.classList.toggle("empty", !ids.length || tooLong);
      if (!ids.length || tooLong) {
        answer.textContent = tooLong ? `The model reads ${model.longest} tokens at most, and these are ${ids.length}: take a shorter text.` : "Type a text, or choose an example.";
        return;
      }
      const places = editable(ids, lists), task = state.list || listIn(ids, lists), members = task ? lists[task].ids : [];
      if (state.edit && !places.some((each) => each.position === state.edit.position)) state.edit = null;
      if (state.edit && !(state.edit.residue >= 0 && state.edit.residue < 10)) state.edit.residue = residueAfter(places.find((each) => each.position === state.edit.position));
      if (state.from !== null && state.from >= ids.length) state.from = null;
      const push = pushOf(state.edit, places), isAltered = state.off.length > 0 || push !== null;
      intact = model.run(ids, { before: intact });
      now = isAltered ? model.run(ids, { off: state.off, push, before: now || intact }) : intact;

      const best = (run) => (task ? members[highest(members.map((id) => run.logits[id]))] : highest(run.logits)), asked = best(intact);
      showAnswer(task, members, isAltered, best);
      showEdit(places);
      showHeads(task, asked, ids);
    }

    function residueAfter({ list: of, member }) {
      const own = of.index[member];
      const other = of.index.find((index) => index % 10 === (own + 3) % 10);
      return other === undefined ? (own + 1) % 10 : other % 10;
    }

    function strongest(effects) {
      let best = [0, 0];
      effects.forEach((row, layer) => row.forEach((value, head) => { if (value > effects[best[0]][best[1]]) best = [layer, head]; }));
      return best;
    }

    function showAnswer(task, members, isAltered, best) {
      const all = { now: softmax(now.logits), intact: softmax(intact.logits) }, top = highest(now.logits);
      const said = [`The model says “${visible(model.text(top))}”, with ${percent(all.now[top])} of all words.`];
      if (task && best(now) !== top) said.push(`Among the ${lists[task].name} it would be “${visible(model.text(best(now)))}”.`);
      if (isAltered) said.push(highest(intact.logits) === top ? "Intact it says the same." : `Intact it says “${visible(model.text(highest(intact.logits)))}”.`);
      answer.replaceChildren(...said.map((sentence, place) => element(place ? "span" : "strong", {}, sentence + " ")));
      made.dataset.answer = model.text(top);

      among.hidden = !task;
      list.options[0].textContent = task && !state.list ? `the list in the text: ${lists[task].name}` : "the list in the text";
      list.value = state.list;
      if (task) {
        const within = (run) => softmax(members.map((id) => run.logits[id])), shares = within(now), before = within(intact);
        const order = members.map((_, member) => member);
        const shown = members.length <= MOST_BARS ? order : order.sort((a, b) => shares[b] - shares[a]).slice(0, MOST_BARS);
        among.show(`Among the ${lists[task].name}${members.length > MOST_BARS ? `, the first ${MOST_BARS} of ${members.length}` : ""}`, shown.map((member) => ({
          key: lists[task].words[member], word: lists[task].words[member], value: shares[member], text: percent(shares[member]), before: isAltered ? before[member] : null, wins: member === highest(shares) })));
      }
      const first = Array.from(now.logits.keys()).sort((a, b) => now.logits[b] - now.logits[a]).slice(0, 7);
      over.show(`Over all ${model.dVocab.toLocaleString("en")} words and pieces`, first.map((id) => ({
        key: id, word: visible(model.text(id)), value: all.now[id], text: percent(all.now[id]), before: isAltered ? all.intact[id] : null, wins: id === top })));
    }

    /* The map waits for what is asked for last: sixteen runs take longer than a key. */
    async function showHeads(task, asked, ids) {
      const mine = (round += 1), members = task ? lists[task].ids : [], word = visible(model.text(asked));
      const what = task ? `lead over the other ${lists[task].name}` : "logit";
      measure.value = state.map;
      map.setAttribute("aria-busy", "true");
      const direct = model.directEffects(now, asked, members), total = [];
      for (let layer = 0; layer < model.nLayers; layer++) {
        await new Promise((resume) => setTimeout(resume));
        if (mine !== round) return;
        total.push(direct[layer].map((_, head) => leadOf(now, asked, members) - leadOf(model.run(ids, { off: [...state.off, [layer, head]], push: now.push, before: now }), asked, members)));
      }
      const effects = state.map === "direct" ? direct : total, chosen = state.head || strongest(effects), [layer, head] = chosen;
      const limit = Math.max(0.5, ...effects.flat().map(Math.abs));
      map.show({ values: effects, chosen, off: state.off, limit, name: `${state.map} effect of every head` });
      mapNote.textContent = `By how much the ${what} of “${word}” falls, in logits, ` + (state.map === "total"
        ? "when a head writes its mean over lists that count at the last word, and later blocks read that."
        : "when what a head adds to the last stream is replaced by its mean over lists that count, and nothing in between reads that.");
      showHead(chosen, total[layer][head], direct[layer][head], ids);
      map.removeAttribute("aria-busy");
    }

    function showHead(chosen, total, direct, ids) {
      const [layer, head] = chosen, isOff = state.off.some((each) => same(each, chosen)), from = state.from ?? ids.length - 1;
      const pattern = now.patterns[layer][head].subarray(from * ids.length, (from + 1) * ids.length), looked = highest(pattern);
      const words = ids.map((id) => model.text(id)), named = (place) => `“${visible(words[place]) || "␣"}”`;
      headTitle.textContent = `${nameOf(chosen)}, ${isOff ? "ablated" : "intact"}`;
      headNote.textContent = (isOff ? "" : `Total effect ${signed(total)}, of which it adds ${signed(direct)} to the answer directly. `) +
        `From ${named(from)} it gives ${percent(pattern[looked])} of its attention to ${named(looked)}. Choose another word to look from:`;
      tokens.show({ words, shares: pattern, chosen: from, marked: state.edit ? state.edit.position : null });
    }

    function leadOf(run, asked, members) {
      const others = members.filter((id) => id !== asked);
      return run.logits[asked] - (others.length ? others.reduce((sum, id) => sum + run.logits[id], 0) / others.length : 0);
    }

    function showEdit(places) {
      where.fill([["", "none"], ...places.map(({ position, list: of, member }) => [position, `${of.words[member]}, token ${position + 1}`])], state.edit ? state.edit.position : "");
      const place = state.edit && places.find((each) => each.position === state.edit.position);
      residue.disabled = scale.disabled = !place;
      residue.fill(place ? directions.map((_, r) => [r, residueName(place.list, place.member, r)]) : [["", "–"]], place ? state.edit.residue : "");
      scale.value = place ? state.edit.scale : USUAL_SCALE;
      scaleSaid.textContent = place ? state.edit.scale.toFixed(1) : "";
      editNote.textContent = place
        ? `To what block 0 leaves at “${place.list.words[place.member]}”, k times the direction of residue ${state.edit.residue} is added and that of ${place.list.index[place.member] % 10} taken away: the edit of chapter 4, with directions learned from numbers alone.`
        : "A word of a list has a place in it, and its residue is that place mod 10: Tuesday is 2, 27 is 7. Choose a word to give it another.";
    }

    addEventListener("hashchange", () => { state = read(location.hash, model); show(); });
    show();
    return made;
  }

  figure("play", { invitation: "Load the model", build, atOnce: () => location.hash.startsWith("#text=") });
})();
