"""Effects in text against hooks and against one context at a time; rules on written cases; planted behaviours; odd texts."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
import torch
from bs4 import BeautifulSoup
from tokenizers.processors import TemplateProcessing

from successor_heads import anatomy, figures, tracing, wild
from successor_heads.errors import UserError
from successor_heads.planted import calibrate, words
from successor_heads.planted.plant import Plan, plant
from successor_heads.planted.prompts import prompts as planted_prompts


@pytest.fixture(scope="module")
def contexts(tokenizer):
    generator = torch.Generator().manual_seed(3)
    return torch.randint(4, len(tokenizer), (5, 9), generator=generator)


def reference_of(model, contexts, batch_size=2):
    return tracing.reference_outputs(model, contexts, n_drawn=7, seed=0, batch_size=batch_size)


def hooked(model, ids, *, edit=None):
    """Logits of one context from the plain module, its head outputs [layer, position, ...], and the input of the final norm."""
    parts, seen, handles = anatomy.of(model._module), [], []

    def visit(layer):
        def hook(_, args):
            changed = args[0].clone()
            if edit is not None:
                edit(layer, changed)
            seen.append(changed[0])
            return (changed,)

        return hook

    for layer in range(parts.n_layers):
        handles.append(parts.output_projection(layer).register_forward_pre_hook(visit(layer)))
    stream = []
    norm = model._module.get_submodule(parts.final_norm_path)
    handles.append(norm.register_forward_pre_hook(lambda _, args: stream.append(args[0][0])))
    with torch.no_grad():
        logits = model._module(ids[None]).logits[0]
    for handle in handles:
        handle.remove()
    return logits, torch.stack(seen).unflatten(-1, (parts.n_heads, parts.d_head)), stream[0]


def test_the_reference_is_the_mean_over_all_positions_and_some_of_the_outputs(model, contexts):
    reference = reference_of(model, contexts)
    outputs = torch.cat([hooked(model, ids)[1] for ids in contexts], 1)  # [layer, place, head, d_head]
    torch.testing.assert_close(reference.mean, outputs.mean(1), atol=1e-5, rtol=0)
    for drawn in reference.drawn:
        assert (outputs - drawn[:, None]).abs().amax((0, 2, 3)).min() < 1e-5
    other_batches = reference_of(model, contexts, batch_size=5)
    torch.testing.assert_close(reference.drawn, other_batches.drawn, atol=1e-5, rtol=0)


def test_direct_effects_are_those_of_a_changed_stream(model, contexts):
    """Each kind of ablation by hand, with the module's own norm and unembedding; and the wrong head as a control."""
    parts, reference = anatomy.of(model), reference_of(model, contexts)
    draws = torch.randint(7, (5, 8), generator=torch.Generator().manual_seed(1))
    found = tracing.effects_in_text(model, contexts, reference=reference, draws=draws)
    norm = model._module.get_submodule(parts.final_norm_path)
    w_u = model._module.get_output_embeddings().weight
    gaps = []
    for context, ids in enumerate(contexts):
        logits, outputs, stream = hooked(model, ids)
        for prefix in range(8):
            answer = ids[prefix + 1]
            torch.testing.assert_close(found.logit[context, prefix], logits[prefix, answer], atol=1e-4, rtol=0)
            loss = torch.nn.functional.cross_entropy(logits[prefix], answer)
            torch.testing.assert_close(found.loss[context, prefix], loss, atol=1e-4, rtol=0)
            for layer, head in [(0, 0), (1, parts.n_heads - 1)]:
                z = outputs[layer, prefix, head]
                drawn = reference.drawn[draws[context, prefix], layer, head]
                for kind, instead in {"mean": reference.mean[layer, head], "zero": 0 * z, "resample": drawn}.items():
                    with torch.no_grad():
                        without = norm(stream[prefix] - (z - instead) @ parts.w_o(layer)[head]) @ w_u[answer]
                    fall = logits[prefix, answer] - without
                    values = getattr(found, kind)[context, prefix, layer]
                    torch.testing.assert_close(values[head], fall, atol=1e-4, rtol=0)
                    gaps.append((values[(head + 1) % parts.n_heads] - fall).abs())
    assert torch.stack(gaps).max() > 1e-2


def test_attended_positions_are_the_highest_of_the_pattern(model, contexts):
    draws = torch.zeros(5, 8, dtype=torch.long)
    found = tracing.effects_in_text(model, contexts, reference=reference_of(model, contexts), draws=draws)
    with torch.no_grad():
        patterns = torch.stack(
            model._module(contexts, output_attentions=True).attentions
        )  # [layer, context, head, ...]
    for context, prefix, layer, head in [(0, 0, 0, 0), (1, 2, 1, 1), (4, 7, 0, 2)]:
        row = patterns[layer, context, head, prefix, : prefix + 1].sort(descending=True)
        n = min(5, prefix + 1)
        assert found.attended[context, prefix, layer, head].tolist() == row.indices[:n].tolist() + [-1] * (5 - n)
        torch.testing.assert_close(found.weight[context, prefix, layer, head, :n], row.values[:n], atol=1e-5, rtol=0)


def test_the_parts_sum_to_the_logit_of_the_intact_and_of_the_ablated_run(model, contexts):
    prompts = [row[: 3 + place].tolist() for place, row in enumerate(contexts)]
    answers, mean = contexts[:, -1], reference_of(model, contexts).mean
    last = anatomy.of(model).n_layers - 1
    for heads in ([], [(last, 1), (0, 0)]):
        parts = tracing.logit_parts(model, prompts, answers, heads=heads, mean=mean)
        logits = tracing.logits_without(model, prompts, heads, mean=mean)
        expected = logits.gather(1, answers[:, None])[:, 0]
        torch.testing.assert_close(sum(parts.values()), expected, atol=1e-4, rtol=0)
    heads_alone = sum(values for name, values in parts.items() if "H" in name)
    assert (heads_alone - expected).abs().max() > 1e-2


def test_frozen_effects_are_the_heads_parts_of_the_logit(model, contexts):
    draws = torch.zeros(5, 8, dtype=torch.long)
    reference = reference_of(model, contexts)
    found = tracing.effects_in_text(model, contexts, reference=reference, draws=draws)
    parts = tracing.logit_parts(model, contexts[:, :-1].tolist(), contexts[:, -1], mean=reference.mean)
    for layer in range(2):
        for head in range(anatomy.of(model).n_heads):
            torch.testing.assert_close(found.frozen[:, -1, layer, head], parts[f"L{layer}H{head}"], atol=1e-4, rtol=0)


def test_batches_of_contexts_and_prompts_give_what_each_gives_alone(model, contexts):
    reference = reference_of(model, contexts)
    draws = torch.randint(7, (5, 8), generator=torch.Generator().manual_seed(1))
    together = tracing.effects_in_text(model, contexts, reference=reference, draws=draws)
    for place in range(5):
        one = slice(place, place + 1)
        alone = tracing.effects_in_text(model, contexts[one], reference=reference, draws=draws[one])
        for name in together._fields:
            torch.testing.assert_close(getattr(together, name)[one], getattr(alone, name), atol=1e-4, rtol=0)
    prompts = [row[: 2 + place].tolist() for place, row in enumerate(contexts)]
    answers = torch.tensor([int(row[len(prompt)]) for row, prompt in zip(contexts, prompts)])
    at_end = tracing.direct_effects_at_end(model, prompts, answers, mean=reference.mean, batch_size=3)
    for place, prompt in enumerate(prompts):
        torch.testing.assert_close(at_end[place], together.mean[place, len(prompt) - 1], atol=1e-4, rtol=0)


def test_ablation_in_text_is_at_every_position_and_gradients_agree_where_it_is_small(model, contexts):
    parts, reference = anatomy.of(model), reference_of(model, contexts)
    heads = [(1, 1), (0, 2)]
    logit, loss = tracing.ablated_in_text(model, contexts, heads, mean=reference.mean, batch_size=2)

    def edit(layer, z):
        for at, head in heads:
            if at == layer:
                z[..., head * parts.d_head : (head + 1) * parts.d_head] = reference.mean[layer, head]

    for context, ids in enumerate(contexts):
        logits, _, _ = hooked(model, ids, edit=edit)
        torch.testing.assert_close(logit[context], logits[:-1].gather(1, ids[1:, None])[:, 0], atol=1e-4, rtol=0)
        expected = torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="none")
        torch.testing.assert_close(loss[context], expected, atol=1e-4, rtol=0)

    # A step of a thousandth towards the mean: there the first order is all there is.
    found = tracing.gradient_attribution(model, contexts, mean=reference.mean)
    intact, _ = tracing.ablated_in_text(model, contexts, [], mean=reference.mean, batch_size=5)
    for layer, head in [(0, 1), (1, 0)]:

        def step(at, z, layer=layer, head=head):
            if at == layer:
                columns = slice(head * parts.d_head, (head + 1) * parts.d_head)
                z[..., columns] += 1e-3 * (reference.mean[layer, head] - z[..., columns])

        for context, ids in enumerate(contexts):
            logits, _, _ = hooked(model, ids, edit=step)
            fall = (intact[context] - logits[:-1].gather(1, ids[1:, None])[:, 0]).sum() / 1e-3
            assert abs(fall - found[context, layer, head]) < 0.05 + 0.05 * abs(fall)


def test_models_whose_heads_cannot_be_told_apart_are_refused(checkpoints, contexts):
    from successor_heads import models

    for family in ("gemma2", "olmo2"):
        with pytest.raises(UserError, match="a norm stands behind attention"):
            reference_of(models.load(str(checkpoints[family])), contexts)


# --- rules -----------------------------------------------------------------------------------------

WRITTEN = [  # attended tokens, most first; the answer; what a reader would say
    ("7", "8", "successorship"),
    (" 99", " 100", "successorship"),
    ("1998", "1999", "successorship"),
    (" 0", " 1", "successorship"),
    ("07", "08", "successorship"),
    (" Monday", " Tuesday", "successorship"),
    ("Sunday", " Monday", "successorship"),
    (" monday", " Tuesday", "successorship"),
    (" SUNDAY", " MONDAY", "successorship"),
    (" Sat", " Sun", "successorship"),
    (" Sun", " Mon", "successorship"),
    (" December", " January", "successorship"),
    ("Dec", "Jan", "successorship"),
    (" may", " june", "successorship"),
    (" May", " Jun", "successorship"),
    (" May", " June", "successorship"),
    (" nine", " ten", "successorship"),
    (" Nine", " ten", "successorship"),
    (" first", " second", "successorship"),
    ("A", "B", "successorship"),
    (" I", " J", "successorship"),
    (" I", " II", "successorship"),
    (" IX", " X", "successorship"),
    ("\n3", "4", "successorship"),
    (" Z", " A", "other"),  # letters go round for nobody
    (" twenty", " one", "other"),
    (" tenth", " first", "other"),
    ("8", "7", "other"),
    (" Tuesday", " Monday", "other"),
    ("a", "b", "other"),  # small letters are pieces of words
    (" Monday", " Feb", "other"),
    (" two", " 3", "other"),  # not within a class
    (" second", " three", "other"),
    (" 27th", " 28th", "other"),
    (" 1,000", " 1,001", "other"),
    ("³", "⁴", "other"),  # digits to Python, no numerals to us
    ("٣", "٤", "other"),
    ("", "1", "other"),
    (" ", " ", "other"),
    ("\n", "\n", "other"),
    ("7", "", "other"),
    ("\ufffd", "\ufffd", "other"),
    (" Window", "W", "acronym"),
    (" Window", " WHO", "acronym"),
    ("Ärzte", "Ä", "acronym"),
    (" window", "W", "other"),  # no capital to take
    (" Window", "w", "other"),
    (" Window", "Wi", "other"),
    (" Window", "N", "other"),
    (" Window", "WINDOWS", "other"),  # too long for an acronym
    ("W", "WHO", "other"),  # a letter is no word
    (" NASA", "N", "other"),  # an acronym is not spelt from one
    (" NASA", " NASA", "copying"),
    (" the", " The", "copying"),
    ("17", " 17", "copying"),
    (" A", "A", "copying"),
    ("__init__", "__init__", "copying"),
    (",", ",", "other"),  # commas are everywhere
    ("...", "...", "other"),
    (" straße", " STRASSE", "other"),
    ("7", "9", "greater-than"),
    (" 1743", " 1750", "greater-than"),
    (" Monday", " Friday", "greater-than"),
    (" January", " December", "greater-than"),
    ("A", "C", "greater-than"),
    (" X", " XII", "greater-than"),
    (" 9", " 7", "other"),
    (" Friday", " Monday", "other"),
]


@pytest.mark.parametrize(("read", "answer", "expected"), WRITTEN)
def test_rules_say_what_a_reader_would(read, answer, expected):
    assert wild.behaviour([read], answer) == expected


def test_the_first_token_with_an_exact_rule_decides_and_greater_than_comes_last():
    assert wild.behaviour([" Window", " 7", " 3"], " 8") == "successorship"
    assert wild.behaviour([" 8", " 7"], " 8") == "copying"
    assert wild.behaviour([" 7", " 8"], " 8") == "successorship"
    assert wild.behaviour([" H", " I"], " J") == "successorship"
    assert wild.behaviour([" H"], " J") == "greater-than"
    assert wild.behaviour([" March", " 1998", " ("][:1], " 1999") == "other"
    assert wild.behaviour([], " 1999") == "other"


def test_more_attended_tokens_leave_a_named_exact_behaviour_as_it_is():
    rng = np.random.default_rng(0)
    words = [read for read, _, _ in WRITTEN]
    for _ in range(300):
        read, answer = list(rng.choice(words, 5)), rng.choice([answer for _, answer, _ in WRITTEN])
        one, five = wild.behaviour(read[:1], answer), wild.behaviour(read, answer)
        assert one in (five, "other", "greater-than")


# --- winners, shares, nulls ------------------------------------------------------------------------


def test_a_winner_is_alone_and_above_zero():
    effects = torch.tensor([[[1.0, 3], [2, 0]], [[1, 3], [3, 0]], [[-1, -2], [-3, -4]], [[0, 0], [0, 0.5]]])
    assert wild.winners(effects).tolist() == [1, -1, -1, 3]


def test_shares_are_resampled_by_context():
    share, low, high = wild.share_interval(np.array([10, 0, 10, 0]), np.array([10, 10, 10, 10]), seed=0)
    assert share == 0.5 and low == 0 and high == 1  # four contexts, not forty cases
    share, low, high = wild.share_interval(np.full(40, 1), np.full(40, 2), seed=0)
    assert (share, low, high) == (0.5, 0.5, 0.5)
    assert np.isnan(wild.share_interval(np.zeros(3), np.zeros(3), seed=0)).all()


def test_dealt_answers_keep_the_answers_and_lose_the_order():
    reads = [[" Monday"], [" Tuesday"], [" Window"], [" 7"]] * 10
    cases = pd.DataFrame({"read": reads, "answer": [" Tuesday", " Wednesday", "W", "8"] * 10})
    chance = wild.dealt_shares(cases, top=1, seed=0, n_deals=200)
    assert sum(chance.values()) == pytest.approx(1)
    assert chance["acronym"] == pytest.approx(
        1 / 16, abs=0.02
    )  # one in four of the words meets one in four of the answers
    assert chance["successorship"] == pytest.approx(3 / 16, abs=0.03)


def test_answers_dealt_within_a_context_keep_what_it_is_about():
    days = [([" Monday"], " Tuesday"), ([" Tuesday"], " Wednesday")] * 10
    letters = [([" Window"], "W")] * 20
    cases = pd.DataFrame(days + letters + [([" 7"], "8")], columns=["read", "answer"])
    cases["context"] = [0] * 20 + [1] * 20 + [2]
    chance = wild.dealt_shares(cases, top=1, seed=0, n_deals=200, within="context")
    assert chance["acronym"] == 1 / 2  # the context holds nothing else, and the case that is alone is left out
    assert chance["successorship"] == pytest.approx(9 / 19 / 2, abs=0.02)  # one of the nine others with this answer
    assert chance["copying"] == pytest.approx(5 / 19 / 2, abs=0.02)


def test_shuffled_effects_keep_words_and_last_token_and_lose_the_order(neox, contexts):
    reference = reference_of(neox, contexts)
    places = torch.tensor([[0, 7], [3, 1], [2, 5]])
    found = wild.shuffled_effects(neox, contexts, places, mean=reference.mean, seed=0)
    draws = torch.zeros(5, 8, dtype=torch.long)
    intact = tracing.effects_in_text(neox, contexts, reference=reference, draws=draws).mean
    # Of a prefix of two tokens only one order keeps the last in place.
    torch.testing.assert_close(found[1], intact[3, 1], atol=1e-4, rtol=0)
    assert (found[0] - intact[0, 7]).abs().max() > 1e-2
    torch.testing.assert_close(found, wild.shuffled_effects(neox, contexts, places, mean=reference.mean, seed=0))


# --- planted behaviours ----------------------------------------------------------------------------

ROLES = {"successor": "successorship", "acronym": "acronym", "copy": "copying"}


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_shares_of_behaviours_are_the_planted_ones(family):
    planted = plant(Plan(family, 1, calibrate.SMALL[family], in_context=True), words.word_tokenizer())
    model, rows, counts = planted.open(), [], {"successor": 12, "acronym": 6, "copy": 18}
    for role, n in counts.items():
        for text, answer in zip(*planted_prompts(model.tokenizer, role, n=n, seed=2)[::2]):
            rows.append([*model.tokenizer(text)["input_ids"], int(answer)])
    contexts = torch.tensor(rows)
    effects, _ = wild.measure(model, contexts, seed=0)
    tokens = [tracing.token_texts(model.tokenizer, row) for row in contexts]
    last, named = contexts.shape[1] - 2, {}
    for role in counts:
        layer, head = planted.place(role)
        cases = wild.winning_cases(tokens, effects, layer=layer, head=head)
        named[role] = cases[cases["prefix"] == last]["behaviour_3"].value_counts().to_dict()
    assert named == {role: {ROLES[role]: n} for role, n in counts.items()}


# --- texts -----------------------------------------------------------------------------------------


def some_text(*documents):
    return wild.Text("some", list(documents), True)


def test_contexts_are_cut_from_the_text_and_from_nothing_else(tokenizer):
    days = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
    cut = wild.cut(tokenizer, some_text(days, "", "  \n", days), n=5, length=4, seed=0)
    assert cut.shape == (4, 4)  # sixteen tokens: two documents of seven, and an end behind each
    stream = [*tokenizer(days)["input_ids"], 1] * 2
    assert sorted(cut.tolist()) == sorted(stream[place : place + 4] for place in range(0, 16, 4))
    fewer = wild.cut(tokenizer, some_text(days, days), n=2, length=4, seed=0)
    assert len(fewer) == 2 and (fewer == wild.cut(tokenizer, some_text(days, days), n=2, length=4, seed=0)).all()


def test_contexts_come_from_as_many_documents_as_there_are(tokenizer):
    words = [" Monday", " Tuesday", " Wednesday", " Thursday"]
    lengths = (39, 7, 3, 7)  # with the end behind each, whole contexts of four
    documents = some_text(*(word * length for word, length in zip(words, lengths)))
    of = {tokenizer(word)["input_ids"][0]: word for word in words}
    for n, counts in ((4, [1, 1, 1, 1]), (7, [2, 2, 1, 2])):  # not most of them of the long one
        for seed in range(5):
            begins = [of[row[0].item()] for row in wild.cut(tokenizer, documents, n=n, length=4, seed=seed)]
            assert [begins.count(word) for word in words] == counts


def test_a_tokenizer_that_begins_texts_begins_contexts(tokenizer):
    beginning = copy.deepcopy(tokenizer)
    beginning.bos_token = "<unk>"
    beginning._tokenizer.post_processor = TemplateProcessing(single="<unk> $A", special_tokens=[("<unk>", 0)])
    cut = wild.cut(beginning, some_text("Monday Tuesday Wednesday Thursday Friday"), n=9, length=4, seed=0)
    assert cut[:, 0].tolist() == [0, 0] and (cut[:, 1:] > 0).all()


@pytest.mark.parametrize(
    ("documents", "sentence"),
    [([], "holds 0 tokens, fewer than the 8"), ([""], "holds 0 tokens"), (["Monday Tuesday"], "holds 3 tokens")],
)
def test_text_that_is_too_short_is_refused_in_one_sentence(tokenizer, documents, sentence):
    with pytest.raises(UserError, match=sentence):
        wild.cut(tokenizer, some_text(*documents), n=2, length=8, seed=0)


def test_contexts_without_a_prefix_or_beyond_the_window_are_refused(neox, tokenizer):
    with pytest.raises(UserError, match="no prefix with a next token"):
        wild.cut(tokenizer, some_text("Monday Tuesday"), n=2, length=1, seed=0)
    window = neox._module.config.max_position_embeddings
    with pytest.raises(UserError, match=f"reads {window} tokens at once"):
        wild.measure(neox, torch.zeros(1, window + 1, dtype=torch.long), seed=0)


def test_one_token_repeated_gives_numbers_and_no_error(model, tokenizer):
    contexts = wild.cut(tokenizer, some_text(" Monday" * 60), n=3, length=12, seed=0)
    effects, _ = wild.measure(model, contexts, seed=0)
    assert all(torch.isfinite(values).all() for values in effects)
    tokens = [tracing.token_texts(tokenizer, row) for row in contexts]
    parts = anatomy.of(model)
    cases = [
        wild.winning_cases(tokens, effects, layer=layer, head=h) for layer in range(2) for h in range(parts.n_heads)
    ]
    named = pd.concat(cases)["behaviour_1"].unique().tolist()
    assert named in ([], ["copying"])


def test_folders_are_read_and_what_is_wrong_with_them_is_said(tmp_path):
    with pytest.raises(UserError, match="There is no folder"):
        wild.read(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="holds no text files"):
        wild.read(str(tmp_path))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.md").write_text("Monday", encoding="utf8")
    (tmp_path / "b.txt").write_text("", encoding="utf8")
    (tmp_path / "c.bin").write_bytes(b"\xff\xfe")
    read = wild.read(str(tmp_path))
    assert sorted(read.documents) == ["", "Monday"] and read.natural
    (tmp_path / "d.txt").write_bytes(b"Monday \xff\xfe")
    with pytest.raises(UserError, match=r"d\.txt is not UTF-8 \(at byte 7\)"):
        wild.read(str(tmp_path))


def test_text_of_each_source_is_marked_and_the_seed_decides_its_order():
    generated = wild.read("generated")
    assert not generated.natural and len(generated.documents) > 1000
    assert sorted(generated.documents[:50]) != sorted(wild.read("generated", seed=1).documents[:50])
    found = wild.read("documentation")
    assert found.natural and sum(map(len, found.documents)) > 200_000


def test_the_pile_is_one_pinned_file_of_the_hub(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    asked = {}

    def stand_in(**request):
        asked.update(request)
        pd.DataFrame({"text": ["Monday", "Tuesday"], "other": [1, 2]}).to_parquet(tmp_path / "x.parquet")
        return str(tmp_path / "x.parquet")

    monkeypatch.setattr(wild, "hf_hub_download", stand_in)
    assert sorted(wild.read("pile").documents) == ["Monday", "Tuesday"]
    assert asked["repo_type"] == "dataset" and len(asked["revision"]) == 40 and asked["filename"].endswith(".parquet")


def test_without_the_hub_the_pile_is_refused_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="pile-10k is not on this machine and the hub cannot be reached"):
        wild.read("pile")


# --- an interrupted run ----------------------------------------------------------------------------


def test_an_interrupted_run_goes_on_where_it_stopped(neox, contexts, tmp_path, monkeypatch):
    whole, _ = wild.measure(neox, contexts, seed=0, batch_size=2)
    effects_in_text, calls = tracing.effects_in_text, []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return effects_in_text(*args, **kwargs)

    monkeypatch.setattr(tracing, "effects_in_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        wild.measure(neox, contexts, seed=0, folder=tmp_path, batch_size=2)
    assert len(list(tmp_path.iterdir())) == 2  # the reference and the first batch, and no draft
    again, _ = wild.measure(neox, contexts, seed=0, folder=tmp_path, batch_size=2)
    assert len(calls) == 4  # one, the one that failed, and the two that were left
    for one, other in zip(whole, again):
        torch.testing.assert_close(one, other)
    wild.measure(neox, contexts, seed=0, folder=tmp_path, batch_size=2)
    assert len(calls) == 4
    wild.measure(neox, contexts, seed=1, folder=tmp_path, batch_size=2)  # other draws, other batches
    assert len(calls) == 7


def test_what_is_kept_belongs_to_the_weights_and_to_the_text(checkpoints, contexts):
    from successor_heads import models

    one, other = (models.load(str(checkpoints["gpt_neox"])) for _ in range(2))
    assert wild._digest_of(one) == wild._digest_of(other)
    with torch.no_grad():
        other._module.get_output_embeddings().weight[:, 0] += 1e-3
    assert wild._digest_of(one) != wild._digest_of(other)


# --- prompts with one answer -----------------------------------------------------------------------


def test_a_text_is_split_before_a_word(tokenizer):
    text = "Monday Tuesday Wednesday"
    before, answer = wild.split_at(tokenizer, text, len("Monday Tuesday "))
    assert (before, answer) == (tokenizer("Monday Tuesday")["input_ids"], tokenizer(" Wednesday")["input_ids"][0])
    assert wild.split_at(tokenizer, text, len("Monday Tues")) is None  # in the midst of a token
    assert wild.split_at(tokenizer, text, 0) is None  # nothing before it
    assert wild.split_at(tokenizer, text, len(text)) is None


def test_numbered_lists_are_items_that_count_on():
    document = "Plan:\n1. one\n2. two\n   more of two\n3) three\n\n5. five\n6. six\n6. six\n2024. a year\n1. new\n"
    found = wild.numbered_lists([document, "no list 1. here 2. there"])
    assert [text[start:].split()[0] for text, start in found] == ["2.", "3)", "6."]
    assert all(text[:start].rstrip(" ").endswith("\n") for text, start in found)
    far = "1. one\n" + "x" * 600 + "\n2. two\n"
    assert wild.numbered_lists([far]) == [] and len(wild.numbered_lists([far], reach=700)) == 1


# --- what is stored --------------------------------------------------------------------------------


def test_passages_show_what_stands_in_the_text(monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "display", shown.append)
    rows = [("a < b", ["<b>", "\n", " x"], [0.9, 0.005, 0.5], "</div>")]
    figures.passages(rows, alt='a "quoted" word', caption="c")
    page = BeautifulSoup(shown[0].data, "html.parser")
    assert [span.text for span in page.select("span")] == ["<b>", " x"]  # below a hundredth there is no shade
    assert page.select_one("small").text == "a < b" and page.select_one("strong").text == "</div>"
    assert "⏎" in page.text and page.select_one("[role=group]")["aria-label"] == 'a "quoted" word'


def test_blind_cases_are_fifty_and_their_rules_are_todays():
    blind = wild.blind_cases()
    assert len(blind) == 50 and set(blind["hand"]) <= set(wild.BEHAVIOURS)
    for case in blind.itertuples():
        assert wild.behaviour([token for token, _ in case.attended[:3]], case.answer) == case.rules


def test_figures_on_books_come_with_intervals_and_without_text():
    stored = wild.stored_figures("heldout-books")
    assert set(stored) == {"grown/pythia", "grown/llama"}
    for of in stored.values():
        assert sum(share["value"] for share in of["shares"].values()) == pytest.approx(1, abs=1e-3)
        assert all(share["low"] <= share["value"] <= share["high"] for share in of["shares"].values())
    assert len(json.dumps(stored)) < 4000
