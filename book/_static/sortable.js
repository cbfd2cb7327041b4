// The headings of a table of class sh-sortable become buttons that sort its rows. Without this script it is a table still.
document.addEventListener("DOMContentLoaded", () => {
  const valueOf = (cell) => cell.dataset.sort === undefined ? cell.textContent.trim() : Number(cell.dataset.sort);
  const compare = (a, b) => typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  for (const table of document.querySelectorAll("table.sh-sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const cellOf = (row) => row.cells[column];
        const rows = [...table.tBodies[0].rows];
        // The first click shows the largest number, or the first name, on top.
        const first = "sort" in cellOf(rows[0]).dataset ? "descending" : "ascending";
        const other = first === "descending" ? "ascending" : "descending";
        const order = heading.getAttribute("aria-sort") === first ? other : first;
        headings.forEach((each) => each.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        rows.sort((a, b) => sign * compare(valueOf(cellOf(a)), valueOf(cellOf(b))));
        table.tBodies[0].append(...rows);
      });
    });
  }
});
