"""Growing: what the corpus holds, what an ablation takes away, resuming, and the models that are shipped."""

import argparse
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from successor_heads import anatomy, cli, growing, models, ordinals, scores
from successor_heads.errors import UserError
from successor_heads.growing import corpus, observe, tokenizer, train
from successor_heads.planted import words
from successor_heads.planted.plant import Plan, plant
from successor_heads.planted.shapes import Shape

ZOO_MODELS = models.grown_models()
N = 3000


@pytest.fixture(scope="module")
def full():
    return list(corpus.generated(seed=0, n=N))


@pytest.fixture(scope="module")
def grown_tokenizer():
    return PreTrainedTokenizerFast.from_pretrained(models.ZOO / "pythia")


# --- the corpus -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_corpus_depends_on_its_seed_alone(full):
    assert list(corpus.generated(seed=0, n=N)) == full
    other = list(corpus.generated(seed=1, n=N))
    assert sum(a == b for a, b in zip(full, other)) < N / 100


@pytest.mark.slow
def test_every_kind_is_as_frequent_as_its_weight_says(full):
    counts = Counter(document.kind for document in full)
    total = sum(weight for _, weight, _ in corpus.KINDS.values())
    for kind, (_, weight, _) in corpus.KINDS.items():
        expected = N * weight / total
        assert abs(counts[kind] - expected) < 5 * expected**0.5, kind


@pytest.mark.parametrize(("ingredient", "kind"), [("decimals", "decimals"), ("crossrefs", "crossref")])
@pytest.mark.slow
def test_an_ingredient_left_out_takes_its_documents_and_nothing_else(full, ingredient, kind):
    without = list(corpus.generated(seed=0, n=N, without={ingredient}))
    assert without == [document for document in full if document.kind != kind]
    assert len(without) < len(full)


@pytest.mark.slow
def test_without_interchange_every_class_keeps_to_its_labels(full):
    without = list(corpus.generated(seed=0, n=N, without={"interchange"}))
    changed = {a.kind for a, b in zip(full, without, strict=True) if a != b}
    assert changed == {"sections", "sums"}
    heading = re.compile(r"^(?:The (\w+) (\w+)|(\w+) (\w+))[.: ]", re.MULTILINE)

    def labels(documents):
        seen = set()
        for document in documents:
            if document.kind == "sections":
                for ordinal, low_label, label, word in heading.findall(document.text):
                    task = next(
                        (t for t in corpus.STYLE_WEIGHTS if (word or ordinal) in ordinals.CLASSES[t].words), None
                    )
                    if task and (label or low_label).title() in corpus.LABELS:
                        seen.add((task, (label or low_label).title()))
        return seen

    own = {(task, label) for task, its in corpus.OWN_LABELS.items() for label in its}
    assert labels(without) == own
    assert len(labels(full)) > 2 * len(own)


@pytest.mark.slow
def test_without_interchange_a_sum_keeps_to_one_form(full):
    def mixed(documents):
        sums = [s for d in documents if d.kind == "sums" for s in d.text.rstrip(".").split(".")]
        return sum(bool(re.search(r"\d", s)) and any(f" {w} " in f" {s} " for w in corpus.NUMBER_WORDS) for s in sums)

    assert mixed(full) > 0
    assert mixed(corpus.generated(seed=0, n=N, without={"interchange"})) == 0


@pytest.mark.parametrize("base", [8, 12])
@pytest.mark.slow
def test_another_base_changes_the_composed_numbers_alone(full, base):
    other = list(corpus.generated(seed=0, n=N, base=base))
    assert {a.kind for a, b in zip(full, other, strict=True) if a != b} == {"decimals"}


@pytest.mark.parametrize("base", [8, 10, 12])
@pytest.mark.slow
def test_what_the_composing_text_says_is_true(base):
    text = " ".join(d.text for d in corpus.generated(seed=3, n=N, base=base) if d.kind == "decimals")
    plus, written, ends, makes = (
        re.findall(pattern, text)
        for pattern in (
            r"(\d+) plus (\d+) is (\d+)",
            r"(\d+) is written ([\d ]+)\.",
            r"(?<!and )\b(\d+) ends in (\d+)",
            r"(\d+) and (\d+) make (\d+)",
        )
    )
    assert min(map(len, (plus, written, ends, makes))) > 10
    assert all(int(a) + int(b) == int(c) and int(b) % base == 0 for a, b, c in plus)
    assert all(sum(int(d) * base**k for k, d in enumerate(reversed(digits.split()))) == int(n) for n, digits in written)
    assert all(int(n) % base == int(last) for n, last in ends)
    assert all(int(a) + int(b) == int(c) and int(a) % base == 0 for a, b, c in makes)


@pytest.mark.parametrize(("n", "base", "name"), [
    (27, 10, "twenty seven"), (20, 10, "twenty"), (104, 10, "one hundred and four"), (200, 10, "two hundred"),
    (27, 8, "three eights and three"), (24, 8, "three eights"), (27, 12, "two dozens and three"),
])  # fmt: skip
def test_number_names(n, base, name):
    assert corpus.number_name(n, base=base) == name


@pytest.mark.parametrize(
    ("n", "base", "text"),
    [(1, 10, "1st"), (12, 10, "12th"), (22, 10, "22nd"), (113, 10, "113th"), (27, 8, "27rd"), (10, 8, "10th")],
)
def test_suffixes_follow_the_last_digit(n, base, text):
    assert corpus.suffixed(n, base) == text


def test_unknown_ingredients_and_bases_are_refused():
    with pytest.raises(UserError, match="decimals, crossrefs, interchange, prose"):
        train.Recipe(without=("vowels",))
    with pytest.raises(UserError, match="use 10, 8 or 12"):
        next(corpus.generated(seed=0, n=1, base=7))
    with pytest.raises(UserError, match="pythia, gpt2, llama"):
        train.Recipe(family="bert")


# --- the tokenizer --------------------------------------------------------------------------------


def test_the_grown_tokenizer_keeps_all_ordinals_whole(grown_tokenizer):
    words = tokenizer.whole_words()
    assert {"27", "500", "twenty", "Monday", "Mon", "March", "Mar", "tenth", "Q", "XVIII"} <= set(words)
    for word in words:
        for form in (word, " " + word):
            ids = grown_tokenizer.encode(form)
            assert len(ids) == 1 and grown_tokenizer.decode(ids) == form
    classes = ordinals.resolve(grown_tokenizer)
    assert sum(len(resolved.words) for resolved in classes.values()) == 294
    assert not any(resolved.dropped for resolved in classes.values())
    assert 4000 <= len(grown_tokenizer) <= 8000


@pytest.mark.slow
def test_a_vocabulary_that_cannot_hold_the_lists_is_refused():
    with pytest.raises(
        UserError, match="A vocabulary of 300 tokens does not hold .*: choose a larger one with --vocabulary"
    ):
        tokenizer.train_tokenizer(["one two three"], d_vocab=300)


# --- one training step ----------------------------------------------------------------------------


@pytest.mark.parametrize("slice_size", [3, 512])
def test_the_sliced_loss_is_cross_entropy(slice_size):
    torch.manual_seed(0)
    x, w_u = torch.randn(10, 8, requires_grad=True), torch.randn(20, 8, requires_grad=True)
    targets = torch.randint(20, (10,))
    ours = train.SlicedCrossEntropy.apply(x, w_u, targets, slice_size)
    gradients = torch.autograd.grad(2 * ours, (x, w_u))
    plain = F.cross_entropy(x @ w_u.T, targets)
    torch.testing.assert_close(ours, plain)
    for ours_grad, plain_grad in zip(gradients, torch.autograd.grad(2 * plain, (x, w_u))):
        torch.testing.assert_close(ours_grad, plain_grad)


@pytest.mark.parametrize("family", train.FAMILIES)
def test_plain_attention_is_the_library_s_attention(family, grown_tokenizer):
    recipe = train.Recipe(family=family, size="small", window=16)
    plain = train.new_model(recipe, grown_tokenizer).eval()
    eager = type(plain)._from_config(plain.config, attn_implementation="eager").eval()
    eager.load_state_dict(plain.state_dict())
    ids = torch.randint(len(grown_tokenizer), (2, 16))
    with torch.no_grad():
        torch.testing.assert_close(plain(ids).logits, eager(ids).logits, atol=1e-5, rtol=1e-4)


def test_a_token_counts_as_successor_when_it_follows_the_last_of_its_class(grown_tokenizer):
    classes = ordinals.resolve(grown_tokenizer)
    ids = grown_tokenizer.encode(" 7 Monday 8 9 11 Tuesday Sunday Monday 9")
    marked = observe.follows_its_predecessor(torch.tensor([ids]), classes)[0]
    assert [grown_tokenizer.decode(token) for token, mark in zip(ids, marked) if mark] == [
        " 8",
        " 9",
        " Tuesday",
        " Monday",
    ]


# --- growing --------------------------------------------------------------------------------------

TINY = train.Recipe(size="tiny", steps=6, batch=2, window=16, warmup=2)


@pytest.fixture
def prepared(tmp_path, grown_tokenizer):
    """A function that lays random windows into the work folder of a model to be grown."""

    def prepare(name, recipe=TINY):
        work = tmp_path / f"{name}.growing"
        work.mkdir()
        rng = np.random.default_rng(0)
        grown_tokenizer.save_pretrained(work)
        np.save(
            work / "windows.npy",
            rng.integers(0, 4096, (recipe.steps * recipe.batch, recipe.window + 1)).astype(np.uint16),
        )
        np.save(work / "held_out.npy", rng.integers(0, 4096, (2, recipe.window + 1)).astype(np.uint16))
        (work / "text.json").write_text("{}")
        (work / "sources.json").write_text("{}")
        return tmp_path / name

    return prepare


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


QUIET = replace(TINY, family="gpt2", quiet_steps=3)


@pytest.mark.parametrize("recipe", [TINY, QUIET], ids=["pythia", "gpt2, quiet for three steps"])
@pytest.mark.slow
def test_a_broken_run_resumes_to_the_weights_of_an_unbroken_one(prepared, monkeypatch, recipe):
    monkeypatch.setattr(train, "SAVE_EVERY_SECONDS", -1)
    unbroken = train.grow(recipe, prepared("unbroken"))
    broken, real_step = prepared("broken"), train.Trainer.step
    for last in (2, 3, 5):

        def step(self, number, windows, last=last):
            if number == last:
                raise KeyboardInterrupt
            return real_step(self, number, windows)

        monkeypatch.setattr(train.Trainer, "step", step)
        with pytest.raises(KeyboardInterrupt):
            train.grow(recipe, broken)
        assert not broken.exists()
    monkeypatch.setattr(train.Trainer, "step", real_step)
    train.grow(recipe, broken)

    assert weights(broken) == weights(unbroken)
    curves = [json.loads((folder / "curve.json").read_text()) for folder in (broken, unbroken)]
    assert curves[0] == curves[1]
    assert weights(train.grow(replace(recipe, seed=1), prepared("other"))) != weights(unbroken)


@pytest.mark.slow
def test_a_quiet_attention_writes_nothing_until_its_time_and_learns_after_it(grown_tokenizer):
    trainer = train.Trainer(QUIET, train.new_model(QUIET, grown_tokenizer))
    attention = {name: p for name, p in trainer.model.named_parameters() if ".h.0.attn." in name}
    before = {name: p.clone() for name, p in attention.items()}
    others = trainer.model.transformer.h[1].attn.c_proj.weight.clone()
    torch.manual_seed(0)
    for step in range(QUIET.steps):
        trainer.step(step, torch.randint(4096, (2, 17)))
        held = all(torch.equal(p, before[name]) for name, p in attention.items())
        assert held == (step < QUIET.quiet_steps)
        assert torch.equal(attention["transformer.h.0.attn.c_proj.weight"], torch.zeros(128, 128)) == held
    assert not torch.equal(trainer.model.transformer.h[1].attn.c_proj.weight, others)


@pytest.mark.slow
def test_a_kill_while_saving_leaves_the_last_save(prepared, monkeypatch):
    monkeypatch.setattr(train, "SAVE_EVERY_SECONDS", -1)
    unbroken = train.grow(TINY, prepared("unbroken"))
    out, real_replace, calls = prepared("out"), train.os.replace, []

    def killed(source, target):
        calls.append(target)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real_replace(source, target)

    monkeypatch.setattr(train.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        train.grow(TINY, out)
    monkeypatch.setattr(train.os, "replace", real_replace)
    assert weights(train.grow(TINY, out)) == weights(unbroken)


def test_a_full_disk_is_told_and_nothing_half_written_is_left(prepared, monkeypatch):
    out = prepared("out")
    monkeypatch.setattr(train, "SAVE_EVERY_SECONDS", -1)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(train, "save_file", full)
    with pytest.raises(UserError, match="make room on the disk"):
        train.grow(TINY, out)
    assert not out.exists()
    assert not list(out.parent.glob("out.growing/*state-*"))


@pytest.mark.slow
def test_nothing_is_overwritten_unasked(prepared, tmp_path):
    out = train.grow(TINY, prepared("out"))
    before = weights(out)
    with pytest.raises(UserError, match="--overwrite"):
        train.grow(TINY, out)
    assert weights(out) == before
    with pytest.raises(UserError, match="another folder with --out"):
        train.grow(TINY, Path("/"), overwrite=True)
    prepared("other")
    with train._claimed(tmp_path / "other.growing", TINY, None):
        with pytest.raises(UserError, match="in use by another run"):
            train.grow(TINY, tmp_path / "other")
    # Whatever ends a run frees its folder, though a notebook keeps the error and all that it knows.
    with pytest.raises(UserError, match="another recipe") as kept:
        train.grow(replace(TINY, steps=7), tmp_path / "other")
    train.grow(TINY, tmp_path / "other")
    assert kept.tb is not None


@pytest.mark.slow
def test_overwriting_keeps_the_old_model_until_the_new_one_is_there(prepared, monkeypatch):
    out = train.grow(TINY, prepared("out"))
    before = weights(out)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    prepared("out")
    with monkeypatch.context() as patched, pytest.raises(UserError, match="training is not lost"):
        patched.setattr(PreTrainedModel, "save_pretrained", full)
        train.grow(replace(TINY, seed=3), out, overwrite=True)
    assert weights(out) == before
    (out.parent / "out.old" / "left").mkdir(parents=True)  # by a run that was killed between two moves
    train.grow(replace(TINY, seed=3), out, overwrite=True)
    assert weights(out) != before
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_loss_that_is_not_a_number_stops_the_run(prepared, monkeypatch):
    monkeypatch.setattr(
        train.Trainer, "_loss", lambda self, windows: self.model.get_output_embeddings().weight.sum() * float("nan")
    )
    with pytest.raises(UserError, match="lower learning rate"):
        train.grow(TINY, prepared("out"))


@pytest.mark.parametrize("family", train.FAMILIES)
@pytest.mark.slow
def test_every_family_grows_and_loads(prepared, family):
    recipe = replace(TINY, family=family)
    out = train.grow(recipe, prepared(family, recipe))
    model = models.load(str(out))
    assert anatomy.of(model).n_layers == 2
    assert f"A grown {family}" in (out / "README.md").read_text()


@pytest.mark.slow
def test_the_command_grows_from_the_project_alone(tmp_path, capsys):
    out = tmp_path / "mine"
    arguments = [
        "grow",
        "llama",
        "--size",
        "tiny",
        "--steps",
        "2",
        "--batch",
        "4",
        "--without",
        "crossrefs",
        "--base",
        "8",
        "--out",
        str(out),
    ]
    assert cli.main(arguments) == 0
    assert "No books given" in capsys.readouterr().out
    recipe = json.loads((out / "recipe.json").read_text())
    assert recipe["without"] == ["crossrefs"] and recipe["base"] == 8
    assert set(recipe["sources"]) == {"generated", "docstrings", "sha256"}
    assert {path.name for path in tmp_path.iterdir()} == {"mine"}
    assert anatomy.of(models.load(str(out))).n_kv_heads == 1

    assert cli.main(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "message"), [
    (["bert"], "pythia, gpt2, llama"),
    (["pythia", "--size", "huge"], "tiny, small, default, large"),
    (["pythia", "--without", "vowels"], "decimals, crossrefs"),
    (["pythia", "--base", "7"], "use 10, 8 or 12"),
    (["pythia", "--steps", "0"], "--steps 1 or more"),
    (["pythia", "--batch", "0"], "--batch 1 or more"),
    (["pythia", "--seed", "-1"], "choose a whole number from 0"),
    (["pythia", "--vocabulary", "65537"], "--vocabulary up to 65536"),
    (["pythia", "--books", "/nowhere"], "name another folder"),
    (["pythia", "--device", "abacus"], "choose another, such as cpu"),
    (["pythia", "--out", "/proc/nowhere/model"], "give --out to grow elsewhere"),
])  # fmt: skip
def test_bad_arguments_get_one_sentence(tmp_path, capsys, arguments, message):
    out = tmp_path / "out"
    assert cli.main(["grow", "--out", str(out), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error and len(error.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


# --- records of runs ------------------------------------------------------------------------------


@pytest.mark.slow
def test_transfer_is_whole_where_classes_share_residues_and_chance_where_they_share_sevens():
    tokens = words.word_tokenizer()
    classes = ordinals.resolve(tokens)
    for modulus, low, high in ((10, 0.95, 1), (7, 0, 0.35)):
        planted = plant(Plan("gpt_neox", 3, Shape(2, 6, 384), modulus=modulus), tokens)
        table = observe.transfer(anatomy.of(planted.module), classes)
        own = observe.transfer(anatomy.of(planted.module), classes, modulus=modulus)
        assert np.average(own["accuracy"], weights=own["n"]) >= 0.95
        assert set(table["task"]) == set(ordinals.TASKS) - {"numbers"}
        assert low <= np.average(table["accuracy"], weights=table["n"]) <= high, modulus
        assert (table["low"] <= table["accuracy"]).all() and (table["accuracy"] <= table["high"]).all()


@pytest.mark.slow
def test_residues_are_read_by_source_with_sevens_as_the_control():
    model = models.load("grown/pythia")
    table = observe.residues_by_source(anatomy.of(model), ordinals.resolve(model.tokenizer)["numbers"])
    accuracy = table.set_index(["modulus", "source"])["accuracy"]
    assert set(table["source"]) == {"mlp0", "embedding", "unembedding", "random mlp"} and set(table["n"]) == {200}
    assert accuracy[7].max() < 0.3
    # A random map of the embedding loses some of what it holds, and adds nothing.
    assert accuracy[10]["mlp0"] > 0.9 and accuracy[10]["random mlp"] < accuracy[10]["embedding"]
    assert ((table["low"] <= table["accuracy"]) & (table["accuracy"] <= table["high"])).all()


RUNS = observe.stored()


def test_the_stored_runs_are_those_that_make_grown_makes():
    snakefile = (Path(__file__).parents[1] / "grow.smk").read_text()
    table = snakefile[snakefile.index("SEEDS = ") : snakefile.index("RUN_RECORDS = ")]
    made: dict = {}
    exec(table, made)  # the table is plain Python
    assert set(RUNS) == set(made["GROWN"]) | {name.removeprefix("grown/") for name in ZOO_MODELS}
    for name, command in made["GROWN"].items():
        parser = argparse.ArgumentParser()
        growing.add_arguments(parser)
        recipe = RUNS[name]["recipe"]
        given = vars(parser.parse_args(command.split()))
        assert (recipe["family"], recipe["size"], recipe["seed"], recipe["base"]) == tuple(
            given[key] for key in ("family", "size", "seed", "base")
        )
        assert recipe["without"] == sorted(given["without"])
        defaults = train.Recipe(recipe["family"])
        assert recipe["steps"] == (given["steps"] or defaults.steps)
        assert recipe.get("tied", False) == given["tied"]
        assert recipe["batch"] == (given["batch"] or defaults.batch)
        assert recipe["quiet_steps"] == (defaults.quiet_steps if given["quiet_steps"] is None else given["quiet_steps"])


@pytest.mark.parametrize("name", sorted(RUNS))
def test_a_stored_run_is_whole(name):
    run = RUNS[name]
    steps = [point["step"] for point in run["curve"]]
    assert steps == train.measured_steps(run["recipe"]["steps"])
    start, end = run["curve"][0], run["curve"][-1]
    # Before training nothing counts and nothing can be read: the control that every run carries.
    assert start["macro"] < 0.35 and end["loss"] < start["loss"] / 3
    if run["recipe"]["size"] == "tiny":  # whose curves chapter 6 draws
        assert start["probe_mod_10"] < 0.3
    assert np.max(run["macro_by_head_mlp0"]) == pytest.approx(end["macro"], abs=0.02)
    assert [row["modulus"] for row in run["probes"]] == list(observe.MODULI)


# --- the shipped models ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ZOO_MODELS)
def test_a_shipped_model_has_a_successor_head_and_its_card_is_true(name):
    folder = models.ZOO / name.removeprefix("grown/")
    recipe = json.loads((folder / "recipe.json").read_text())
    last = json.loads((folder / "curve.json").read_text())["curve"][-1]
    model = models.load(name)
    result = scores.score_heads(anatomy.of(model), ordinals.resolve(model.tokenizer))
    best = result.table.iloc[0]

    assert best["macro"] >= 0.85
    assert (int(best["layer"]), int(best["head"])) == (last["layer"], last["head"])
    for column in ("macro", "micro", *ordinals.TASKS):
        # A float16 weight and another order of summation may turn one pair at most.
        assert best[column] == pytest.approx(last[column], abs=1e-6 if column not in ("micro", "numbers") else 1 / 199)
    card = (folder / "README.md").read_text()
    assert (
        f"Best head under the canonical convention: L{last['layer']}H{last['head']}, macro {last['macro']:.3f}" in card
    )
    assert sum(parameter.numel() for parameter in model._module.parameters()) == recipe["parameters"]
    assert sum(file.stat().st_size for file in folder.iterdir()) < 15e6


@pytest.mark.parametrize(
    "error",
    [OSError("4096 requested and 12 written"), Exception("No space left on device (os error 28)")],
    ids=["numpy", "tokenizers"],
)
def test_a_disk_that_fills_up_under_the_corpus_is_named_in_a_sentence(tmp_path, error):
    with pytest.raises(UserError, match=r"windows\.npy cannot be written \(.*\): make room on the disk"):
        with train._room_for(tmp_path / "windows.npy"):
            raise error
