"""The grown model for the page: its weights, tokenizer, lists and means as scripts that a page can bring from a folder.

A page that is opened from a folder may not fetch files, so what `book/_static/live/model.js` needs becomes scripts: the
shipped safetensors file byte for byte in base64, in pieces that a progress bar can count, and one script with all else.
Nothing of it is kept in the repository: it is made when the site is.
"""

import base64
import hashlib
import json

import pandas as pd

from successor_heads import ablation, anatomy, features, figures, models, ordinals, ov_circuit, prompts, scores
from successor_heads.live import FOLDER, MODEL, element

# Bytes of the weights in one script; a multiple of three, so that base64 pads none but the last.
PIECE = 3 * 2**18
ROMAN = ordinals.OrdinalClass("roman_numerals", ordinals.ROMAN_NUMERALS)
# What Play shows before the model is loaded, and to readers without JavaScript.
EXAMPLE = ("days", "Monday, Tuesday, Wednesday,", "Thursday")
FIRST = 4  # words over all


def write(site):
    """Write the scripts into the site; returns what stands on the page in place of `{{ play }}`."""
    model = models.load(MODEL, device="cpu")
    scripts(site / "book/_static/live/data", model)
    return element("play", still(model))


def scripts(folder, model):
    """Write `about.js` and the pieces of the weights into a new folder."""
    folder.mkdir(parents=True)
    weights = (FOLDER / models.WEIGHTS).read_bytes()
    pieces: list[str] = []
    for start in range(0, len(weights), PIECE):
        pieces.append(f"weights-{len(pieces):02}.js")
        text = base64.b64encode(weights[start : start + PIECE]).decode("ascii")
        (folder / pieces[-1]).write_text(f'SuccessorHeads.receive("piece", "{text}");\n', encoding="ascii")
    digest = hashlib.sha256(weights).hexdigest()
    about = {"name": MODEL, "bytes": len(weights), "sha256": digest, "pieces": pieces, **described(model)}
    text = json.dumps(about, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    (folder / "about.js").write_text(f'SuccessorHeads.receive("about", {text});\n', encoding="utf8")


def described(model):
    """Everything about the model but its weights: config, tokenizer, lists, means of the heads, directions of the residues, conventions."""
    classes = ordinals.resolve(model.tokenizer)
    read = json.loads((FOLDER / "tokenizer.json").read_text(encoding="utf8"))
    places = read["model"]["vocab"]
    listed = classes | {ROMAN.task: ordinals.resolve_class(model.tokenizer, ROMAN, prefix=" ")}
    return {
        "config": json.loads((FOLDER / "config.json").read_text(encoding="utf8")),
        "tokenizer": {
            "vocabulary": sorted(places, key=places.get),
            "merges": [" ".join(pair) for pair in read["model"]["merges"]],
            "end": read["added_tokens"][0]["content"],
        },
        "lists": {task: plain(resolved) | {"held_out": task == ROMAN.task} for task, resolved in listed.items()},
        "means": rounded(prompts.mean_head_outputs(model, reference(classes))),
        "directions": rounded(residue_directions(anatomy.of(model), classes["numbers"])),
        "conventions": scores.CONVENTIONS,
    }


def reference(classes):
    """The lists over which chapter 1 takes its means: all that count, of every class."""
    return [text for resolved in classes.values() for text in prompts.counting_lists(resolved)[0] or []]


def residue_directions(parts, numbers):
    """For each residue the mean of what MLP0 writes for the numbers of the odd tens that end in it, less the mean over all: [residue, d_model].

    As chapter 4 learns them: the even tens and all words have no say.
    """
    odd = numbers.index // 10 % 2 == 1
    return features.class_means(ov_circuit.head_input(parts, numbers.token_ids[odd]), numbers.index[odd])


def plain(resolved):
    """A list as the page needs it; `follower` is -1 where a member has none."""
    follower = dict(zip(resolved.source.tolist(), resolved.target.tolist()))
    return {
        "name": resolved.task.replace("_", " ").replace("roman", "Roman"),
        "words": resolved.words,
        "ids": resolved.token_ids.tolist(),
        "index": resolved.index.tolist(),
        "follower": [follower.get(member, -1) for member in range(len(resolved.words))],
    }


def rounded(values):
    """A tensor as nested lists with the seven digits that single precision holds."""
    if values.ndim == 0:
        return float(f"{values.item():.7g}")
    return [rounded(each) for each in values]


def still(model):
    """What the model says to the example, as tables: its answers, and the total effect of every head on the right one."""
    task, text, word = EXAMPLE
    classes = ordinals.resolve(model.tokenizer)
    resolved = classes[task]
    members, answer = resolved.token_ids, resolved.token_ids[[resolved.words.index(word)]]
    shares = prompts.next_token_logits(model, [text])[0].softmax(-1)
    first = shares.topk(FIRST)
    said = pd.DataFrame(
        {
            "word": [model.tokenizer.decode(token).strip() for token in first.indices],
            "share of all words": [f"{value:.1%}" for value in first.values],
        }
    )
    effects = ablation.mean_ablation_effects(model, [text], answer, members=members, reference=reference(classes))
    falls = effects.difference_fall[:, :, 0].numpy()
    heads = pd.DataFrame(
        falls,
        index=pd.Index([f"layer {layer}" for layer in range(len(falls))], name=""),
        columns=[f"head {head}" for head in range(falls.shape[1])],
    )
    top = said["word"][0]
    return figures.table_html(
        said, caption=f"“{text}”: the model says “{top}”, with {said['share of all words'][0]} of all words."
    ) + figures.table_html(
        heads,
        caption=f"Total effect of every head: by how much the lead of “{word}” over the other days falls, in logits, when the head writes its mean over lists that count at the last word.",
    )
