"""Chapter 8's closer questions: answers from made-up findings, lists by hand, and instruments on a circuit that is known."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from bookkit.site import in_depth
from successor_heads import cached, figures, models, paths
from successor_heads.planted import circuits
from successor_heads.planted.shapes import Shape
from successor_heads.planted.words import word_tokenizer
from successor_heads.studies.models_of_today import PUBLISHED, closer, closer_shown, instruments, known, rarely_read
from successor_heads.studies.models_of_today import frames as frames_of
from successor_heads.studies.models_of_today import lists as of_lists
from successor_heads.studies.models_of_today.closer import Closer

PATCHES = ("nothing", "query", "keys, exchanged", "keys, another list")
MODEL = "published/smollm2"
PAGE = Path(__file__).parents[2] / "book" / "published-models-in-depth.md"


def made(
    *, model=MODEL, difference=(0.3, 0.5), query=0.6, right=(0.9, 0.85, 0.8), to_word=0.1, same=(), other=(), size=64,
    line=0.1, components=0.4, random=0.2, kinds=None,
) -> Closer:  # fmt: skip  # what an answer looks at
    """A head that looks by place, is not distracted, and needs many neurons; unless something else is said."""
    looks = [
        (who, what, last, last - 0.1, last + 0.1, 0.1, 0.05, 0.2, *difference, 0.0, -0.1, 0.1, 40)
        for who, scale in (("L1H2", 1), ("L1H0", 0.1))
        for what, last in zip(PATCHES, (0.6 * scale, query * scale, 0.5 * scale, 0.6 * scale))
    ]
    distractors = [
        (where, word, who, share, share - 0.1, min(1, share + 0.1), 0.05, 0.5, 0.4, 0.6, to_word, 20)
        for where in ("before", "within")
        for word, share in zip(("neutral", "another list", "same list"), right)
        for who in ("L1H2", "L1H0")
    ]
    mlps = [
        (part, donor, 0.5 if part in above else 0.1, 0.0, 0.6, 0.2, 40)
        for donor, above in (("same class", same), ("another class", other))
        for part in ("MLP0", "MLP12", "MLP13")
    ]
    neurons = [
        (part, n, 4096, 0.6 if n >= size else 0.1, 0.0, 0.9, 0.01, 0.02, "7" if n == 1 else "")
        for part in ("MLP12", "MLP13")
        for n in (1, 8, 16, 64, 256, 4096)
    ]
    shares = {"line": line, "circle": 0.1, "1 component": 0.1, "16 components": components}
    subspace = [(name, 1, share, share - 0.1, share + 0.1, 0.05, random, 0.2) for name, share in shares.items()]
    subspace.append(("all of it", 64, 1.0, 1.0, 1.0, np.nan, np.nan, 0.9))
    told = {"numbers below 100": (16, 0.5), "numbers of four digits": (14, 0.5), "Roman numerals": (12, 0.5), "days in French": (2, 0.5), "invented orders": (15, 0.0)}  # fmt: skip
    rarely = [
        (kind, n, n / 16 - 0.1, 1.0, 0.2, 3, 11.0, lost, lost - 0.1, lost + 0.1, 0.2, 0.4, 16)
        for kind, (n, lost) in (told | (kinds or {})).items()
    ]
    return Closer(
        model=model, head="L1H2", control="L1H0", seed=0, n_lists=40,
        looks=pd.DataFrame(looks, columns=["who", "patched", "last", "last_low", "last_high", "first", "first_low", "first_high", "difference_low", "difference_high", "lost", "low", "high", "n"]),
        distractors=pd.DataFrame(distractors, columns=["where", "word", "who", "right", "low", "high", "distractor", "last", "last_low", "last_high", "to_word", "n"]),
        mlps=pd.DataFrame(mlps, columns=["part", "donor", "share", "low", "high", "null", "n"]),
        neurons=pd.DataFrame(neurons, columns=["part", "size", "width", "share", "low", "high", "random", "random_highest", "which"]),
        subspace=pd.DataFrame(subspace, columns=["subspace", "dimensions", "share", "low", "high", "random", "random_highest", "said"]),
        rarely=pd.DataFrame(rarely, columns=["kind", "right", "right_low", "right_high", "chance", "without", "without_others", "lost", "low", "high", "others_lost", "attention", "n"]),
    )  # fmt: skip  # as a table


GEMMA = {"model": closer_shown.GEMMA, "same": ("MLP12", "MLP13"), "other": ("MLP12",), "components": 0.7, "kinds": {"days in French": (16, 0.5)}}  # fmt: skip
# What an answer says, and whether it had been expected, by the question and what was found.
ANSWERS = [
    ("What does it look for?", {}, "by its place", True),
    ("What does it look for?", {"query": 0.4}, "by its place", False),
    ("What does it look for?", {"difference": (-0.5, -0.3)}, "by the ordinal", False),
    ("What does it look for?", {"difference": (-0.1, 0.1)}, "by neither alone", False),
    ("Can it be distracted?", {}, "answers hold", True),
    ("Can it be distracted?", {"right": (0.9, 0.5, 0.8)}, "do not hold behind a word of another list:", False),
    ("Can it be distracted?", {"right": (0.9, 0.5, 0.5)}, "another list and same list", False),
    ("Can it be distracted?", {"to_word": 0.6}, "not always more", False),
    ("Can it be distracted?", {"right": (0.9, 0.85, 0.9)}, "answers hold", False),
    ("Which MLP alone carries what?", {}, "no MLP alone", True),
    ("Which MLP alone carries what?", {"same": ("MLP12",)}, "MLP12 carries the word", False),
    ("Which MLP alone carries what?", GEMMA, "MLP12 carries an index, MLP13 carries the word", True),
    ("Which MLP alone carries what?", GEMMA | {"same": ("MLP13",)}, "an index of other classes only", False),
    ("How many neurons?", {}, "64 of the 4,096 of MLP12", True),
    ("How many neurons?", {"size": 8}, "8 of", False),
    ("How many neurons?", {"size": 256}, "256 of", False),
    ("How many directions?", {}, "carrying half: none", True),
    ("How many directions?", {"line": 0.6}, "carrying half: line", False),
    ("How many directions?", {"components": 0.6}, "16 components", False),
    ("How many directions?", {"components": 0.6, "random": 0.7}, "carrying half: none", True),
    ("How many directions?", GEMMA, "carrying half: 16 components", True),
    ("Lists rarely read?", {}, "invented orders; the head is needed for numbers below 100, numbers of four digits and Roman", True),
    ("Lists rarely read?", {"kinds": {"numbers of four digits": (5, 0.5)}}, "Roman numerals and invented", False),
    ("Lists rarely read?", {"kinds": {"invented orders": (16, 0.5)}}, "Roman numerals and invented orders", False),
    ("Lists rarely read?", {"kinds": {"Roman numerals": (16, np.nan)}}, "needed for numbers below 100 and numbers", False),
    ("Lists rarely read?", GEMMA, "days in French", True),
]  # fmt: skip


@pytest.mark.parametrize(("question", "what", "said", "expected"), ANSWERS)
def test_an_answer_is_read_off_what_was_found(question, what, said, expected):
    told, as_expected = closer_shown.QUESTIONS[question](made(**what))
    assert said in told and bool(as_expected) == expected


def test_a_verdict_counts_what_was_expected():
    both = [made(), made(**GEMMA)]
    assert closer_shown.verdict_closer(both).key == "expected"
    assert "Of 12 answers 12 came" in closer_shown.verdict_closer(both).sentence
    other = made(
        difference=(-0.5, -0.3), to_word=0.6, same=("MLP0",), size=8, line=0.6, kinds={"invented orders": (16, 0.5)}
    )
    assert closer_shown.verdict_closer([other]).key == "otherwise"
    mixed = closer_shown.verdict_closer([made(query=0.4), made(**GEMMA)])
    assert mixed.key == "mixed" and "its own query matters" in mixed.sentence


DRAWINGS = ["looks", "distractors", "mlps", "neurons", "subspaces"]


@pytest.mark.slow
@pytest.mark.parametrize("what", DRAWINGS)
def test_no_drawing_has_a_fault(what):
    figures.use_style()
    drawing = getattr(closer_shown, f"draw_{what}")([made(), made(**GEMMA)])
    try:
        assert [fault for fig in drawing.panels for fault in figures.faults(fig)] == []
        assert drawing._repr_html_().count("<svg") == 2
    finally:
        plt.close("all")


def test_tables_say_what_holds_of_each_kind_and_each_question():
    table = closer_shown.draw_rarely(made(kinds={"days in French": (2, np.nan)}))
    assert table.frame["verdict"].tolist() == ["the same head"] * 3 + ["does not count", "too little by the rule"]
    assert table.frame.loc[3, "lead lost without it"] == "–" and "<table" in table._repr_html_()
    answers = closer_shown.draw_answers([made(), made(**GEMMA)])
    assert "12 of 12 answers" in answers.caption and "<table" in answers._repr_html_()
    assert answers.frame["question"].tolist() == list(closer_shown.QUESTIONS)


@pytest.mark.slow
def test_the_page_is_made_of_what_comes_with_the_book(tmp_path):
    every = closer.STORED.read_all([*PUBLISHED, "made/up"])
    assert every and {found.model for found in every} <= set(PUBLISHED)
    for found in every:
        assert len(found.rarely) >= 5 and found.n_lists >= 90
        # Nothing is patched, and nothing is lost: what the head writes is its pattern times its values.
        assert found.looks.loc[found.looks["patched"] == "nothing", "lost"].abs().max() < 1e-3
    (tmp_path / "book").mkdir()
    in_depth.write(tmp_path)
    text = PAGE.read_text(encoding="utf8")
    files = sorted(path.name for path in (tmp_path / "book" / "in-depth").iterdir())
    assert files == sorted(line.split("in-depth/")[1] for line in text.splitlines() if line.startswith(":file:"))


# --- lists ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pythia():
    return models.load("grown/pythia", device="cpu")


@pytest.mark.slow
def test_lists_rarely_read_go_on_as_their_text_says(pythia):
    lists = rarely_read.make(pythia.tokenizer, frames_of("confirmation"), seed=0)
    for one in lists.every:
        text = pythia.tokenizer.decode(one.prompt)
        answer = pythia.tokenizer.decode([int(one.resolved.token_ids[one.answer])]).strip()
        word = one.resolved.words[one.answer]
        assert word.startswith(answer) and len(set(one.resolved.token_ids.tolist())) == len(one.resolved.words)
        if one.task in rarely_read.WORDS:
            words, cyclic = rarely_read.WORDS[one.task]
            assert words.index(word) == (words.index(one.resolved.words[one.last]) + 1) % len(words)
            assert cyclic or words.index(word) > 2
        if one.task == "invented orders":
            assert f"After {one.resolved.words[one.last]} comes {word}." in text
        shown = pythia.tokenizer.decode(one.prompt[: len(one.prompt) + one.at + 1])
        assert shown.endswith(one.resolved.words[one.last])
    donors = lists.donor.tolist()
    assert all(
        lists.every[donor].last != one.last for one, donor in zip(lists.every, donors) if one.task != "invented orders"
    )


def test_the_last_digit_is_asked_and_no_list_carries():
    rng = np.random.default_rng(0)
    for one in rarely_read._list_texts("numbers of four digits", rng):
        numbers = [int(number) for number in (*one.shown, one.given + one.answer)]
        assert np.diff(numbers).tolist() == [1, 1, 1] and 1000 <= numbers[0] and numbers[-1] < 10_000
        assert len({number // 10 for number in numbers}) == 1


def test_a_list_told_with_two_members_exchanged_has_all_else_the_same():
    tokenizer, frames = word_tokenizer(), {"there": of_lists.Frame(" there about when ", " ", " some ")}
    lists = of_lists.make(tokenizer, frames, length=3, most=4, parity=1).kept(["letters"])
    told = of_lists.reordered(tokenizer, lists, frames, (0, -1, -2), same_end=False)
    assert set(told) == set(range(len(lists.every)))
    for place, other in told.items():
        prompt = lists.prompts[place]
        changed = [at for at, (a, b) in enumerate(zip(prompt, other)) if a != b]
        assert len(changed) == 2 and changed[1] - len(prompt) == lists.every[place].at
        assert [prompt[at] for at in changed] == [other[at] for at in reversed(changed)]
        assert closer._first_change(prompt, other) == changed[0] - len(prompt)


@pytest.mark.slow
def test_a_distractor_is_neither_shown_nor_the_answer_and_stands_where_it_is_said_to(pythia):
    tokenizer, frames = pythia.tokenizer, frames_of("confirmation")
    lists = of_lists.make(tokenizer, frames, length=3, most=4, parity=1)
    words = closer._distractors(lists, np.random.default_rng(0))
    found = 0
    for one, its in zip(lists.every, words):
        own, n = one.resolved.words, len(one.resolved.words)
        near = {own[(one.last + step) % n] for step in (-2, -1, 0, 1)}
        assert its["same list"] in own and its["same list"] not in near and its["another list"] not in own
        told = closer._distracted(tokenizer, one, frames[one.frame], " After {word} came others.", its["same list"])
        if told is not None:
            other, at, after = told
            assert tokenizer.decode([other.prompt[at]]).strip() == its["same list"] and own[after] != own[one.answer]
            assert other.prompt[other.at :] == one.prompt[one.at :]
            found += 1
    assert found


# --- instruments on what is known -------------------------------------------------------------------


@pytest.fixture(scope="module")
def fetching():
    """A planted circuit of a head that fetches an index and the last MLP that steps it, with its lists."""
    planted = circuits.plant_fetch_and_step(Shape(), word_tokenizer(), seed=0)
    model = planted.open()
    parts = closer.anatomy.of(model)
    lists = of_lists.make(
        model.tokenizer, known.FRAMES["confirmation"], length=1, most=4, parity=None, with_front=False
    )
    return planted, instruments.setting_of(model, parts, lists)


@pytest.mark.slow
def test_of_a_planted_circuit_the_last_mlp_alone_carries_an_index(fetching):
    _, setting = fetching
    found = closer.exchange_mlps(setting, seed=0)
    rows = found[found["share"] > found["null"]]
    last = f"MLP{setting.parts.n_layers - 1}"
    assert set(rows["part"]) == {last} and set(rows["donor"]) == {"same class", "another class"}


@pytest.mark.slow
def test_all_neurons_have_all_of_the_effect_and_the_leading_ones_more_than_random_ones(fetching):
    _, setting = fetching
    layer = setting.parts.n_layers - 1
    found = closer.neurons(setting, setting, layer, seed=0)
    whole = found.iloc[-1]
    assert (
        whole["size"] == whole["width"] and whole["share"] == pytest.approx(1) and whole["random"] == pytest.approx(1)
    )
    # What all neurons write on the donor's list is what the MLP wrote there.
    values, _ = closer.at_last(setting, layer)
    everything = closer._written_by(setting, layer, values, torch.arange(values.shape[1]))
    torch.testing.assert_close(everything, setting.donors.mlps[layer], atol=1e-4, rtol=1e-3)
    few = found[found["size"] < whole["width"] / 2]
    assert (few["share"] > few["random"]).all() and few["share"].iloc[0] > few["random_highest"].iloc[0]


@pytest.mark.slow
def test_the_gradient_of_the_lead_is_what_a_small_change_of_a_neuron_makes(pythia):
    parts = closer.anatomy.of(pythia)
    lists = of_lists.make(pythia.tokenizer, frames_of("confirmation"), length=3, most=2, parity=1).kept(["days"])
    setting, layer, step = instruments.setting_of(pythia, parts, lists), 2, 0.02
    values, slope = closer.at_last(setting, layer)
    for neuron in slope.abs().sum(0).topk(2).indices.tolist():
        leads = []
        for sign in (1, -1):
            moved = values.clone()
            moved[:, neuron] += sign * step
            edit = cached.Edit(layer, None, closer._written_by(setting, layer, moved, torch.arange(0)))
            leads.append(setting.lists.lead(setting.logits([[edit]]))[0])
        torch.testing.assert_close((leads[0] - leads[1]) / (2 * step), slope[:, neuron], atol=2e-2, rtol=5e-2)


@pytest.mark.slow
def test_subspaces_of_a_head_are_learned_on_other_classes_and_all_of_it_is_the_total_effect(fetching):
    planted, setting = fetching
    head = planted.place("mover")
    found = closer.subspaces(setting, setting, head, seed=0).set_index("subspace")
    total = setting.falls([paths.replaced([head], setting.donors)])[0].sum()
    assert total > 0.5 * float(setting.lead.sum()) and found.loc["all of it", "share"] == 1
    shares = [found.loc[name, "share"] for name in found.index if "component" in name]
    assert shares[-1] > shares[0] and shares[-1] > found.loc["16 components", "random_highest"]


def test_bases_are_orthonormal_and_the_line_is_the_direction_of_the_index():
    generator = torch.Generator().manual_seed(0)
    index = torch.arange(40.0)
    along = closer._along(index, np.array(["numbers"] * 40))
    direction, turning = torch.linalg.qr(torch.randn(16, 3, generator=generator))[0].split((1, 2), dim=1)
    z = along[:, :1] @ direction.T
    bases = closer._bases(z - z.mean(0), along - along.mean(0), [1, 4])
    assert bases["line"].T.matmul(direction).abs().item() == pytest.approx(1, abs=1e-4)
    assert bases["1 component"].T.matmul(direction).abs().item() == pytest.approx(1, abs=1e-4)
    z = along[:, 1:] @ turning.T
    found = closer._bases(z - z.mean(0), along - along.mean(0), [1, 4])["circle"]
    torch.testing.assert_close(found @ found.T, turning @ turning.T, atol=1e-3, rtol=0)
    for basis in bases.values():
        torch.testing.assert_close(basis.T @ basis, torch.eye(basis.shape[1]), atol=1e-4, rtol=0)
