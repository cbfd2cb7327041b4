// A finger cannot point without pressing. So a tap on a term or a citation explains it where it stands, and the explanation
// has a link that goes on. Mouse and keyboard, which can point, follow the link itself.
document.addEventListener("DOMContentLoaded", () => {
  let isFinger = false;
  document.addEventListener("pointerdown", (event) => { isFinger = event.pointerType === "touch"; }, true);
  document.addEventListener("keydown", () => { isFinger = false; }, true);

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a:has(> .std-term), .bibtex-citation a");
    if (!isFinger || !link) return;
    // A term has its tip from sphinx-tippy; a citation's title is the whole entry, which a mouse shows by itself.
    const tip = link._tippy || (link.title && window.tippy?.(link, { content: link.title }));
    if (!tip) return;
    event.preventDefault();
    // On the page's own level, or a box that scrolls would cut it off.
    tip.setProps({ interactive: true, appendTo: document.body });
    tip.show();
    const content = tip.popper.querySelector(".tippy-content");
    if (content.querySelector(".sh-onward")) return;
    const onward = document.createElement("a");
    onward.className = "sh-onward";
    onward.href = link.href;
    onward.textContent = link.querySelector(".std-term") ? "In the glossary" : "In the list of references";
    content.append(onward);
  });
});
