// Arrow keys, space and page keys turn the slides; n opens and closes all notes; s opens a window for the speaker, with
// the notes of the slide that is seen, solutions included, the next slide's title and the time.
const slides = [...document.querySelectorAll(".slide")];
const MOST = 2.2; // times the size that a drawing has on the site
const GAP = 16;
const PHONE = matchMedia("(max-width: 40rem)");

// The slide that is seen most: the first whose lower half has not left the screen.
function here() {
  const found = slides.findIndex((slide) => slide.getBoundingClientRect().bottom > window.innerHeight / 2);
  return found < 0 ? slides.length - 1 : found;
}

/* A drawing takes the room that its slide has left, its panels in the number of columns that makes them largest. */
function fitDrawing(drawing) {
  const panels = [...drawing.querySelectorAll(":scope > svg")];
  if (!panels.length) return;
  const sizes = panels.map((panel) => [panel.viewBox.baseVal.width, panel.viewBox.baseVal.height]);
  const scaleIn = (columns) => {
    let [width, height] = [0, 0];
    const rows = Math.ceil(panels.length / columns);
    for (let row = 0; row < rows; row++) {
      const inRow = sizes.slice(row * columns, (row + 1) * columns);
      width = Math.max(width, inRow.reduce((sum, size) => sum + size[0], 0));
      height += Math.max(...inRow.map((size) => size[1]));
    }
    return Math.min((drawing.clientWidth - GAP * columns) / width, (drawing.clientHeight - GAP * (rows - 1)) / height);
  };
  const scales = panels.map((_, place) => scaleIn(place + 1));
  const columns = scales.indexOf(Math.max(...scales)) + 1;
  // A drawing's unit is a point.
  const scale = Math.min(scales[columns - 1], (MOST * 4) / 3);
  drawing.style.setProperty("--columns", columns);
  drawing.style.setProperty("--rows", Math.ceil(panels.length / columns));
  panels.forEach((panel, place) => panel.style.setProperty("--width", `${Math.floor(sizes[place][0] * scale)}px`));
}

/* Words alone are set larger, as far as there is room; what is too high, or code that is too wide, smaller, down to six tenths. */
function fit(slide) {
  const wall = slide.querySelector(".wall");
  wall.style.fontSize = "";
  if (PHONE.matches) return; // a phone scrolls
  // A pixel is the line below the slide.
  const tooLarge = () => wall.getBoundingClientRect().height > window.innerHeight - 0.99 || [wall, ...wall.querySelectorAll("pre, .table")].some((box) => box.scrollWidth > box.clientWidth + 1);
  const largest = wall.querySelector("figure, table, h1") ? 100 : 130;
  for (let size = largest; size >= 60; size -= 5) {
    wall.style.fontSize = `${size}%`;
    if (!tooLarge()) break;
  }
  wall.querySelectorAll(".sh-drawing").forEach(fitDrawing);
}

async function fitAll() {
  await document.fonts.ready;
  slides.forEach(fit);
  document.documentElement.dataset.fitted = `${window.innerWidth} ${window.innerHeight}`;
}

let speaker = null;
let began = 0;

function openSpeaker() {
  speaker = window.open("", "speaker", "width=800,height=700");
  if (!speaker) return; // the browser does not let windows open
  began ||= Date.now();
  const page = speaker.document;
  const sheets = [...document.querySelectorAll("link[rel=stylesheet]")].map((sheet) => `<link rel="stylesheet" href="${sheet.href}">`);
  const formulas = document.querySelector("style[id^=MJX]")?.outerHTML ?? ""; // MathJax's own
  page.documentElement.innerHTML = `<head><title>Notes</title>${sheets.join("")}${formulas}</head><body class="speaker"><p class="clock"></p><h1></h1><div class="notes"></div><p class="next"></p></body>`;
  page.documentElement.dataset.theme = document.documentElement.dataset.theme;
  page.documentElement.lang = "en";
  speaker.addEventListener("keydown", (event) => turn(event));
  tellSpeaker();
}

function tellSpeaker() {
  if (!speaker || speaker.closed) return;
  const place = here(), page = speaker.document, title = (slide) => slide?.querySelector("h1, h2").textContent ?? "";
  const minutes = Math.floor((Date.now() - began) / 60000);
  page.querySelector(".clock").textContent = `Slide ${place + 1} of ${slides.length} · minute ${minutes}`;
  page.querySelector("h1").textContent = title(slides[place]);
  const notes = slides[place].querySelector(".notes")?.cloneNode(true);
  notes?.querySelector("summary").remove();
  page.querySelector(".notes").innerHTML = notes?.innerHTML ?? "<p>No notes.</p>";
  page.querySelector(".next").textContent = place + 1 < slides.length ? `Next: ${title(slides[place + 1])}` : "The last slide.";
}

function turn(event) {
  if (event.target.closest?.("summary, button, a, pre, input, [role=button]") && (event.key === " " || event.key === "Enter" || event.target.matches("input"))) return;
  const step = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1 }[event.key];
  if (step) {
    event.preventDefault();
    const next = slides[Math.min(slides.length - 1, Math.max(0, here() + step))];
    next.scrollIntoView();
    history.replaceState(null, "", `#${next.id}`);
    tellSpeaker();
  }
  if (event.key === "n") {
    const notes = [...document.querySelectorAll(".notes")];
    const open = notes.some((note) => !note.open);
    notes.forEach((note) => (note.open = open));
  }
  if (event.key === "s") openSpeaker();
}

window.addEventListener("keydown", turn);
window.addEventListener("scroll", tellSpeaker, { passive: true });
window.addEventListener("resize", fitAll);
window.setInterval(tellSpeaker, 20000);
fitAll();
