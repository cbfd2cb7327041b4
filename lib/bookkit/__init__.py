"""What builds the book. Readers who install the library with pip do not get it; a checkout's environment has it.

In the order in which one uses the other:

places      where everything lies that a build makes
build       run the notebooks: what depends on what, one chapter on one model, limits, what was accepted
editions    the student's and the teacher's notebooks, and Colab
site        records and executed notebooks become pages, slides and a PDF
night       many models: the sweep, the nightly run, contributed records
"""

import sys

# nbformat checks notebooks with jsonschema, and that compiles a grammar for web addresses whenever it is imported: two
# seconds of every process that reads a notebook. No notebook's schema asks for one, and jsonschema does without.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # so that an import says it is missing
