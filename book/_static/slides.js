// Arrow keys, space and page keys turn the slides; n opens and closes all notes.
window.addEventListener("keydown", (event) => {
  if (event.target.closest("summary, button, a, pre, [role=button]") && (event.key === " " || event.key === "Enter")) return;
  const slides = [...document.querySelectorAll(".slide")];
  const step = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1 }[event.key];
  if (step) {
    event.preventDefault();
    // The slide that is seen most: the first whose lower half has not left the screen.
    const here = slides.findIndex((slide) => slide.getBoundingClientRect().bottom > window.innerHeight / 2);
    const next = slides[Math.min(slides.length - 1, Math.max(0, here + step))];
    next.scrollIntoView();
    history.replaceState(null, "", `#${next.id}`);
  }
  if (event.key === "n") {
    const notes = [...document.querySelectorAll(".notes")];
    const open = notes.some((note) => !note.open);
    notes.forEach((note) => (note.open = open));
  }
});
