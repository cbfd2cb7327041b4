"""What search shows its excerpts from: the words that a page says, each once, and none that it draws or computes with."""

from bookkit.site import search

PAGE = r"""<html><body><nav><p>Contents</p></nav><article>
<h1>Title<a class="headerlink" href="#">#</a></h1>
<p>A head <em>reads</em> a row <math><mi>x</mi></math>.</p>
<table><thead><tr><th>list</th></tr></thead><tbody><tr><td><p>days</p></td></tr></tbody></table>
<dl class="glossary"><dt>logit<a class="headerlink" href="#">#</a></dt><dd><p>A number a word.</p></dd></dl>
<figure><svg><text>an axis</text><p>inside</p></svg><figcaption>It counts.</figcaption></figure>
<div class="highlight"><pre><p>code = 1</p></pre></div><script>let p = "<p>script</p>";</script>
</article><footer><p>Footer</p></footer></body></html>"""


def test_the_words_of_a_page_are_its_prose_tables_terms_and_captions():
    assert search.paragraphs(PAGE) == ["A head reads a row x.", "list", "days", "logit: A number a word.", "It counts."]
    assert search.paragraphs("<html><body><p>No article.</p></body></html>") == []
