"""Succession held out: what each arm removes, what was seen, what was announced, and how it is measured."""

import argparse
import functools
import re
import shlex
import subprocess
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from successor_heads import anatomy, growing, models, ordinals, prompts, scores
from successor_heads.errors import UserError
from successor_heads.growing import announced, corpus, observe, succession, tokenizer, train
from successor_heads.growing.corpus import HeldOut

N = 20_000
PYTHIA = models.ZOO / "pythia"


@pytest.fixture(scope="module")
def full():
    return list(corpus.generated(seed=0, n=N))


@pytest.fixture(scope="module", autouse=True)
def read_once():
    """What stands in order in a document is found once, however many parts ask: `corpus` remembers it for this module."""
    patch = pytest.MonkeyPatch()
    patch.setattr(corpus, "pairs_in_order", functools.cache(corpus.pairs_in_order))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def first_and_last(full):
    """By task, of every document where each word is mentioned first and last, found once for all parts."""
    return functools.cache(lambda task: [places(document.text, task) for document in full])


@pytest.fixture(scope="module")
def grown_tokenizer():
    return PreTrainedTokenizerFast.from_pretrained(PYTHIA)


@pytest.fixture(scope="module")
def grown_model():
    return AutoModelForCausalLM.from_pretrained(PYTHIA, dtype=torch.float32).eval()


# --- what an arm removes --------------------------------------------------------------------------


def places(text: str, task: str) -> tuple[dict[str, int], dict[str, int]]:
    """Where each word is mentioned first, and where last: not how corpus finds what stands in order."""
    if task == "numbers":
        mentions = [(m.start(), m[0]) for m in re.finditer(r"(?<!\d)\d+(?!\d)", text)]
    elif task == "letters":
        capitals = re.finditer(r"(?<![A-Za-z])[A-Z]+(?![A-Za-z])", text)
        mentions = [(m.start() + k, letter) for m in capitals for k, letter in enumerate(m[0])]
    else:
        mentions = [(m.start(), m[0]) for m in re.finditer(r"(?<![A-Za-z])[A-Za-z]+(?![A-Za-z])", text)]
    return {word: place for place, word in reversed(mentions)}, {word: place for place, word in mentions}


ARMS = announced.arms()
# Lists with commas, behind "We count:", and a line each; the other three frames begin otherwise.
OF_FRAMES = {"commas": r" \w+, \w+", "count": r"We count: \w", "bullets": r"- \w+: "}
PARTS = sorted({part for arm in ARMS.values() for part in arm.get("hold_out", [])})


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_a_part_held_out_takes_the_documents_that_give_it_in_order_and_nothing_else(full, first_and_last, part):
    held_out = HeldOut.parse(part, seed=0)
    pairs = [(word, successor) for word, successor in corpus.pairs_of(held_out.task) if word in held_out.words]
    kept = [document for document in full if not held_out.stands_in(document)]

    def in_one_of_its_frames(document):
        if document.kind in held_out.kinds:
            return True
        frame = next((name for name, start in OF_FRAMES.items() if re.match(start, document.text)), None)
        return document.kind == "counting" and frame in held_out.kinds

    def gives(document, first, last):
        return in_one_of_its_frames(document) and any(
            word in first and successor in last and first[word] < last[successor] for word, successor in pairs
        )

    found = zip(full, first_and_last(held_out.task), strict=True)
    assert kept == [document for document, where in found if not gives(document, *where)]
    assert 0.001 * N < len(full) - len(kept) < 0.3 * N
    # Both words of every pair are still read.
    mentioned = Counter(re.findall(r"\d+|[A-Za-z]+", " ".join(document.text for document in kept)))
    missing = [pair for pair in pairs if held_out.task != "roman" and not (mentioned[pair[0]] and mentioned[pair[1]])]
    assert not missing


CUT = [
    (" 128, 129, 130, 131, 132.", "numbers:130-131", [" 128, 129, 130.", " 131, 132."]),
    ("We count: 130 131 132.", "numbers:130-131", ["We count: 130.", "We count: 131 132."]),
    ("Ann said: 129 then 130 then 131.", "numbers:130-131", ["Ann said: 129 then 130.", "Ann said: 131."]),
    ("130 old rivers, 131 lamps,", "numbers:130-131", ["130 old rivers", "131 lamps,"]),
    ("- 130: old\n- 131: new\n- 132: red", "numbers:130-132", ["- 130: old", "- 131: new", "- 132: red"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "part", "pieces"), CUT)
def test_a_list_is_cut_between_word_and_successor(text, part, pieces):
    cut = HeldOut.parse(f"{part}+cut")
    assert [left.text for left in cut.taken_from(corpus.Document("counting", text))] == pieces
    assert cut.taken_from(corpus.Document("sums", text)) == []


@pytest.mark.slow
@pytest.mark.parametrize("part", ["numbers:random=19+cut", "letters+cut", "months:7-12+cut"])
def test_where_lists_are_cut_the_step_alone_is_missing(full, part):
    cut = HeldOut.parse(part, seed=0)
    words = dict(corpus.pairs_of(cut.task))
    kept = list(corpus.generated(seed=0, n=N, held_out=[cut]))
    assert not any(cut.stands_in(document) for document in kept)
    pieces = [cut.taken_from(document) for document in full]
    assert all(cut.stands_in(document) or left == [document] for document, left in zip(full, pieces))
    assert len(kept) == sum(map(len, pieces))
    # A window of the training text holds many documents: near each other the pieces would give the pair in order.
    members = [
        [word for word in re.findall(r"\d+|[A-Za-z]+", document.text) if word in words or word in words.values()]
        for document in kept
    ]

    def continued(far):
        return sum(
            bool(here and there) and here[-1] in cut.words and words[here[-1]] == there[0]
            for here, there in zip(members, members[far:])
        )

    by_chance = continued(250)
    assert max(map(continued, range(1, 9))) < 1.6 * by_chance

    def mentioned(documents):
        return Counter(
            re.findall(r"\d+|[A-Za-z]+", " ".join(each.text for each in documents if each.kind in corpus.CUTTABLE))
        )

    before, after = mentioned(full), mentioned(kept)
    held = {word for pair in corpus.pairs_of(cut.task) if pair[0] in cut.words for word in pair}
    assert all(after[word] == before[word] for word in held), "no mention in a list is lost"


PARTS_TOGETHER = [HeldOut.parse(part) for part in ARMS["parts"]["hold_out"]]


@pytest.fixture(scope="module")
def kept_together():
    """The text of the arm `parts`, as it is generated."""
    return list(corpus.generated(seed=0, n=N, held_out=PARTS_TOGETHER))


@pytest.mark.slow
def test_parts_held_out_together_are_those_held_out_one_by_one(full, kept_together):
    assert kept_together == [
        document for document in full if not any(part.stands_in(document) for part in PARTS_TOGETHER)
    ]
    text_of_kept = corpus.TextCheck()
    assert len(list(text_of_kept.reading(document.text for document in kept_together))) == len(kept_together)
    for part in PARTS_TOGETHER:
        assert not any(text_of_kept.in_order[part.task][word] for word in part.words)
    assert min(text_of_kept.in_order["numbers"][str(n)] for n in [*range(110, 129), *range(151, 170)]) > 20


@pytest.mark.parametrize(("text", "task", "words"), [
    (" 130, 131, 132.", "numbers", {"130", "131"}),
    ("131 and 130", "numbers", set()),
    ("130 plus 10 is 140", "numbers", set()),
    ("on the 130th and the 131st.", "numbers", {"130"}),
    ("130 lamps. The old mill. 7 boats, 131 bells", "numbers", {"130"}),
    ("1300 and 1301, 2130 then 131", "numbers", set()),
    ("C plus 1 is D.", "letters", {"C"}),
    ("The Central Dock (CD) sank.", "letters", {"C"}),
    ("Clara and David", "letters", set()),
    ("December and January", "months", {"December"}),
    ("Act II. It rained.\nAct III.", "roman", {"II"}),
    ("IV is 4, four. IX is 9, nine.", "roman", set()),
    ("twenty three and twenty four", "number_words", {"three"}),
])  # fmt: skip
def test_in_order_means_before_with_whatever_lies_between(text, task, words):
    assert corpus.pairs_in_order(text).get(task, set()) == words


def test_a_random_part_is_the_seed_s_and_every_third_is_every_third():
    drawn = [HeldOut.parse("numbers:random=19", seed=seed).words for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and {len(words) for words in drawn} == {19}
    assert HeldOut.parse("numbers:every=3").words == {str(n) for n in range(3, 200, 3)}
    assert HeldOut.parse("months:7-12").words == {"July", "August", "September", "October", "November"}
    assert len(HeldOut.parse("days").words) == 7 and len(HeldOut.parse("letters").words) == 25


@pytest.mark.parametrize(("part", "message"), [
    ("vowels", "letters"), ("numbers:13", "numbers:130-149"), ("numbers:0-3", "no pair"), ("numbers:300-310", "no pair"),
    ("numbers:every=0", "no pair"), ("numbers@poems", "no kind of document"),
])  # fmt: skip
def test_a_part_that_is_none_is_refused(part, message):
    with pytest.raises(UserError, match=message):
        train.Recipe(held_out=(part,))


@pytest.mark.parametrize("left_out", ["endings", "compositions"])
@pytest.mark.slow
def test_of_decimals_one_half_can_be_left_out(full, left_out):
    full = full[:5000]  # some 650 of them are of this kind
    without = list(corpus.generated(seed=0, n=5000, without={left_out}))

    def sentences(documents):
        text = "\n".join(document.text for document in documents if document.kind == "decimals")
        return Counter(re.split(r"(?<=\.) |\n", text))

    before, after = sentences(full), sentences(without)
    removed = before - after
    states = {sentence: bool(re.search(r" ends? in \d+\.$", sentence)) for sentence in before}
    assert not after - before
    assert {states[sentence] for sentence in removed} == {left_out == "endings"}
    assert {states[sentence] for sentence in after} == {left_out != "endings"}
    assert [d for d in without if d.kind != "decimals"] == [d for d in full if d.kind != "decimals"]


@pytest.mark.slow
def test_with_digits_a_number_is_written_in_digits_and_a_word_stays_whole():
    tokens = tokenizer.train_tokenizer(
        [document.text for document in corpus.generated(seed=0, n=2000)], d_vocab=2048, digits=True
    )
    assert [tokens.decode(token) for token in tokens.encode(" 131, 13")] == [" 1", "3", "1", ",", " 1", "3"]
    assert len(tokens.encode(" Wednesday")) == len(tokens.encode(" XVIII")) == 1


# --- what was seen --------------------------------------------------------------------------------


def test_what_was_seen_is_found_word_for_word():
    check = corpus.TextCheck()
    texts = [" 7, 8, 9.", "The list: A B C", "The list: A B C"]
    assert list(check.reading(texts)) == texts
    assert check.share_of_documents_seen([" 7, 8, 9.", " 7, 8.", "The list: A B C", "A B C"]) == 0.5
    # Within a document, not across the border of two.
    assert check.seen(["8, 9", "8, 10", "9.The", " A B C"]) == [True, False, False, True]
    assert check.in_order["letters"] == {"A": 2, "B": 2} and check.in_order["numbers"] == {"7": 1, "8": 1}


@pytest.mark.slow
def test_prompts_of_pairs_held_out_are_unseen_and_those_of_neighbours_may_be_seen(kept_together):
    training, unseen = corpus.TextCheck(), corpus.TextCheck()
    others = corpus.generated(seed=10_000, n=1000, held_out=PARTS_TOGETHER)
    for check, documents in ((training, kept_together), (unseen, others)):
        assert list(check.reading(document.text for document in documents))
    text = succession.check_text(training, unseen)
    seen = text["prompts_seen"]["numbers"]["commas"].split()
    assert set(seen[129:148]) == {"0"} and "1" in seen[:20]
    assert set(" ".join(text["prompts_seen"]["letters"].values()).split()) == {"0"}
    assert text["documents"] == len(training.texts) and 0 < text["evaluated_seen"] < 0.3
    counts = [int(count) for count in text["in_order"]["numbers"].split()]
    assert len(counts) == 199 and not any(counts[129:148]) and min(counts[:129]) > 0


@pytest.mark.slow
def test_a_text_that_was_not_checked_is_generated_again_from_its_recipe(grown_tokenizer):
    recipe = {
        "seed": 3,
        "without": ["prose"],
        "base": 10,
        "window": 256,
        "sources": {"generated": {"tokens": 40 * 256}},
    }
    text = succession.read_again(recipe, grown_tokenizer)
    documents, length, read = corpus.generated(seed=3, n=10**9), 0, 0
    while length < 40 * 257:  # by batches of 200, as when it was read
        batch = [next(documents).text for _ in range(200)]
        length, read = length + sum(len(grown_tokenizer.encode(each)) + 1 for each in batch), read + 200
    assert text["documents"] == read and text["evaluated"] % 200 == 0
    again = [document.text for document in corpus.generated(seed=3, n=read)]
    flags = text["prompts_seen"]["days"]["commas"].split()
    days = [prompt for prompt in succession.prompts("days") if prompt.frame == "commas"]
    expected = [any(f"{prompt.text} {prompt.answer}" in each for each in again) for prompt in days]
    assert [flag == "1" for flag in flags] == expected and any(expected)
    # Held out, nothing of it is there.
    without = succession.read_again(recipe | {"held_out": ["days"]}, grown_tokenizer)
    assert set(without["prompts_seen"]["days"]["commas"].split()) == {"0"} != set(flags)


def test_lists_of_chapter_1_are_looked_up_in_what_was_checked(grown_tokenizer):
    resolved = ordinals.resolve(grown_tokenizer)
    lists = [each for its in resolved.values() for each in prompts.counting_lists(its)[0]]
    text = observe.shipped_text()["pythia"]
    assert all(succession.stood_in_text(text, lists)) and len(lists) > 100
    none = {task: {"commas": " ".join("0" for _ in corpus.pairs_of(task))} for task in corpus.LISTS}
    assert not any(succession.stood_in_text({"prompts_seen": none}, lists))
    with pytest.raises(KeyError):
        succession.stood_in_text(text, [" never, asked,"])


# --- how it is measured ---------------------------------------------------------------------------


@pytest.mark.parametrize("task", corpus.LISTS)
def test_every_pair_is_asked_in_every_frame(task):
    asked = succession.prompts(task)
    assert Counter(prompt.frame for prompt in asked).keys() >= {"commas", "count", "bullets"}
    assert set(Counter(prompt.frame for prompt in asked).values()) == {len(corpus.pairs_of(task))}
    for prompt in asked:
        word, successor = corpus.pairs_of(task)[prompt.pair]
        assert prompt.answer == successor
        # The word asked about is the last member shown, and its successor is shown nowhere.
        assert re.findall(r"[A-Za-z]+|\d+", prompt.text).count(word) == 1 or task in ("letters", "roman")
        assert not re.search(rf"(?<![A-Za-z\d]){successor}(?![A-Za-z\d])", prompt.text)


def test_ranks_agree_with_the_score(grown_model, grown_tokenizer):
    parts, classes = anatomy.of(grown_model), ordinals.resolve(grown_tokenizer)
    by_task = scores.score_heads(parts, classes).by_task
    for task, resolved in classes.items():
        ranks, answers = succession.head_ranks(parts, resolved)
        torch.testing.assert_close((ranks == 1).float().mean(-1), by_task[task].float())
        assert ((answers == resolved.target) == (ranks == 1)).all()
        assert ranks.min() == 1 and ranks.max() <= len(resolved.words)


def test_a_tie_is_no_success(grown_model, grown_tokenizer):
    days = ordinals.resolve(grown_tokenizer)["days"]
    parts = anatomy.of(grown_model)
    with torch.no_grad():
        kept = grown_model.get_output_embeddings().weight.clone()
        # Nothing but zeros ties on every machine: the last digits of a sum depend on where in a product its column stands.
        grown_model.get_output_embeddings().weight[days.token_ids] = 0.0
        ranks, _ = succession.head_ranks(parts, days)
        grown_model.get_output_embeddings().weight.copy_(kept)
    assert (ranks == 7).all()


def test_the_head_is_chosen_without_the_pairs_held_out():
    held = {task: torch.tensor([False, False, True, True]) for task in ordinals.TASKS}
    held["letters"] = torch.ones(4, dtype=torch.bool)  # as a whole: it has no say
    right = {task: torch.zeros(1, 2, 4, dtype=torch.bool) for task in ordinals.TASKS}
    for task in ordinals.TASKS:
        right[task][0, 0] = torch.tensor([True, False, True, True])  # three of four, one of the two seen
        right[task][0, 1] = torch.tensor([True, True, False, False])
    right["letters"][0, 1] = False
    assert succession.choose_head(right, held) == (0, 1)
    nothing_held = {task: torch.zeros(4, dtype=torch.bool) for task in held}
    assert succession.choose_head(right, nothing_held) == (0, 0)


def test_the_model_goes_on_as_when_it_is_asked_alone(grown_model, grown_tokenizer):
    texts = [" 12, 13, 14,", "We count: Monday Tuesday", " A, B,", "\nThe"]
    together = succession.continuations(grown_model, grown_tokenizer, texts)
    for text, answer in zip(texts, together):
        ids = grown_tokenizer.encode(text, return_tensors="pt")
        alone = grown_model.generate(ids, max_new_tokens=4, do_sample=False, eos_token_id=None, pad_token_id=0)
        assert answer == grown_tokenizer.decode(alone[0, ids.shape[1] :])
    assert [succession.first_word(answer) for answer in together[:3]] == ["15", "Wednesday", "C"]


@pytest.mark.parametrize(
    ("text", "word"), [(" 131, 132", "131"), (" May", "May"), ("\n- x", ""), ("", ""), (", 5", "")]
)
def test_an_answer_is_its_first_word(text, word):
    assert succession.first_word(text) == word


@pytest.mark.slow
def test_a_record_of_a_head_that_counts_says_so(grown_model, grown_tokenizer):
    measured = succession.measure(grown_model, grown_tokenizer, [HeldOut.parse("numbers:130-149")])
    numbers = {name: its.split() for name, its in measured["lists"]["numbers"].items() if isinstance(its, str)}
    assert {len(its) for its in numbers.values()} == {199}
    assert [k + 1 for k, held in enumerate(numbers["held"]) if held == "1"] == list(range(130, 149))
    # The shipped model has seen them: the control for every model that has not.
    right = [int(answer) == k + 2 for k, answer in enumerate(numbers["answer"])]
    assert right == [rank == "1" for rank in numbers["rank"]] and sum(right[129:148]) > 15
    written = measured["lists"]["letters"]["written"]["commas"].split()
    assert sum(a == b for a, b in zip(written, ordinals.CLASSES["letters"].words[1:])) > 20


# --- what was announced ---------------------------------------------------------------------------


def recipe(options: str) -> train.Recipe:
    parser = argparse.ArgumentParser()
    growing.add_arguments(parser)
    return growing.recipe_of(parser.parse_args(shlex.split(options)))


def test_each_arm_changes_what_it_names_and_nothing_else():
    runs = announced.runs()
    assert len(runs) == sum(len(arm["seeds"]) for arm in ARMS.values()) and len(ARMS) > 20
    may_change = {"hold_out": {"held_out"}, "size": {"size"}, "prose": {"without", "shares"}}
    by_option = {"--without": "without", "--digits": "digits", "--steps": "steps", "--weight-decay": "weight_decay",
                 "--base": "base", "--generated-share": "shares"}  # fmt: skip
    for name, arm in ARMS.items():
        first, last = arm["seeds"][0], arm["seeds"][-1]
        full = asdict(replace(recipe(runs["full-seed0"]), seed=first))
        changed = {key for key, value in asdict(recipe(runs[f"{name}-seed{first}"])).items() if value != full[key]}
        named = set().union(*(may_change.get(key, set()) for key in arm))
        named |= {by_option[option] for option in arm.get("options", "").split() if option.startswith("--")}
        assert changed == named, name
        assert recipe(runs[f"{name}-seed{last}"]).seed == last


def test_experiments_name_arms_that_exist_and_say_what_they_expect():
    experiments = [*announced.experiments()["experiments"], *(entry["experiment"] for entry in announced.later())]
    for experiment in experiments:
        assert set(experiment["arms"]) <= set(ARMS)
        assert {"question", "expectation", "outcome"} <= set(experiment)
    assert {arm for experiment in experiments for arm in experiment["arms"]} == set(ARMS)
    assert announced.run_of("dose-0.3-seed2") == ("dose-0.3", 2)


def test_a_wave_is_run_seed_by_seed():
    first_wave = [announced.run_of(name) for name in list(announced.runs())[:6]]
    assert [seed for _, seed in first_wave] == [0, 0, 0, 1, 1, 1]
    by_wave = [name for wave in announced.waves() for name in announced.runs(of=[wave])]
    assert by_wave == list(announced.runs())


RECORDED = observe.stored(observe.ANNOUNCED_RUNS)
RUNS, LATER = announced.runs(), announced.later()


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_recorded_run_is_the_announced_one_and_held_out_what_it_says(name):
    run = RECORDED[name]
    announced_recipe = recipe(RUNS[name])
    ours = asdict(announced_recipe)
    assert {key: run["recipe"][key] for key in ours} == {key: _lists(value) for key, value in ours.items()}
    added = [entry["date"] for entry in LATER if announced.run_of(name)[0] in entry["arms"]]
    assert run["recipe"]["date"] >= (added or [announced.experiments()["registered"]])[0].isoformat()
    frames_left = any("@" in part for part in ours["held_out"])
    for task, columns in run["succession"]["lists"].items():
        held = [flag == "1" for flag in columns["held"].split()]
        parts = [part for part in announced_recipe.parts_held_out if part.task == task]
        assert sum(held) == sum(len(part.words) for part in parts)
        counts = [int(count) for count in run["text"]["in_order"][task].split()]
        assert frames_left or not any(count for count, out in zip(counts, held) if out)


def _lists(value):
    return [_lists(part) for part in value] if isinstance(value, tuple) else value


ROOT = Path(__file__).parents[1]


def git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.slow
def test_the_file_says_when_it_entered_the_history(tmp_path, monkeypatch):
    if not (ROOT / ".git").exists() or git("rev-parse", "--is-shallow-repository") == "true":
        pytest.skip("no git history here")
    path = announced.FILE.relative_to(ROOT).as_posix()
    first = git("log", "--diff-filter=A", "--format=%h", "--", path).split()[-1]
    assert announced.committed().endswith(f"(commit {first})")
    copy = tmp_path / announced.FILE.name
    copy.write_bytes(announced.FILE.read_bytes())
    monkeypatch.setattr(announced, "FILE", copy)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert announced.committed() is None


@pytest.mark.slow
def test_what_was_announced_is_older_than_its_records_and_has_not_been_rewritten():
    if not (ROOT / ".git").exists() or git("rev-parse", "--is-shallow-repository") == "true":
        pytest.skip("no git history here")
    path = announced.FILE.relative_to(ROOT).as_posix()
    first = git("log", "--diff-filter=A", "--format=%H", "--", path).split()[-1]
    before = yaml.safe_load(git("show", f"{first}:{path}"))
    now = announced.experiments()
    # What is added later stands under `added`, and nothing else may change.
    assert before == now | {"added": []}
    # What was added later is older than its own runs.
    entered = dict.fromkeys(ARMS, first)
    for entry in announced.later():
        for arm in entry["arms"]:
            entered[arm] = git("log", f"-S{arm}:", "--format=%H", "--", path).split()[-1]
    for name in RECORDED:
        first = entered[announced.run_of(name)[0]]
        record = (observe.ANNOUNCED_RUNS / f"{name}.json").relative_to(ROOT).as_posix()
        added = git("log", "--diff-filter=A", "--format=%H", "--", record).split()
        if added:  # a record that is not committed yet is younger still
            assert added[-1] != first
            subprocess.run(["git", "-C", ROOT, "merge-base", "--is-ancestor", first, added[-1]], check=True)
