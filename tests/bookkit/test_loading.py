"""What pages load: icons as a style sheet, and no script that they do not need."""

import re
from types import SimpleNamespace
from urllib.parse import unquote

import pytest

from bookkit.site import loading

PAGE = """<head>
<script defer src="_static/scripts/fontawesome.js?digest=1"></script>
<script src="_static/searchtools.js"></script>
<script src="_static/language_data.js"></script>
<script src="searchindex.js"></script>
<script defer src="_static/vendor/tippy.umd.min.js?v=1"></script>
<script defer="defer" src="_static/tippy/a.js"></script>
<script defer src="_static/scripts/bootstrap.js?digest=1"></script><script>let kept = 1;</script>
</head>"""


def test_icons_have_the_library_s_outlines_under_their_names():
    sheet = loading.icons()
    rules = dict(re.findall(r'^\.fa-([\w-]+) \{ .*?url\("data:image/svg\+xml,([^"]+)"', sheet, re.MULTILINE))
    assert set(rules) == {*loading.ICONS, *loading.ALIASES} and len(sheet) < 20_000
    arrow = unquote(rules["arrow-up"])
    assert 'viewBox="0 0 384 512"' in arrow and re.search(r'<path d="M[\d. ,a-zA-Z-]+"/>', arrow)
    # Regular and solid files differ; the theme's is the solid one, whose outline is the shorter.
    assert len(rules["file"]) < len(rules["file-pdf"])
    assert rules["pencil"] == rules["pencil-alt"] and len(set(rules.values())) == len(loading.ICONS)


def test_an_icon_that_the_library_does_not_have_is_named(monkeypatch):
    monkeypatch.setattr(loading, "ICONS", ("no-such-icon",))
    with pytest.raises(ValueError, match="no-such-icon"):
        loading.icons()


def test_pages_lose_the_scripts_that_they_do_not_use_and_the_search_keeps_its_own(tmp_path):
    (tmp_path / "api").mkdir()
    for name in ("a.html", "search.html", "api/a.html"):
        (tmp_path / name).write_text(PAGE, encoding="utf8")
    app = SimpleNamespace(builder=SimpleNamespace(format="html"), outdir=tmp_path)
    loading.lighten(app, None)
    page, search, library = (
        (tmp_path / name).read_text(encoding="utf8") for name in ("a.html", "search.html", "api/a.html")
    )
    named = lambda text: re.findall(r"([\w-]+)\.js", text)  # noqa: E731
    assert named(page) == ["min", "a", "bootstrap"] and "let kept" in page
    assert named(search) == ["searchtools", "language_data", "searchindex", "min", "a", "bootstrap"]
    assert named(library) == ["bootstrap"]
    (tmp_path / "a.html").write_text(PAGE, encoding="utf8")
    loading.lighten(app, RuntimeError("the build failed"))
    assert (tmp_path / "a.html").read_text(encoding="utf8") == PAGE
