"""What a page loads before its reader touches anything: as little as it needs.

The theme brings an icon library of 1.5 MB for two dozen pictures, and on every page the index of the search, which only
the search's own page asks. The icons become a style sheet of some kilobytes, with the same shapes under the same names.
"""

import re
from importlib.resources import files
from urllib.parse import quote

# Those that the theme, its buttons and its scripts name. A test looks at every page for others.
ICONS = (
    "angle-left", "angle-right", "arrow-up", "bars", "circle-half-stroke", "circle-question", "download", "expand", "file",
    "file-pdf", "github", "lightbulb", "list", "magnifying-glass", "moon", "pencil", "rocket", "sun", "xmark",
)  # fmt: skip  # one list
ALIASES = {"pencil-alt": "pencil"}
LIBRARY = "theme/pydata_sphinx_theme/static/scripts/fontawesome.js"
# Scripts by their names.
ICON_LIBRARY = ("fontawesome.js",)
SEARCH = ("searchtools.js", "language_data.js", "searchindex.js")
# Of a page of the library every name would have its whole docstring as a tip: up to a megabyte a page.
TIPS = ("popper.min.js", "tippy.umd.min.js")
LIBRARY_PAGES = "api"
SCRIPT = re.compile(r'\s*<script\b[^>]*\bsrc="([^"?]+)[^"]*"[^>]*></script>')


def icons():
    """A style sheet that draws the theme's icons, in the ink of the text around, from the library that the theme ships.

    Raises ValueError for a name that the library does not have.
    """
    library = (files("pydata_sphinx_theme") / LIBRARY).read_text(encoding="utf8")
    lines = [
        ":is(.fa-solid, .fa-brands, .fa-regular, .fas, .far, .fab)::before { content: ''; display: inline-block; width: var(--width); height: 1em; vertical-align: -0.125em; background: currentColor; mask: var(--shape) center / contain no-repeat; forced-color-adjust: preserve-parent-color; }"
    ]
    for name in (*ICONS, *ALIASES):
        width, height, path = _shape(library, ALIASES.get(name, name))
        picture = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"><path d="{path}"/></svg>'
        lines.append(
            f'.fa-{name} {{ --width: {width / height:.3f}em; --shape: url("data:image/svg+xml,{quote(picture, safe=" /:=")}"); }}'
        )
    return "\n".join(lines) + "\n"


def _shape(library, name):
    """Width, height and outline of an icon. Of several styles the library has the solid one last."""
    found = re.findall(rf'[{{,]"?{re.escape(name)}"?:\[(\d+),(\d+),\[[^\]]*\],"[0-9a-f]+","([^"]+)"', library)
    if not found:
        raise ValueError(f"The theme's icons have no '{name}': look for its new name in {LIBRARY}.")
    width, height, path = found[-1]
    return int(width), int(height), path


def lighten(app, exception):
    """Take the scripts that are not needed out of the pages that Sphinx has written."""
    if exception is not None or app.builder.format != "html":
        return
    for path in app.outdir.rglob("*.html"):
        unused = ICON_LIBRARY if path.name == "search.html" else (*ICON_LIBRARY, *SEARCH)
        text = path.read_text(encoding="utf8")
        for script in SCRIPT.finditer(text):
            has_tips = script[1].endswith(TIPS) or "/tippy/" in script[1]
            if script[1].endswith(unused) or (has_tips and path.parent.name == LIBRARY_PAGES):
                text = text.replace(script[0], "")
        path.write_text(text, encoding="utf8")


def setup(app):
    """Do so when a build is finished."""
    app.connect("build-finished", lighten)
