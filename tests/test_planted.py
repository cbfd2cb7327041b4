"""Plants are what truth.json says, for every family, by the instruments that know nothing of planting."""

import json
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from conftest import real_tokenizer_folder
from successor_heads import (
    ablation,
    anatomy,
    cached,
    cli,
    depths,
    features,
    models,
    ordinals,
    ov_circuit,
    prompts,
    scores,
)
from successor_heads.errors import UserError
from successor_heads.planted import FAMILIES, calibrate, circuits, hidden, shapes, words
from successor_heads.planted.known import macro
from successor_heads.planted.plant import ATTENTIVE, DECOYS, Plan, plant
from successor_heads.planted.prompts import prompts as planted_prompts
from successor_heads.planted.shapes import Shape

SHAPES = {
    # Seed 4 has a shape of its own: GPT-2 124M's, no biases, and grouped heads of a width of their own.
    "gpt2": ["--like", "openai-community/gpt2-shape"],
    "gpt_neox": ["--no-bias", "--layers", "2", "--heads", "8", "--width", "320"],
    "llama": ["--layers", "4", "--heads", "6", "--kv-heads", "2", "--width", "306", "--head-width", "20"],
}


@cache
def tokenizer():
    return words.word_tokenizer()


def check(planted_heads, result):
    """The planted head is first and right, and no decoy comes near."""
    where = {head["role"]: (head["layer"], head["head"]) for head in planted_heads}
    assert result.best == where["successor"]
    assert result.macro[where["successor"]] >= 0.97
    assert {role: result.macro[where[role]].item() for role in DECOYS if result.macro[where[role]] >= 0.5} == {}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.slow
def test_score_finds_the_planted_head(family, seed, tmp_path, capsys):
    out, record = tmp_path / "plant", tmp_path / "record.json"
    size = SHAPES[family] if seed == 4 else []
    own = ["--family", family] if "--like" not in size else []
    assert cli.main(["plant", str(out), "--seed", str(seed), "--tokenizer", "words", *own, *size]) == 0
    assert cli.main(["score", str(out), "--json", str(record)]) == 0
    heads = json.loads(record.read_text())["heads"]
    macro = {(head["layer"], head["head"]): head["macro"] for head in heads}
    truth = json.loads((out / "truth.json").read_text())
    assert truth["family"] == family and truth["seed"] == seed
    places = {head["role"]: (head["layer"], head["head"]) for head in truth["heads"]}
    assert (heads[0]["layer"], heads[0]["head"]) == places["successor"]
    assert heads[0]["macro"] >= 0.97
    assert set(places) == {"successor", *DECOYS} and len(set(places.values())) == len(places)
    assert all(macro[places[decoy]] < 0.5 for decoy in DECOYS)


@st.composite
def families_and_shapes(draw):
    family = draw(st.sampled_from(FAMILIES))
    n_layers, bias = draw(st.integers(2, 4)), family == "gpt2" or draw(st.booleans())
    if family == "llama":
        n_kv_heads = draw(st.integers(1, 4))
        n_heads = n_kv_heads * draw(st.sampled_from([m for m in (1, 2, 3, 6) if m * n_kv_heads * (n_layers - 1) >= 6]))
        d_model = n_heads * draw(st.integers(-(-296 // n_heads), 360 // n_heads))
        d_head = 2 * draw(st.integers(8, 40))
        return family, Shape(n_layers, n_heads, d_model, n_kv_heads, d_head, 2 * d_model, bias)
    n_heads = draw(st.integers(max(2, -(-6 // (n_layers - 1))), 12))
    d_head = 4 * draw(st.integers(-(-296 // (4 * n_heads)), 400 // (4 * n_heads)))
    return family, Shape(n_layers, n_heads, n_heads * d_head, d_mlp=700, bias=bias)


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(families_and_shapes(), st.integers(0, 10_000))
@pytest.mark.slow
def test_any_shape_holds_a_head(family_and_shape, seed):
    family, shape = family_and_shape
    planted = plant(Plan(family, seed, shape), tokenizer())
    check(planted.truth["heads"], scores.score_heads(anatomy.of(planted.module), ordinals.resolve(tokenizer())))


@pytest.mark.slow
def test_a_plan_decides_every_weight():
    one, same, other = (plant(Plan("gpt2", seed), tokenizer()) for seed in (7, 7, 8))
    for (name, weight), again in zip(one.module.named_parameters(), same.module.parameters()):
        assert torch.equal(weight, again), name
    assert not torch.equal(one.module.transformer.wte.weight, other.module.transformer.wte.weight)


@pytest.mark.slow
def test_places_are_spread_over_layers_and_heads():
    tiny = Shape(3, 6, 300)
    places = {plant(Plan("gpt_neox", seed, tiny), tokenizer()).place("successor") for seed in range(6)}
    assert len(places) >= 4 and {layer for layer, _ in places} == {1, 2}


# --- make-up --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def decimal():
    return plant(Plan("llama", 3, Shape(n_kv_heads=2), modulus=10), tokenizer())


def numbers_at_mlp0(planted):
    numbers = ordinals.resolve(planted.tokenizer)["numbers"]
    return ov_circuit.head_input(anatomy.of(planted.module), numbers.token_ids), numbers.index


@pytest.mark.slow
def test_mlp0_gives_the_sum_of_the_parts(decimal):
    x, index = numbers_at_mlp0(decimal)
    labels = {name: list(rows) for name, rows in decimal.truth["makeup"].items()}
    d = decimal.directions
    domain = d["domain"][labels["domain"].index("numbers")]
    parts = domain + d["tens"][index // 10] + d["residue"][index % 10] + d["marker"][labels["marker"].index("ordinal")]
    rest = x - decimal.truth["direction_length"] * parts
    expected = decimal.truth["noise"] * decimal.truth["direction_length"]
    assert rest.norm(dim=1).mean().item() == pytest.approx(expected, rel=0.05)
    assert torch.allclose(d["residue"] @ d["residue"].T, torch.eye(10), atol=1e-4)
    assert torch.tensor(decimal.truth["makeup"]["residue"][7].tolist()).allclose(d["residue"][7])


@pytest.mark.slow
def test_instruments_find_the_planted_ten(decimal):
    x, index = numbers_at_mlp0(decimal)
    probe = features.probe_modulus(x, index, 10, seed=0)
    assert probe.found and probe.accuracy >= 0.95
    residues = decimal.directions["residue"]
    assert features.matched_cosines(probe.directions, residues - residues.mean(0))[0].mean() > 0.85


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.slow
def test_the_mod_7_twin_yields_no_finding_of_ten(family):
    twin = plant(Plan(family, 3, Shape(2, 6, 384), modulus=7), tokenizer())
    check(twin.truth["heads"], scores.score_heads(anatomy.of(twin.module), ordinals.resolve(tokenizer())))
    x, index = numbers_at_mlp0(twin)
    found = [m for m in (2, 5, 7, 10) if features.probe_modulus(x, index, m, seed=0, n_permutations=40).found]
    assert found == [7]
    spectrum = features.fourier_spectrum(x, index, seed=0, periods=[10.0, 5.0, 10 / 3, 2.5, 7.0, 3.5, 7 / 3])
    tens, sevens = spectrum[:4], spectrum[4:]
    assert (sevens["p_value"] < 0.01).all() and sevens["share"].min() > 3 * tens["share"].max()


# --- in context -----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=FAMILIES)
def in_context(request, tmp_path_factory):
    shape = Shape(n_kv_heads=2, d_head=48) if request.param == "llama" else Shape()
    planted = plant(Plan(request.param, 1, shape, in_context=True), tokenizer())
    out = tmp_path_factory.mktemp("in-context") / "plant"
    planted.save(out)
    return planted, models.load(str(out))


@pytest.mark.slow
@pytest.mark.parametrize("role", ATTENTIVE)
def test_heads_in_context_attend_answer_and_matter(in_context, role):
    planted, model = in_context
    task = planted_prompts(model.tokenizer, role, n=8, seed=0)
    layer, head = planted.place(role)
    for text, word in zip(task.texts[:3], task.word):
        _, patterns = prompts.attention_patterns(model, text)
        place = prompts.encode(model, [text])["input_ids"][0].tolist().index(word)
        assert patterns[layer, head, -1, place] > 0.9
    effects = ablation.mean_ablation_effects(
        model, task.texts, task.answers, members=task.members, reference=task.texts
    )
    assert effects.clean.right_in_class.double().mean() >= 0.85
    fall = effects.difference_fall.mean(-1)
    assert divmod(int(fall.argmax()), fall.shape[1]) == (layer, head)
    runner_up = fall.flatten().sort(descending=True)[0][1]
    assert fall[layer, head] > 5 * runner_up.clamp(min=0.05)


@pytest.mark.slow
def test_heads_in_context_score_as_the_others_do(in_context):
    planted, model = in_context
    check(planted.truth["heads"], scores.score_heads(anatomy.of(model), ordinals.resolve(model.tokenizer)))


# --- the head that is not seen --------------------------------------------------------------------


@pytest.mark.slow
def test_the_hidden_head_counts_and_is_not_seen(tmp_path):
    planted = hidden.plant_hidden(Shape(n_layers=3), tokenizer(), seed=0)
    planted.save(tmp_path / "hidden")
    model = models.load(str(tmp_path / "hidden"))
    parts, classes = anatomy.of(model), ordinals.resolve(model.tokenizer)
    for source in ("mlp0", "embedding"):
        result = scores.score_heads(parts, classes, source=source)
        assert max(result.macro[planted.place(role)].item() for role in ("hidden", "twin")) < 0.25
    task = planted_prompts(model.tokenizer, "successor", n=12, seed=0)
    effects = ablation.mean_ablation_effects(
        model, task.texts, task.answers, members=task.members, reference=task.texts
    )
    assert effects.clean.right_in_class.all(), "the model counts"
    assert effects.ablated.right_in_class.all(), "whichever head is taken away"
    assert effects.difference_fall.mean(-1).max() < 0.2 < effects.clean.difference.mean() / 10

    # Both at once: what one writes is set to zero for good, then the other is ablated as before.
    layer, twin = planted.place("twin")
    planted.module.gpt_neox.layers[layer].attention.dense.weight.data.view(384, 6, 64)[:, twin] = (
        0  # [d_model, head, d_head]
    )
    planted.save(tmp_path / "one-left")
    alone = models.load(str(tmp_path / "one-left"))
    effects = ablation.mean_ablation_effects(
        alone, task.texts, task.answers, members=task.members, reference=task.texts
    )
    assert effects.clean.right_in_class.all()
    assert effects.ablated.right_in_class[planted.place("hidden")].double().mean() < 0.2


# --- files, tokenizers, and what is refused -------------------------------------------------------


def test_a_plant_is_a_checkpoint_like_any_other(tmp_path):
    planted = plant(Plan("gpt2", 5, Shape(2, 6, 300)), tokenizer())
    planted.save(tmp_path / "plant")
    assert {path.name for path in (tmp_path / "plant").iterdir()} >= {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "truth.json",
    }  # fmt: skip
    module = AutoModelForCausalLM.from_pretrained(tmp_path / "plant")
    ids = AutoTokenizer.from_pretrained(tmp_path / "plant")("the of Monday", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        torch.testing.assert_close(module(ids).logits, planted.module(ids).logits, atol=1e-4, rtol=1e-4)


def test_a_folder_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    planted = plant(Plan("gpt2", 5, Shape(2, 6, 300)), tokenizer())
    monkeypatch.setattr(
        type(planted.tokenizer), "save_pretrained", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    with pytest.raises(UserError, match="No space left"):
        planted.save(tmp_path / "plant")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence_whoever_meets_it(tmp_path, monkeypatch):
    planted = plant(Plan("gpt2", 5, Shape(2, 6, 300)), tokenizer())

    def write(folder):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)\nin a second line")

    monkeypatch.setattr(planted.module, "save_pretrained", write)
    with pytest.raises(UserError, match="cannot be written .*No space left") as raised:
        planted.save(tmp_path / "plant")
    assert "\n" not in str(raised.value) and list(tmp_path.iterdir()) == []


def test_a_tie_is_no_success():
    classes = {"days": ordinals.resolve(tokenizer())["days"]}
    n = len(classes["days"].words)
    right = torch.zeros(1, n, n)
    right[0, classes["days"].source, classes["days"].target] = 1
    assert macro(right, classes).tolist() == [1.0] and macro(torch.zeros(1, n, n), classes).tolist() == [0.0]
    shared = right.clone()
    shared[..., -1] = 1  # the last member is always as high
    assert 0 < macro(shared, classes).item() < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_published_tokenizers(family):
    folder = real_tokenizer_folder(calibrate.OWN_TOKENIZERS[family])
    own, name = words.find_tokenizer(str(folder))
    assert name == calibrate.OWN_TOKENIZERS[family]
    planted = plant(Plan(family, 0, Shape(2, 8, 320)), own)
    check(planted.truth["heads"], scores.score_heads(anatomy.of(planted.module), ordinals.resolve(own)))


def test_tokenizers_are_found_and_named_the_same_on_every_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("SUCCESSOR_HEADS_TOKENIZERS", str(tmp_path))  # of the tests, and nothing to the library
    monkeypatch.setattr(words, "ZOO", tmp_path / "zoo")
    tokenizer().save_pretrained(tmp_path / "gpt2")
    assert words.find_tokenizer("auto")[1] == "words"
    tokenizer().save_pretrained(tmp_path / "zoo" / "pythia")
    assert words.find_tokenizer("auto")[1] == "grown/pythia"
    assert words.find_tokenizer(str(tmp_path / "gpt2"))[1] == "gpt2"
    with pytest.raises(UserError, match=r"no tokenizer.json"):
        words.find_tokenizer(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.slow
def test_a_grown_tokenizer_is_found_from_anywhere_and_will_do(family, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found, name = words.find_tokenizer("auto")
    assert name == "grown/pythia"
    planted = plant(Plan(family, 0, Shape(2, 8, 320)), found)
    check(planted.truth["heads"], scores.score_heads(anatomy.of(planted.module), ordinals.resolve(found)))


def test_a_broken_tokenizer_is_one_sentence(tmp_path, capsys):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "tokenizer.json").write_text('{"version": "1.0", "model": ')
    assert cli.main(["plant", str(tmp_path / "plant"), "--tokenizer", str(tmp_path / "broken")]) == 2
    said = capsys.readouterr().err
    assert "cannot be read" in said and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--family", "gpt_neox"], ["--like", "EleutherAI/pythia-70m-shape"]])
def test_a_hidden_head_has_the_family_that_it_is_made_in(options, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(words, "ZOO", tmp_path)
    tokenizer().save_pretrained(tmp_path / words.GROWN)
    assert cli.main(["plant", str(tmp_path / "plant"), "--hidden", *options]) == 0
    truth = json.loads((tmp_path / "plant" / "truth.json").read_text())
    assert truth["family"] == "gpt_neox" and truth["tokenizer"] == "grown/pythia" and truth["hidden"]


def test_the_word_tokenizer_holds_all_ordinals():
    resolved = ordinals.resolve(tokenizer())
    assert sum(len(r.words) for r in resolved.values()) == 294 and not any(r.dropped for r in resolved.values())


REFUSED = {
    "too narrow for the ordinals": (["--width", "240"], "choose a wider model"),
    "no room above layer 0": (["--layers", "1"], "room for 0"),
    "width not shared out": (["--width", "385"], "cannot share a width"),
    "grouped heads in gpt2": (["--kv-heads", "2"], "choose llama"),
    "no biases in gpt2": (["--no-bias"], "biases everywhere"),
    "groups that do not divide": (["--family", "llama", "--kv-heads", "4"], "must divide"),
    "odd head width": (["--family", "llama", "--head-width", "33"], "has to be even"),
    "size below 1": (["--heads", "0"], "below 1"),
    "unknown shape": (["--like", "gpt5"], "There is no shape"),
    "two sizes": (["--like", "openai-community/gpt2-shape", "--width", "300"], "leave out the options"),
    "modulus 1": (["--modulus", "1"], "says nothing"),
    "modulus with an MLP too narrow": (["--modulus", "10", "--mlp-width", "100"], "choose a wider one"),
    "heads too narrow for the make-up": (["--modulus", "10", "--heads", "96", "--noise", "3"], "too narrow"),
    "attention without biases": (["--family", "gpt_neox", "--no-bias", "--in-context"], "needs biases"),
    "hidden in a family of its own": (["--hidden", "--family", "llama"], "made in gpt_neox only"),
    "hidden in another's shape": (["--hidden", "--like", "openai-community/gpt2-shape"], "made in gpt_neox only"),
    "hidden with a make-up": (["--hidden", "--modulus", "7", "--noise", "1"], "leave out --modulus and --noise"),
    "hidden in context": (["--hidden", "--in-context"], "leave out --in-context"),
    "two families": (["--family", "llama", "--like", "openai-community/gpt2-shape"], "of the family gpt2, not llama"),
    "noise without a make-up": (["--noise", "1"], "give --modulus or --in-context"),
    "noise below 0": (["--modulus", "10", "--noise", "-1"], "choose 0 or more"),
    "seed too large": (["--seed", str(2**70)], "out of range"),
    "seed too large, hidden": (["--hidden", "--seed", str(2**70)], "out of range"),
    "seed below 0": (["--seed", "-1"], "out of range"),
    "hidden in two layers": (["--hidden", "--layers", "2"], "three layers"),
    "no such tokenizer": (["--tokenizer", "nowhere"], "no tokenizer.json"),
}


@pytest.mark.parametrize("options, sentence", REFUSED.values(), ids=REFUSED)
@pytest.mark.slow
def test_what_cannot_be_planted_is_one_sentence(options, sentence, tmp_path, capsys):
    if "--tokenizer" not in options:
        options = [*options, "--tokenizer", "words"]
    assert cli.main(["plant", str(tmp_path / "plant"), *options]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path, capsys):
    assert cli.main(["plant", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert cli.main(["plant", str(tmp_path / "no" / "where")]) == 2
    assert "There is no folder" in capsys.readouterr().err


def test_known_shapes_are_those_of_the_published_models():
    family, shape = shapes.like("openai-community/gpt2-shape")
    config = shapes.configuration(family, shape, d_vocab=50257)
    with torch.device("meta"):
        module = AutoModelForCausalLM.from_config(config)
    published = 124_439_808 - (1024 - config.n_positions) * 768  # we keep fewer positions
    assert sum(parameter.numel() for parameter in module.parameters()) == published


def test_prompts_refuse_what_they_cannot_write():
    with pytest.raises(UserError, match="choose successor, acronym or copy"):
        planted_prompts(tokenizer(), "copier", n=1, seed=0)


# --- the stored calibration -----------------------------------------------------------------------


@pytest.mark.slow
def test_stored_plants_are_enough_and_all_found():
    plants = calibrate.stored()["plants"]
    assert plants.groupby("family").size().min() >= 30 and plants["d_model"].max() == 768
    assert plants["found"].all() and plants["successor"].min() >= 0.97
    assert plants[[f"conventions/canonical/{decoy}" for decoy in DECOYS]].max(axis=None) < 0.5


@pytest.mark.parametrize("modulus", [None, 10])
@pytest.mark.slow
def test_stored_figures_are_those_of_this_code(modulus):
    plants = calibrate.stored()["plants"]
    plants = plants[plants["modulus"].isna() if modulus is None else plants["modulus"] == modulus]
    stored = plants[(plants["family"] == "llama") & (plants["seed"] == 4)].iloc[0]
    again = calibrate.find(Plan("llama", 4, calibrate.SMALL["llama"], modulus), tokenizer())
    assert again["found"] == stored["found"]
    for convention in calibrate.CONVENTIONS:
        for role, found in again["conventions"][convention].items():
            # Another processor may round a near tie the other way.
            assert found == pytest.approx(stored[f"conventions/{convention}/{role}"], abs=0.02), (convention, role)


@pytest.mark.slow
def test_noise_drowns_a_head(decimal):
    classes, place = ordinals.resolve(tokenizer()), decimal.place("successor")
    clean, drowned = (
        scores.score_heads(anatomy.of(calibrate.drown(decimal, noise, seed=0).module), classes).macro[place]
        for noise in (0.0, 30.0)
    )
    assert clean > 0.97 and drowned < 0.3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "again", "plant", "keys", "numbers"),
    [
        ("drowned", calibrate.drowned_rows, "seed", ["noise"], ["successor", "best"]),
        ("edits", calibrate.edits_rows, "plant", ["directions", "task", "scale"], ["right"]),
        ("effects", calibrate.effects_rows, "plant", ["role"], ["direct", "ablation", "rank_direct", "rank_ablation"]),
    ],
)
def test_a_stored_table_is_what_this_code_gives(table, again, plant, keys, numbers):
    """One plant of each table, measured anew, up to what another machine's rounding moves."""
    stored = calibrate.stored()[table].query(f"family == 'gpt2' and {plant} == 3")
    fresh = pd.DataFrame(again("gpt2", 3))
    both = stored.merge(fresh, on=keys, suffixes=("_stored", "_fresh"), validate="one_to_one")
    assert len(both) == len(stored) == len(fresh)
    for name in numbers:
        slack = 1 if name == "right" else 0.02
        np.testing.assert_allclose(both[f"{name}_fresh"], both[f"{name}_stored"], atol=slack, rtol=0.01, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_deep_head_counts_behind_its_block_and_is_not_seen_by_the_canonical_score(seed):
    planted = circuits.plant_deep(circuits.DEEP, tokenizer(), seed=seed)
    model, place = planted.open(), planted.place("successor")
    classes = ordinals.resolve(tokenizer())
    found = depths.search(model, classes)
    macro = {candidate: float(share) for candidate, share in zip(found.candidates, found.macro)}
    assert macro[circuits.BLOCK + 1, *place] > 0.97, "behind the block that writes the index"
    assert max(macro[depth, *place] for depth in range(circuits.BLOCK + 1)) < 0.25, "and nowhere before"
    with pytest.raises(UserError, match="5 layers"):
        circuits.plant_deep(Shape(n_layers=4), tokenizer(), seed=seed)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.slow
def test_a_circuit_fetches_an_index_and_steps_it(seed):
    """By hand: with the fetching head the model goes on, without the last MLP it says the ordinal that was fetched."""
    planted = circuits.plant_fetch_and_step(Shape(), tokenizer(), seed=seed)
    model, (layer, head) = planted.open(), planted.place("mover")
    asked = planted_prompts(tokenizer(), "successor", n=40, seed=seed, task="months")
    members = asked.members
    logits = prompts.next_token_logits(model, asked.texts)[:, members]
    assert (members[logits.argmax(1)] == asked.answers).double().mean() > 0.8
    off = [[cached.Edit(layer, head, torch.zeros(64))], [cached.Edit(2, None, torch.zeros(384))]]
    no_head, no_mlp = cached.logits_of_variants(model, asked.texts, off, members)
    assert (members[no_head.argmax(1)] == asked.answers).double().mean() < 0.3
    assert (members[no_mlp.argmax(1)] == asked.word).double().mean() > 0.9
