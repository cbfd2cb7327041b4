// The headings of a table of results, or of a table in a chapter, become buttons that sort its rows. Without this script
// it is a table still.
document.addEventListener("DOMContentLoaded", () => {
  const MISSING = /^[–-]?$/;
  const NUMBER = /^[+−-]?(?:\d[\d,]*\.?\d*|\.\d+)/;
  // A cell says its value, or it is read: a share of "2 of 384", the number in front of an interval, else the text.
  function valueOf(cell) {
    if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
    const text = cell.textContent.trim();
    if (MISSING.test(text)) return null;
    const share = text.match(/^(\d[\d,]*) of (\d[\d,]*)/);
    const number = (digits) => Number(digits.replaceAll(",", "").replace("−", "-"));
    if (share) return number(share[1]) / number(share[2]);
    const found = text.match(NUMBER);
    return found ? number(found[0]) : text;
  }
  const textOf = (cell) => MISSING.test(cell.textContent.trim()) ? null : cell.textContent.trim();
  const compare = (a, b) => typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });

  for (const table of document.querySelectorAll("table:is(.sh-sortable, .sh-table, .dataframe)")) {
    const body = table.tBodies[0];
    // Two rows are compared at a glance, and cells that span others belong to no one row or column.
    if (table.tHead?.rows.length !== 1 || body.rows.length < 3 || table.querySelector("[colspan], [rowspan]")) continue;
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      if (!button.textContent.trim()) button.setAttribute("aria-label", "Sort by name");
      heading.append(button);
      button.addEventListener("click", () => {
        const rows = [...body.rows];
        const values = new Map(rows.map((row) => [row, valueOf(row.cells[column])]));
        // One text among them, and the column is of texts: "1 … 200" in a column of lists is no number.
        const isText = [...values.values()].some((value) => typeof value === "string");
        if (isText) rows.forEach((row) => values.set(row, textOf(row.cells[column])));
        // The first click shows the largest number, or the first name, on top. What is missing stays below.
        const first = isText ? "ascending" : "descending";
        const other = isText ? "descending" : "ascending";
        const order = heading.getAttribute("aria-sort") === first ? other : first;
        headings.forEach((each) => each.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        rows.sort((a, b) => {
          const [one, two] = [values.get(a), values.get(b)];
          return one === null || two === null ? (one === null) - (two === null) : sign * compare(one, two);
        });
        body.append(...rows);
      });
    });
  }
});
