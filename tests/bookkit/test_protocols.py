"""The page "The paper, row by row": one column a model that has a record by the present protocol, and no other."""

from bs4 import BeautifulSoup

from bookkit.night import contribute
from bookkit.site import paper, protocols
from successor_heads import records, reported
from successor_heads.studies import mod10_features, vector_arithmetic
from successor_heads.studies.cells import NOT_ASKED


def record(study, **findings):
    """A stored record, as JSON holds it."""
    whole = {study.NEWEST: records.finding(0.5)} | findings
    return {"created": "2026-11-26T12:00:00+00:00", "chapter": study.CHAPTER, "findings": whole}


def found(*names, **findings):
    chapters = {study.CHAPTER: record(study, **findings) for study in protocols.STUDIES.values()}
    return dict.fromkeys(names, chapters)


READ = {"lists_unseen": records.finding(0.5, low=0.4, high=0.6, n=136), "subspace_pairs": records.finding(0.95)}
ALL = list(paper.WITHOUT_EMBEDDINGS)


def test_each_model_has_a_column_and_the_words_that_its_chapter_says(tmp_path):
    (tmp_path / "book").mkdir()
    protocols.write(tmp_path, found(*ALL, "org/model", **READ))
    page = BeautifulSoup((tmp_path / "book/row-by-row/tens.html").read_text(), "html.parser")
    heads = [[cell.text for cell in table.select("thead th")] for table in page.select("table")]
    assert [name for row in heads for name in row[2:]] == [*ALL, "org/model"] and all(len(row) <= 5 for row in heads)
    first = {row.th.text: [cell.text for cell in row.select("td")] for row in page.table.select("tbody tr")}
    assert first["words of unseen lists, mod 10"][1:] == ["68 of 136: 0.50 (0.40 to 0.60)"] * 3
    assert first["commonest period of 16 neurons"][1] == NOT_ASKED
    assert list(first) == [row for row, _, _ in mod10_features.compared({})]
    assert "68 of 136" in page.caption.text and "2026-11-26" in page.text and "make contribute" not in page.text


def test_edits_stand_table_by_table_with_both_kinds_of_directions_and_their_control(tmp_path):
    (tmp_path / "book").mkdir()
    edited = {
        "paper_20_to_29": records.finding(0.6, n=55), "paper_sae_20_to_29": records.finding(0.2, n=55),
        "exact_class_means": records.finding(0.25), "exact_random_in_the_span": records.finding(0.03),
    }  # fmt: skip  # one model
    protocols.write(tmp_path, found(*ALL, **edited))
    page = BeautifulSoup((tmp_path / "book/row-by-row/edits.html").read_text(), "html.parser")
    rows = {row.th.text: [cell.text for cell in row.select("td")] for row in page.table.select("tbody tr")}
    tables = reported.read()["arithmetic"]["tables"]
    assert [rows[title][0] for title in vector_arithmetic.PAPER] == [
        "{} of {}{}".format(*tables[name][:2], reported.SAID[tables[name][2]])
        for name in vector_arithmetic.PAPER.values()
    ]
    assert rows["20 to 29"][1:] == ["33 of 55; SAE 11"] * 3 and rows["30 to 39"][1] == NOT_ASKED
    assert rows["all edits, class means"][1] == "0.25; random 0.03" and "0.25; random 0.03" in page.caption.text


def test_a_record_by_an_older_protocol_is_no_measurement(tmp_path):
    """The two records of November 23 had other findings: their rows would all have said that nothing can be asked."""
    old = found("grown/gpt2", **READ)
    del old["grown/gpt2"][mod10_features.CHAPTER]["findings"][mod10_features.NEWEST]
    (tmp_path / "book").mkdir()
    protocols.write(tmp_path, old)
    tens, maps = ((tmp_path / f"book/row-by-row/{name}.html").read_text() for name in ("tens", "map"))
    assert "<table" not in tens and "make contribute MODEL=grown/gpt2<" in tens
    assert "<table" in maps and "MODEL=grown/gpt2<" not in maps and "MODEL=grown/pythia<" in maps


def test_what_is_contributed_keeps_the_table_that_figure_27_draws():
    whole = {"chapter": paper.THIRD, "tables": {"probes": [{"modulus": 10, "unseen": 0.5}], "words": [1, 2]}}
    assert contribute.for_the_page(whole)["tables"] == {"probes": whole["tables"]["probes"]}
    assert contribute.for_the_page(whole | {"chapter": "04-vector-arithmetic"})["tables"] == {}
    assert set(protocols.CHAPTERS) < set(contribute.SHOWN)
