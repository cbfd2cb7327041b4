"""Sphinx extension of this book: which scripts a page loads. Jupyter Book loads too many, and circuitsvis is large."""

THEBE = ("thebe",)


def choose_scripts(app, page, template, context, doctree):
    """Give attention views and the workbench their scripts, and drop those of thebe, which is off here and fills the console with errors."""
    if "sh-circuitsvis" in context.get("body", ""):
        app.add_js_file("circuitsvis.js", priority=100)
    if "sh-workbench" in context.get("body", ""):
        app.add_js_file("workbench.js", priority=100)
    context["script_files"] = [
        script
        for script in context.get("script_files", [])
        if not any(word in f"{script} {getattr(script, 'attributes', {})}".lower() for word in THEBE)
    ]


def setup(app):
    # Late, so that the scripts that other extensions add for this page are there to be looked at.
    app.connect("html-page-context", choose_scripts, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
