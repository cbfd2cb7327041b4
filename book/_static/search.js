// Search, from a folder as from a server: each page once, with an excerpt of what it says. The index and its ranking are
// Sphinx's; the words of the pages come with the search page (SH_TEXTS, see bookkit.site.search).
document.addEventListener("DOMContentLoaded", () => {
  if (typeof Search === "undefined" || !window.SH_TEXTS) return;
  const LENGTH = 240;
  const escaped = (word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

  // The place with most of the words asked for close to each other, of equals that with the longer words, and the words marked.
  function excerpt(page, words) {
    const anyWord = new RegExp(`(?:${[...words].map(escaped).join("|")})`, "giu");
    const paragraphs = SH_TEXTS[page] || [];
    let best = { text: paragraphs[0] || "", at: 0, found: 0, letters: 0 };
    for (const text of paragraphs) {
      for (const { index: at } of text.matchAll(anyWord)) {
        const near = text.slice(at, at + LENGTH / 2).match(anyWord);
        const distinct = new Set(near.map((word) => word.toLowerCase()));
        const place = { text, at, found: distinct.size, letters: [...distinct].join("").length };
        if (place.found > best.found || (place.found === best.found && place.letters > best.letters)) best = place;
      }
    }
    const { text } = best;
    let start = Math.max(0, best.at - LENGTH / 3);
    if (start) start = text.indexOf(" ", start) + 1;
    let end = text.length > start + LENGTH ? text.lastIndexOf(" ", start + LENGTH) : text.length;
    if (end <= start) end = text.length;
    const shown = document.createElement("p");
    if (start) shown.append("… ");
    let from = start;
    for (const hit of text.slice(start, end).matchAll(anyWord)) {
      const mark = document.createElement("mark");
      mark.textContent = hit[0];
      shown.append(text.slice(from, start + hit.index), mark);
      from = start + hit.index + hit[0].length;
    }
    shown.append(text.slice(from, end), end < text.length ? " …" : "");
    return shown;
  }

  Search.query = (asked) => {
    const [query, stems, excluded, words, objects] = Search._parseQuery(asked);
    // Sphinx lists the best result last, and a page as often as its titles, terms and text answer.
    const pages = new Map();
    for (const result of Search._performSearch(query, stems, excluded, words, objects).reverse()) {
      if (!pages.has(result[0])) pages.set(result[0], result);
    }
    const root = document.documentElement.dataset.content_root;
    for (const [page, title, anchor, , score] of pages.values()) {
      const link = document.createElement("a");
      link.href = `${root}${page}.html${anchor}`;
      link.dataset.score = score;
      link.innerHTML = title;  // with the code and entities that Sphinx put there
      const item = document.createElement("li");
      item.append(link, excerpt(page, new Set([...words, ...stems])));
      Search.output.append(item);
    }
    _finishSearch(pages.size);
  };
});
