"""Chapter 8's further questions: answers from made-up findings, instruments on numbers and models that are known."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from successor_heads import anatomy, cached, figures, models, paths, prompts
from successor_heads.studies.models_of_today import (
    PUBLISHED,
    closer,
    closer_shown,
    further,
    further_shown,
    instruments,
    rarely_read,
)
from successor_heads.studies.models_of_today import frames as frames_of
from successor_heads.studies.models_of_today import lists as of_lists
from successor_heads.studies.models_of_today.further import Further

SMOLLM2 = "published/smollm2"


def made(
    *, model=SMOLLM2, scores=(0.9, -0.8, 0.1, 0.2), permuted=0.45, draws=0.3, circle=(0.2, 0.2), lowest=(-0.1, -0.1),
    crossing=(0.1, 0.1), right=(14, 15), lost=(0.1, 0.2), lead=("L1H2", "MLP1", "MLP2"),
) -> Further:  # fmt: skip  # what an answer looks at
    """A model that answers as SmolLM2 was expected to, its head L1H2, unless something else is said."""
    neurons = [
        (places, part, 10 * place + neuron, score if part == "MLP1" else 0.1, permuted, 0.2, np.abs(scores).mean() if part == "MLP1" else 0.1, draws, -score, 8)
        for places in ("odd", "any")
        for place, part in enumerate(("MLP2", "MLP1"))
        for neuron, score in enumerate(scores)
    ]  # fmt: skip  # a row a line
    values = [("MLP1", neuron, task, at, at * (at - 2.0)) for neuron in (10, 11) for task in ("days", "letters") for at in range(1, 6)]  # fmt: skip
    circles = [
        ("days", True, circle[0], 0.3, 0.15, lowest[0], 7), ("months", True, circle[1], 0.3, 0.15, lowest[1], 12),
        ("letters", False, 0.2, 0.9, 0.15, -0.7, 23),
    ]  # fmt: skip  # a row a line
    digits = [(kind, share, 0.0, 0.5, 0.2, 0.8, 28) for kind, share in zip(rarely_read.NUMBERS, crossing)]
    repeats = [
        (kind, n, n / 16 - 0.2, 1.0, 0.25, 3, 11.0, share, share - 0.05, share + 0.1, 0.2, 0.4, 16)
        for kind, n, share in zip(rarely_read.ANEW, right, lost)
    ]
    means = [(part, part.startswith("M"), 0.9 - 0.1 * place, 0.1, 1.0) for place, part in enumerate((*lead, "L0H0", "MLP0"))]  # fmt: skip
    return Further(
        model=model, head="L1H2", mlps=["MLP2", "MLP1"], seed=0,
        neurons=pd.DataFrame(neurons, columns=["places", "part", "neuron", "score", "permuted", "matched", "mean", "draws", "writes", "classes"]),
        values=pd.DataFrame(values, columns=["part", "neuron", "class", "index", "value"]),
        circles=pd.DataFrame(circles, columns=["class", "cycle", "circle", "line", "permuted", "lowest", "n"]),
        digits=pd.DataFrame(digits, columns=["kind", "share", "low", "high", "null", "own", "n"]),
        repeats=pd.DataFrame(repeats, columns=["kind", "right", "right_low", "right_high", "chance", "without", "without_others", "lost", "low", "high", "others_lost", "attention", "n"]),
        means=pd.DataFrame(means, columns=["part", "is_mlp", "share", "low", "high"]),
    )  # fmt: skip  # as a table


GEMMA = {"model": closer_shown.GEMMA, "circle": (0.5, 0.6), "lowest": (0.1, 0.1), "crossing": (0.7, 0.6)}
NEURONS, ROUND, DIGITS, REPEATS, MEANS = further_shown.QUESTIONS
# What an answer says, and whether it had been expected, by the question and what was found.
ANSWERS = [
    (NEURONS, {}, "MLP1: 2 of 4 move with the index (10, 11); in common in MLP1", True),
    (NEURONS, {"scores": (0.9, 0.4, 0.1, 0.2)}, "in common in neither", False),  # one neuron is not some
    (NEURONS, {"permuted": 0.95}, "MLP1: 0 of 4", False),  # the index permuted does as well
    (NEURONS, {"draws": 0.6}, "2 of 4 move with the index (10, 11); in common in neither", False),  # and so do others
    (ROUND, {}, "goes round in no list", True),
    (ROUND, {"circle": (0.5, 0.2), "lowest": (0.1, 0.1)}, "goes round in days", False),
    (ROUND, {"circle": (0.5, 0.2)}, "in no list", True),  # not with each frame left out
    (ROUND, GEMMA, "days and months", True),
    (ROUND, GEMMA | {"lowest": (0.1, -0.1)}, "in days", False),
    (DIGITS, {}, "numbers below 100 10% (shuffled 20%)", True),
    (DIGITS, {"crossing": (0.3, 0.1)}, "below 100 30%", False),
    (DIGITS, GEMMA, "four digits 60%", True),
    (REPEATS, {}, "words repeated 14 of 16, days repeated 15 of 16; L1H2 is needed for neither", True),
    (REPEATS, {"right": (7, 15)}, "needed for neither", False),  # one of which it cannot do
    (REPEATS, {"right": (7, 6), "lost": (0.9, 0.9)}, "too few to ask for the head", False),
    (REPEATS, {"lost": (0.1, 0.6)}, "needed for days repeated", False),
    (MEANS, {}, "the same parts lead: L1H2 90%, MLP1 80%, MLP2 70%", True),
    (MEANS, {"lead": ("L1H2", "MLP3", "MLP2")}, "other parts lead", False),
    (MEANS, {"lead": ("L1H0", "MLP1", "MLP2")}, "other parts lead", False),
]


@pytest.mark.parametrize(("question", "what", "said", "expected"), ANSWERS)
def test_an_answer_is_read_off_what_was_found(question, what, said, expected):
    told, as_expected = further_shown.QUESTIONS[question](made(**what))
    assert said in told and bool(as_expected) == expected


def test_verdicts_say_how_many_share_and_how_many_were_expected():
    both, none = [made(), made(**GEMMA)], made(permuted=0.95)
    verdicts = [further_shown.verdict_neurons(found) for found in (both, [made(), none], [none])]
    assert [verdict.key for verdict in verdicts] == ["shared", "some", "none"]
    assert further_shown.verdict_further(both).key == "expected"
    assert further_shown.verdict_further([made(permuted=0.95), made(**GEMMA)]).key == "mixed"
    wrong = made(permuted=0.95, circle=(0.5, 0.5), lowest=(0.1, 0.1), crossing=(0.5, 0.1), lost=(0.6, 0.6), lead=("L0H0", "MLP1", "MLP2"))  # fmt: skip
    assert further_shown.verdict_further([wrong]).key == "otherwise"


@pytest.mark.slow
def test_tables_and_the_drawing_have_no_fault():
    figures.use_style()
    both = [made(), made(**GEMMA)]
    assert "10 of 10 answers" in further_shown.draw_answers(both).caption
    table = further_shown.draw_neurons(made())
    assert table.frame["from any place"].tolist() == ["+0.10"] * 4 + ["+0.90*", "-0.80*", "+0.10", "+0.20"]
    assert "<table" in table._repr_html_()
    drawing = further_shown.draw_values(both)
    try:
        assert [fault for fig in drawing.panels for fault in figures.faults(fig)] == []
        assert drawing._repr_html_().count("<svg") == 4
    finally:
        plt.close("all")


def test_what_comes_with_the_book_is_of_the_head_that_the_chapter_names():
    every = further.STORED.read_all([*PUBLISHED, "made/up"])
    assert every and {found.model for found in every} <= set(PUBLISHED)
    for found in every:
        assert found.head == closer.STORED.read(found.model).head and len(found.neurons) == 4 * further.LEADING
        # The neurons are those that the closer questions found to lead.
        named = closer.STORED.read(found.model).neurons.groupby("part")["which"].first()
        first = found.neurons.groupby("part").first()["neuron"]
        assert {part: str(neuron) for part, neuron in first.items()} == named.to_dict()


# --- instruments on what is known -------------------------------------------------------------------


def test_a_rank_correlation_is_that_of_pandas_and_none_where_nothing_varies():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=9), rng.normal(size=(9, 3)).round(1)
    y[:, 2] = 1.0
    by_pandas = [pd.Series(x).corr(pd.Series(column), method="spearman") for column in y.T[:2]]
    assert further.rank_correlation(x[:, None], y) == pytest.approx([*by_pandas, 0.0])


def test_a_neuron_that_falls_in_all_lists_scores_and_one_that_falls_in_half_of_them_does_not():
    index = np.arange(1, 6)
    falls, both = -(index[:, None] ** 3.0), index[:, None] * 1.0
    scores = further.index_scores([(index, np.hstack([falls, both])), (index, np.hstack([falls, -both]))])
    assert scores.tolist() == [-1.0, 0.0]


def test_neurons_agree_where_like_indices_of_other_lists_have_like_values():
    rng = np.random.default_rng(0)
    bump = np.exp(-((np.arange(1, 13) - 5.0) ** 2) / 4)
    classes = ("months", "letters", "number_words", "days")
    rows = [
        ("MLP1", neuron, task, at, bump[at - 1] if neuron == 7 else rng.normal())
        for neuron in (7, 8)
        for task in classes
        for at in range(1, 8 if task == "days" else 13)
    ]
    table = further.agreement(pd.DataFrame(rows, columns=["part", "neuron", "class", "index", "value"]), seed=0)
    assert table["agreement"].iloc[0] == pytest.approx(1) and table["pairs"].tolist() == [6, 6]
    assert table["agreement"].iloc[1] < table["permuted"].iloc[1] < 0.9
    # A list and the same one in short say the same words.
    frame = pd.DataFrame(rows, columns=["part", "neuron", "class", "index", "value"])
    same = frame[frame["class"].isin(["days", "letters"])]
    both = pd.concat([same, same[same["class"] == "days"].assign(**{"class": "day_prefixes"})])
    assert further.agreement(both, seed=0)["pairs"].tolist() == [2, 2]


@pytest.mark.parametrize(("angles", "is_round"), [(np.arange(7) / 7, True), (np.arange(7) / 14, False)])
def test_a_circle_is_told_from_an_arc_that_does_not_close(angles, is_round):
    points = np.stack([np.cos(2 * np.pi * angles), np.sin(2 * np.pi * angles)], axis=1)
    circle, line = further._by_circle_and_line(points, np.arange(1, 8), 7)
    assert (circle > line) == is_round and max(circle, line) > 0.9


@pytest.fixture(scope="module")
def pythia():
    return models.load("grown/pythia", device="cpu")


@pytest.fixture(scope="module")
def setting(pythia):
    lists = of_lists.make(pythia.tokenizer, frames_of("confirmation"), length=3, most=4, parity=1).kept(
        ["letters", "days"]
    )
    return instruments.setting_of(pythia, anatomy.of(pythia), lists)  # fmt: skip


@pytest.mark.slow
def test_values_at_work_are_those_that_the_parts_write(pythia, setting):
    head, layer = (1, 0), 2
    handed, active = further.at_work(pythia, setting.lists, head, [layer], batch_size=7)
    torch.testing.assert_close(handed, setting.intact.heads[head], atol=1e-4, rtol=1e-4)
    own, _ = closer.at_last(setting, layer)
    torch.testing.assert_close(active[layer], own, atol=1e-4, rtol=1e-4)
    assert (handed - setting.intact.heads[1, 1]).abs().max() > 0.01


@pytest.mark.slow
def test_matches_differ_as_much_between_lists_and_are_none_of_the_leading(setting):
    own, _ = closer.at_last(setting, 2)
    leading = closer.ranked(*closer.at_last(setting, 2), setting.lists)[: further.LEADING].numpy()
    matched = further.matches(own, setting.lists, leading)
    assert not set(matched.ravel()) & set(leading)
    groups = instruments.groups_of(setting.lists)
    rows = pd.DataFrame(own.numpy())
    spread = (rows - rows.groupby(groups).transform("mean")).pow(2).mean().pow(0.5).to_numpy()
    apart = np.abs(spread[matched] - spread[leading][:, None])
    assert (apart.max(1) <= np.median(np.abs(spread[None] - spread[leading][:, None]), axis=1)).all()


def test_what_a_neuron_promotes_is_its_row_of_the_output(pythia, setting):
    parts, layer, neuron = setting.parts, 2, 5
    width = closer.at_last(setting, layer)[0].shape[1]
    promoted = further.what_is_promoted(parts, layer, np.eye(width)[[neuron]], setting.lists, ["days"])
    weight = pythia._module.get_submodule(f"{parts.blocks_path}.{layer}.{parts.mlp_out_path}").weight[:, neuron]
    days = next(one.resolved for one in setting.lists.every if one.task == "days")
    (index, logits) = promoted[0]
    by_hand = parts.logits(weight.detach()[None], days.token_ids)[0].detach()
    np.testing.assert_allclose(logits[:, 0], by_hand.numpy(), atol=1e-4)
    assert index.tolist() == days.index.tolist()


def test_a_list_that_repeats_goes_on_with_what_followed_before(pythia):
    lists = rarely_read.make(pythia.tokenizer, frames_of("confirmation"), kinds=list(rarely_read.ANEW), seed=0)
    assert {one.task for one in lists.every} == set(rarely_read.ANEW)
    for one in lists.every:
        text = pythia.tokenizer.decode(one.prompt)
        answer, last = (one.resolved.words[place] for place in (one.answer, one.last))
        first = text.find(last)
        assert first < text.rfind(last) and text[first + len(last) :].lstrip(" ,;->\n").split()[-1]
        following = min(
            (text.find(word, first + 1), word) for word in one.resolved.words if text.find(word, first + 1) > 0
        )
        assert following[1] == answer
        if one.task == "days repeated":
            days = rarely_read.ANEW["days repeated"]
            assert answer != days[(days.index(last) + 1) % 7], "to count would be wrong"


def test_donors_across_tens_have_other_digits_and_other_tens(pythia):
    lists = rarely_read.make(
        pythia.tokenizer, frames_of("confirmation"), kinds=["numbers of four digits"], most=7, seed=0
    )
    donors = further.other_tens(pythia.tokenizer, lists)
    texts = [pythia.tokenizer.decode(one.prompt).split() for one in lists.every]
    for place, donor in enumerate(donors):
        assert donor is not None and lists.every[donor].frame == lists.every[place].frame
        assert texts[donor][-1] != texts[place][-1] and lists.every[donor].last != lists.every[place].last


def test_a_part_without_its_mean_is_that_part_ablated_by_its_mean(pythia, setting):
    table = further.without_means(setting, seed=0).set_index("part")
    some = setting.lists.at(range(0, len(setting.lists.every), 2))
    mean = prompts.mean_head_outputs(pythia, setting.lists.prompts)[1, 0]
    variants = [[], [cached.Edit(1, 0, mean)], [cached.Edit(1, 1, mean)]]
    leads = some.lead(cached.logits_of_variants(pythia, some.prompts, variants, some.token_ids)).sum(1)
    shares = 1 - leads / leads[0]
    assert table.loc["L1H0", "share"] == pytest.approx(float(shares[1]), abs=1e-4)
    assert abs(table.loc["L1H0", "share"] - float(shares[2])) > 0.01
    assert len(table) == len(paths.all_parts(setting.parts))
