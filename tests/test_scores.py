import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from successor_heads import anatomy, exercises, intervals, models, ordinals
from successor_heads.ov_circuit import effective_ov_logits, head_input
from successor_heads.planted.known import macro as joint_by_hand
from successor_heads.scores import (
    CONVENTIONS,
    TIE,
    HeadScores,
    macro_interval,
    paper_interval,
    paper_null,
    paper_scores,
    permutation_null,
    score_heads,
    strict_argmax,
)


def made_scores(successes, *, shape=(2, 3), n=(10, 4)):
    """Scores of two tasks, "long" and "short", in which each (layer, head) has the given successes."""
    predicted, target = {}, {}
    for task, size, column in zip(("long", "short"), n, (0, 1)):
        target[task] = torch.arange(size)
        predicted[task] = torch.full((*shape, size), TIE)
        for (layer, head), counts in successes.items():
            predicted[task][layer, head, : counts[column]] = torch.arange(counts[column])
    return HeadScores(predicted=predicted, target=target)


def test_scores_agree_with_a_loop_over_heads_and_pairs(model, tokenizer):
    parts, classes = anatomy.of(model), ordinals.resolve(tokenizer)
    scores = score_heads(parts, classes)
    for task, resolved in classes.items():
        x = head_input(parts, resolved.token_ids)
        for layer in range(parts.n_layers):
            logits = effective_ov_logits(parts, x, resolved.token_ids, layer=layer)
            for head in range(parts.n_heads):
                for pair, (source, target) in enumerate(zip(resolved.source, resolved.target)):
                    row = logits[head, source]
                    others = torch.cat([row[:target], row[target + 1 :]])
                    assert scores.success[task][layer, head, pair] == bool(row[target] > others.max())
                    assert scores.predicted[task][layer, head, pair] == row.argmax()


def test_micro_pools_pairs_and_macro_averages_classes():
    scores = made_scores({(0, 1): (5, 4), (1, 2): (10, 0)})
    assert scores.micro[0, 1] == 9 / 14 and scores.micro[1, 2] == 10 / 14
    assert scores.macro[0, 1] == 0.75 and scores.macro[1, 2] == 0.5
    assert scores.best == (0, 1)


def test_the_table_is_ordered_by_macro_then_micro_then_place():
    # L1H0 and L0H2 have equal macro; L1H0 wins by micro. All others tie at nothing.
    scores = made_scores({(0, 2): (0, 4), (1, 0): (10, 0)})
    order = list(zip(scores.table["layer"], scores.table["head"]))
    assert order == [(1, 0), (0, 2), (0, 0), (0, 1), (1, 1), (1, 2)]
    assert list(scores.table.columns) == ["layer", "head", "micro", "macro", "long", "short"]
    assert scores.table["macro"].tolist()[:3] == [0.5, 0.5, 0.0]


def test_a_tie_fails():
    logits = torch.tensor([[0.0, 2.0, 1.0], [2.0, 2.0, 1.0], [1.0, 1.0, 1.0], [math.nan, 1.0, 0.0]])
    assert strict_argmax(logits).tolist() == [1, TIE, TIE, TIE]


def test_a_model_that_writes_nothing_scores_zero(checkpoints, tokenizer):
    module = models.load(str(checkpoints["gpt_neox"]))._module
    for layer in module.gpt_neox.layers:
        layer.attention.dense.weight.data.zero_()
    scores = score_heads(anatomy.of(module), ordinals.resolve(tokenizer))
    assert scores.macro.max() == 0 and (scores.predicted["days"] == TIE).all()


def test_a_planted_successor_head_is_found_and_the_bare_embedding_is_a_control(checkpoints, tokenizer):
    """W_V reads MLP0's output of each token off, W_O writes the successor's unembedding."""
    wide = models.load(str(checkpoints["gpt2"]))
    config = wide._module.config
    config.n_embd, config.n_head, config.n_inner = 320, 1, 320
    module = models.untrained_twin(wide)._module
    with torch.no_grad():
        torch.manual_seed(0)
        for weight in (module.transformer.wte.weight, module.transformer.h[0].mlp.c_fc.weight):
            weight.normal_()
        module.lm_head.weight = torch.nn.Parameter(torch.randn_like(module.lm_head.weight))
        classes, parts = ordinals.resolve(tokenizer), anatomy.of(module)
        read = torch.cat([head_input(parts, c.token_ids[c.source]) for c in classes.values()])
        write = torch.cat([parts.unembed(c.token_ids[c.target]).T for c in classes.values()])
        attention = module.transformer.h[1].attn
        attention.c_attn.weight[:, 2 * 320 :] = torch.linalg.pinv(read) @ write
        attention.c_proj.weight.copy_(torch.eye(320))
    scores = score_heads(parts, classes)
    assert scores.best == (1, 0) and scores.macro[1, 0] > 0.97 and scores.macro[0, 0] < 0.3
    assert score_heads(parts, classes, source="embedding").macro[1, 0] < 0.3


def test_classes_without_pairs_are_left_out_of_macro(neox, tokenizer):
    classes = ordinals.resolve(tokenizer)
    empty = torch.empty(0, dtype=torch.long)
    nothing = ordinals.ResolvedClass("days", (), empty, empty, empty, empty, ordinals.CLASSES["days"].words, " ")
    scores = score_heads(anatomy.of(neox), classes | {"days": nothing})
    assert "days" not in scores.success and "days" not in scores.table.columns
    others = [share for task, share in score_heads(anatomy.of(neox), classes).by_task.items() if task != "days"]
    torch.testing.assert_close(scores.macro, torch.stack(others).mean(0))


def test_macro_interval_holds_the_macro_and_depends_on_the_seed_alone():
    scores = made_scores({(0, 0): (60, 20)}, shape=(1, 1), n=(100, 40))
    low, high = macro_interval(scores, 0, 0, seed=1)
    assert low < 0.55 < high
    # Standard error of the mean of two shares: half of sqrt(.24/100 + .25/40).
    assert high - low == pytest.approx(2 * 1.96 * 0.5 * math.sqrt(0.24 / 100 + 0.25 / 40), rel=0.1)
    assert macro_interval(scores, 0, 0, seed=1) == (low, high) != macro_interval(scores, 0, 0, seed=2)


def test_a_perfect_head_is_not_taken_as_certain():
    low, high = macro_interval(made_scores({(0, 0): (10, 4)}, shape=(1, 1)), 0, 0, seed=0)
    assert 0.5 < low < 0.95 < high <= 1


def test_permuted_targets_have_the_mean_of_chance():
    """A head that is always right hits 1/n of n distinct permuted targets on average."""
    scores = made_scores({(0, 0): (10, 4)}, shape=(1, 2))
    null = permutation_null(scores, n_permutations=4000, seed=0)
    assert null.macro.shape == (4000, 1, 2)
    assert null.macro[:, 0, 0].mean() == pytest.approx((1 / 10 + 1 / 4) / 2, abs=0.01)
    assert (null.macro[:, 0, 1] == 0).all()
    torch.testing.assert_close(null.highest, null.macro.amax((1, 2)))


def test_the_null_of_the_best_head_is_above_that_of_one_head(neox, tokenizer):
    scores = score_heads(anatomy.of(neox), ordinals.resolve(tokenizer))
    null = permutation_null(scores, n_permutations=200, seed=0)
    assert null.highest.mean() > null.macro.mean()
    assert torch.equal(null.macro, permutation_null(scores, n_permutations=200, seed=0).macro)
    assert not torch.equal(null.macro, permutation_null(scores, n_permutations=200, seed=1).macro)


@settings(max_examples=30)
@given(hnp.arrays(np.int64, (2, 2, 6), elements=st.integers(-1, 5)), st.permutations(range(6)))
def test_success_is_equality_whatever_is_predicted(predicted, target):
    scores = HeadScores(predicted={"task": torch.from_numpy(predicted)}, target={"task": torch.tensor(target)})
    assert np.array_equal(scores.success["task"].numpy(), predicted == np.array(target))
    torch.testing.assert_close(scores.micro, scores.macro)


def test_heads_that_tie_share_the_first_place_whatever_the_order_of_a_sum():
    """Two heads with the same shares, in classes of other names: added in another order they differ in the last bit."""
    wrong = torch.full((10,), -1)
    predicted, target, ties = {}, {}, [(7, 3, 1, 6), (1, 6, 7, 3)]
    for task, right in zip("abcd", zip(*ties)):
        target[task] = torch.arange(10)
        predicted[task] = torch.stack([torch.where(torch.arange(10) < n, target[task], wrong) for n in right])[None]
    scores = HeadScores(predicted=predicted, target=target)
    assert sum([0.7, 0.3, 0.1, 0.6]) != sum([0.1, 0.6, 0.7, 0.3]), "which is what the shares would give"
    assert scores.macro[0, 0] == scores.macro[0, 1] and scores.best == (0, 0)
    assert exercises.highest(scores.macro) == {(0, 0), (0, 1)}


def test_conventions_change_what_they_say_and_canonical_is_what_is_asked_for_with_no_word(checkpoints, tokenizer):
    parts, classes = anatomy.of(models.load(str(checkpoints["gpt2"]))), ordinals.resolve(tokenizer)
    scored = {name: score_heads(parts, classes, **options) for name, options in CONVENTIONS.items()}
    plain = score_heads(parts, classes)
    assert next(iter(CONVENTIONS)) == "canonical" and CONVENTIONS["canonical"] == {}
    for name, scores in scored.items():
        same = all(torch.equal(scores.predicted[task], plain.predicted[task]) for task in classes)
        assert same == (name == "canonical"), name


def test_joint_lets_all_classes_compete(model, tokenizer):
    parts, classes = anatomy.of(model), ordinals.resolve(tokenizer)
    token_ids = torch.cat([resolved.token_ids for resolved in classes.values()])
    joint = score_heads(parts, classes, joint=True)
    x = head_input(parts, token_ids)
    for layer in range(parts.n_layers):
        logits = effective_ov_logits(parts, x, token_ids, layer=layer)
        torch.testing.assert_close(joint.macro[layer], joint_by_hand(logits, classes, joint=True))
    # To win against all is to win against one's own class.
    within = score_heads(parts, classes)
    assert all((within.success[task] | ~joint.success[task]).all() for task in classes)
    assert joint.target["months"][0] == within.target["months"][0] + sum(
        len(classes[task].words) for task in ordinals.TASKS[: ordinals.TASKS.index("months")]
    )


def test_the_papers_score_pools_tokens_and_takes_any_form_of_the_successor(neox):
    forms = ordinals.surface_forms(neox.tokenizer)
    parts = anatomy.of(neox)
    result = score_heads(parts, forms)
    paper = paper_scores(result, forms)
    right = torch.zeros(parts.n_layers, parts.n_heads)
    n = 0
    for task, resolved in forms.items():
        x = head_input(parts, resolved.token_ids)
        words = [word.strip().lower() for word in resolved.words]
        order = [word.lower() for word in ordinals.CLASSES[task].words]
        for layer in range(parts.n_layers):
            answers = effective_ov_logits(parts, x, resolved.token_ids, layer=layer).argmax(-1)
            for source in resolved.source.tolist():
                follower = order[(order.index(words[source]) + 1) % len(order)]
                right[layer] += torch.tensor([words[int(answer)] == follower for answer in answers[:, source]])
        n += len(resolved.source)
    assert paper.n == n
    torch.testing.assert_close(paper.share, right.double() / n)
    assert paper.share[paper.best] == paper.share.max() and set(paper.by_task) == set(result.success)


def test_forms_of_a_word_stand_or_fall_together_in_the_interval_of_the_papers_score(neox):
    forms = ordinals.surface_forms(neox.tokenizer)
    result = score_heads(anatomy.of(neox), forms)
    paper = paper_scores(result, forms)
    low, high = paper_interval(result, forms, *paper.best)
    share, n = float(paper.share[paper.best]), paper.n
    n_words = sum(len({int(index) for index in resolved.index[resolved.source]}) for resolved in forms.values())
    by_token, by_word = (intervals.wilson(share * of, of) for of in (n, n_words))
    assert by_word[0] - 1e-9 <= low <= by_token[0] + 1e-9 and by_token[1] - 1e-9 <= high <= by_word[1] + 1e-9


def test_the_null_of_the_papers_score_is_of_the_best_head_with_successors_permuted(neox):
    forms = ordinals.surface_forms(neox.tokenizer)
    result = score_heads(anatomy.of(neox), forms)
    null = paper_null(result, forms, n_permutations=3, seed=1)
    generator, expected = torch.Generator().manual_seed(1), []
    for _ in range(3):
        right = torch.zeros(result.macro.shape)
        for task, target in result.target.items():
            permuted = target[torch.randperm(len(target), generator=generator)]
            words = [word.strip().lower() for word in forms[task].words]
            for pair, due in enumerate(permuted.tolist()):
                answers = result.predicted[task][..., pair]
                right += torch.tensor([[int(a) >= 0 and words[int(a)] == words[due] for a in row] for row in answers])
        expected.append(float(right.max()) / sum(map(len, result.target.values())))
    assert null.tolist() == pytest.approx(expected)


def test_surface_forms_go_round_where_the_paper_says(tokenizer):
    forms = ordinals.surface_forms(tokenizer)
    assert len(forms["days"].source) == len(forms["days"].words) == 14
    assert len(forms["day_prefixes"].source) == 12, "Sun has no successor there"
    words = forms["days"].words
    place = forms["days"].source.tolist().index(words.index(" Sunday"))
    assert words[forms["days"].target[place]] == " Monday", "the form of the source"
