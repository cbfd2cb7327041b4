"""Formulas as MathML, which browsers set and screen readers read by themselves: no script, no wait, no request.

docutils translates them while the site is built. MathJax did it in the reader's browser, with 2.1 MB of script on every
page. KaTeX would do it at build time as well, and need Node to run and a style sheet and twenty fonts on the page.
"""

import html
import re
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.locale import _
from sphinx.util.math import get_node_equation_number

# What docutils has under another name: a large delimiter has to say on which side it stands.
SIDED = re.compile(r"\\([Bb]igg?)(?=\s*([(\[)\]]))")
MATHML = "http://www.w3.org/1998/Math/MathML"
ElementTree.register_namespace("", MATHML)
NAMED = re.compile(r"&(?!(?:lt|gt|amp);)\w+;")  # characters that HTML knows by name, and XML does not
DOTS = re.compile(r"\\dots(?![A-Za-z])")


def mathml(tex, *, block=False):
    """A formula as a `math` element. Raises docutils' MathError, which names what it cannot translate."""
    tex = DOTS.sub(r"\\ldots", tex)
    tex = SIDED.sub(lambda found: rf"\{found[1]}{'l' if found[2] in '([' else 'r'}", tex)
    math = ElementTree.fromstring(NAMED.sub(lambda name: html.unescape(name[0]), tex2mathml(tex, as_block=block)))
    for both in list(math.iter(f"{{{MATHML}}}munderover")):
        _put_index_beside(both)
    return ElementTree.tostring(math, encoding="unicode")


def _put_index_beside(both):
    """Have the index of an accented letter beside it: docutils puts it below, where only that of a sum belongs."""
    letter, index, accent = both
    if accent.get("stretchy") == "false":
        both.clear()
        both.tag = f"{{{MATHML}}}msub"
        accented = ElementTree.SubElement(both, f"{{{MATHML}}}mover", accent="true")
        accented.extend((letter, accent))
        both.append(index)


def visit_inline(translator, node):
    """Write a formula within a line of text."""
    translator.body.append(
        translator.starttag(node, "span", "", CLASS="math notranslate nohighlight") + mathml(node.astext()) + "</span>"
    )
    raise nodes.SkipNode


def visit_block(translator, node):
    """Write a formula that stands alone, with the number that Sphinx gave it."""
    translator.body.append(translator.starttag(node, "div", CLASS="math notranslate nohighlight"))
    if node["number"]:
        translator.body.append(f'<span class="eqno">({get_node_equation_number(translator, node)})')
        translator.add_permalink_ref(node, _("Link to this equation"))
        translator.body.append("</span>")
    translator.body.append(f'<div class="sh-formula">{mathml(node.astext(), block=True)}</div></div>\n')
    raise nodes.SkipNode


def setup(app):
    """Make them Sphinx's renderer `mathml`."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
