// The table of the rubric becomes a form: points and a remark for each question, the sum, and a report as plain text.
for (const box of document.querySelectorAll(".sh-rubric")) {
  const table = box.querySelector("table");
  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const field = (label, id) => element("p", {}, element("label", { for: id }, label), element("input", { id, type: "text", autocomplete: "off" }));

  // The table words four, two and no points; what lies between is left to the grader.
  const MOST = 4;
  const questions = [...table.tBodies[0].rows].map((row, place) => {
    const [name, ...worded] = [...row.cells].map((cell) => cell.textContent.trim());
    const choices = Array.from({ length: MOST + 1 }, (_, step) => {
      const points = MOST - step, id = `rubric-${place}-${points}`;
      const words = points % 2 ? "between the two" : worded[(MOST - points) / 2];
      return element("label", { for: id }, element("input", { id, type: "radio", name: `rubric-${place}`, value: points }), element("span", {}, element("strong", {}, `${points}`), ` ${words}`));
    });
    const remark = element("textarea", { id: `rubric-${place}-remark`, rows: 2 });
    const set = element("fieldset", {}, element("legend", {}, name), ...choices, element("label", { for: remark.id, class: "sh-rubric-remark" }, "Remark"), remark);
    return { name, set, remark, points: () => Number(set.querySelector("input:checked")?.value ?? NaN) };
  });

  const sum = element("p", { class: "sh-rubric-sum", role: "status" });
  const report = element("textarea", { readonly: "", rows: 12, "aria-label": "Report" });
  const said = element("p", { class: "sh-rubric-said", role: "status" });
  const button = (words, act) => {
    const made = element("button", { type: "button" }, words);
    made.addEventListener("click", act);
    return made;
  };
  const form = element("form", { class: "sh-rubric-form" }, field("Project", "rubric-project"), field("Graded by", "rubric-grader"), ...questions.map(({ set }) => set), sum, report,
    element("p", { class: "sh-rubric-actions" }, button("Copy the report", copy), button("Save it as a file", save), button("Print", () => window.print()), button("Start anew", () => { form.reset(); tell(); })), said);
  const value = (id) => form.querySelector(`#${id}`).value.trim();

  function tell() {
    const given = questions.filter((question) => !Number.isNaN(question.points()));
    const points = given.reduce((all, question) => all + question.points(), 0);
    const open = questions.length - given.length;
    sum.textContent = `${points} of ${MOST * questions.length} points` + (open ? `, ${open} ${open === 1 ? "question" : "questions"} open` : "");
    const lines = questions.map((question) => {
      const own = Number.isNaN(question.points()) ? "–" : question.points(), remark = question.remark.value.trim();
      return `${question.name}: ${own} of ${MOST}` + (remark ? `\n  ${remark.replaceAll("\n", "\n  ")}` : "");
    });
    report.value = [`Project: ${value("rubric-project") || "–"}`, `Graded by: ${value("rubric-grader") || "–"}`, "", ...lines, "", sum.textContent].join("\n");
    said.textContent = "";
  }

  async function copy() {
    try {
      await navigator.clipboard.writeText(report.value);
      said.textContent = "Copied.";
    } catch {
      // From a folder some browsers keep the clipboard closed: the text is marked, to be copied by hand.
      report.select();
      said.textContent = "Marked: copy it with the keyboard.";
    }
  }

  function save() {
    const link = element("a", { href: URL.createObjectURL(new Blob([report.value + "\n"], { type: "text/plain" })), download: `${value("rubric-project") || "project"}.txt` });
    link.click();
    URL.revokeObjectURL(link.href);
  }

  form.addEventListener("input", tell);
  form.addEventListener("submit", (event) => event.preventDefault());
  // The form says all of it, so the table is folded.
  const folded = element("details", {}, element("summary", {}, "The rubric as a table"));
  folded.append(...box.childNodes);
  box.append(folded, form);
  tell();
}
