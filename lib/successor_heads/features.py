"""What lies in MLP0's outputs: residues by probe, periods by Fourier, features by autoencoder, places in a list.

::

    x = head_input(parts, numbers.token_ids)                 # [token, d_model]
    probe_modulus(x, numbers.index, 10, seed=0).accuracy     # on tokens held out, with interval and null
    fourier_spectrum(x, numbers.index, seed=0)               # share of the variance by period, with null
    saes = train_saes(x, seeds=range(100), width=64, sparsity=0.1)
    fit_numeric_part(x, trios, ...)                          # the part of a vector that is a place in a list

All are blind to a rotation of the space: they look for directions, not for neurons. Tensors may lie on any
device; what is found comes back on the CPU.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, KFold
from torch import Tensor

from successor_heads import progress
from successor_heads.intervals import wilson

# Ridge penalty as a share of the mean squared length of a centred token: small enough to keep what is
# linear, large enough that a probe with more dimensions than tokens does not live on noise.
PENALTY = 0.1


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear probe for the index mod `modulus`, scored on tokens that its fit had not seen.

    `low` and `high` bound the accuracy (95% Wilson). The null is the same probe on permuted labels:
    `null_mean`, the 95th percentile `null_high`, and `p_value`, the share of permutations (the real
    labels among them) that do as well. `predicted` is the held-out guess for every token.
    `directions` are the unit rows of the probe that was fitted on all tokens.
    """

    modulus: int
    accuracy: float
    low: float
    high: float
    n: int
    null_mean: float
    null_high: float
    p_value: float
    predicted: Int[Tensor, " token"]
    directions: Float[Tensor, "residue d_model"]

    @property
    def found(self) -> bool:
        """Whether the residue can be read: more often than permuted labels allow, and mostly right."""
        return self.p_value < 0.05 and self.low > 0.5


def probe_modulus(
    x: Float[Tensor, "token d_model"],
    index: Int[Tensor, " token"],
    modulus: int,
    *,
    seed: int,
    groups: Int[np.ndarray, " token"] | None = None,
    n_folds: int = 10,
    n_permutations: int = 200,
) -> Probe:
    """A ridge probe for index mod `modulus`, cross-validated over random folds (paper, section 3).

    Folds are drawn over tokens, whatever their decade; with `groups`, such as decades or classes, over
    whole groups, so that a token is read by a probe that saw none of its group. The null keeps x and
    permutes the labels: it says what chance and the probe's capacity give, not what a neighbouring
    modulus explains (who can read mod 10 can read mod 5 and mod 2). Raises ValueError for a modulus
    below 2.
    """
    if modulus < 2:
        raise ValueError(f"a residue mod {modulus} holds nothing to probe for")
    rng = np.random.default_rng(seed)
    inputs = _unit_scale(x)
    labels = index.numpy() % modulus
    # Real labels first, then the permuted ones. Ridge is linear in its targets, so that one fit serves
    # them all.
    labelings = np.stack([labels, *(rng.permutation(labels) for _ in range(n_permutations))])
    targets = np.eye(modulus)[labelings].transpose(1, 0, 2).reshape(len(labels), -1)

    if groups is None:
        folds = KFold(n_folds, shuffle=True, random_state=seed).split(inputs)
    else:
        folds = GroupKFold(min(n_folds, len(np.unique(groups)))).split(inputs, groups=groups)
    predicted = np.empty_like(labelings)
    for train, test in folds:
        answers = Ridge(alpha=PENALTY).fit(inputs[train], targets[train]).predict(inputs[test])
        predicted[:, test] = answers.reshape(len(test), -1, modulus).argmax(-1).T
    accuracies = (predicted == labelings).mean(1)
    real, null = accuracies[0], accuracies[1:]

    directions = Ridge(alpha=PENALTY).fit(inputs, targets[:, :modulus]).coef_
    low, high = wilson(int((predicted[0] == labels).sum()), len(labels))
    return Probe(
        modulus=modulus,
        accuracy=float(real),
        low=low,
        high=high,
        n=len(labels),
        null_mean=float(null.mean()),
        null_high=float(np.percentile(null, 95)),
        p_value=float((accuracies >= real).mean()),
        predicted=torch.from_numpy(predicted[0]),
        directions=torch.nn.functional.normalize(torch.from_numpy(directions).to(x.dtype), dim=-1),
    )


def train_probes(
    x: Float[Tensor, "token d_model"],
    labels: Int[Tensor, "probe token"],
    n_labels: Sequence[int],
    *,
    seed: int,
    n_epochs: int = 100,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
) -> Float[Tensor, "probe label d_model"]:
    """Linear probes without a bias, each for labels of its own, by gradient descent (paper, section 3.3).

    The paper's settings are the defaults. It names no optimiser and no loss; here they are Adam and cross-entropy. All
    probes start from the same rows, see the same batches and take nothing from one another. `n_labels` says how many
    rows of a probe are its own; the others are zero. Read with `read_by`.
    """
    x, generator = x.cpu().float(), torch.Generator().manual_seed(seed)
    most, bound = max(n_labels), x.shape[1] ** -0.5
    rows = torch.empty(most, x.shape[1]).uniform_(-bound, bound, generator=generator)  # as PyTorch starts a linear map
    own = torch.arange(most) < torch.tensor(n_labels)[:, None]  # [probe, label]
    weight = (rows * own[..., None]).requires_grad_()
    closed = torch.where(own, 0.0, -torch.inf)[:, None]

    def loss_of(batch: Tensor) -> Tensor:
        logits = x[batch] @ weight.mT + closed  # [probe, token, label]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, batch].flatten(), reduction="sum")
        return loss / len(batch)  # summed over probes, so that each one's gradient is its own

    order = partial(torch.randperm, len(x), generator=generator)
    descend(weight, loss_of, order, n_epochs=n_epochs, batch_size=batch_size, learning_rate=learning_rate, of="probes")
    return weight.detach()


def descend(
    weight: Tensor,
    loss_of: Callable[[Int[Tensor, " batch"]], Float[Tensor, ""]],
    order: Callable[[], Int[Tensor, " case"]],
    *,
    n_epochs: int,
    batch_size: int,
    learning_rate: float,
    of: str,
) -> None:
    """Adam on `weight` in place: so many passes over all cases, each in an `order` of its own, batch by batch.

    `loss_of` takes the places of a batch's cases and returns their mean loss; `of` names what is fitted in the bar.
    """
    optimizer = torch.optim.Adam([weight], lr=learning_rate, fused=True)
    for _ in progress.bar(range(n_epochs), name=f"passes of {of}"):
        for batch in order().split(batch_size):
            optimizer.zero_grad()
            loss_of(batch).backward()
            optimizer.step()


MOST_STEP = 3.0  # of a logit, by one step of Adam
LEAST_LOGIT = -40.0  # below the highest; e^-40 is less than the rounding of a sum of probabilities


def _cross_entropy(logits: Float[Tensor, "case candidate"], wanted: Tensor) -> Float[Tensor, ""]:
    """Mean cross-entropy against labels or probabilities, over what is not hopeless; a wanted label that is counts 40 nats.

    Probabilities of e^-90 and their gradients are numbers that a processor has no fast way for: without the bound a pass
    takes ten times as long, for the same result.
    """
    return torch.nn.functional.cross_entropy(_bounded(logits), wanted)


def _calm(
    learning_rate: float, x: Float[Tensor, "case d_model"], to_logits: Float[Tensor, "d_model candidate"]
) -> float:
    """The learning rate, or less where a step of Adam would throw the logits about.

    A step moves every entry of a map by the rate, and a logit by up to rate · |x|₁ · |W_U|: ten times as much in a model
    of 576 dimensions as in one of 256, which then learns nothing.
    """
    return min(learning_rate, MOST_STEP / (x.abs().sum(1).mean() * to_logits.norm(dim=0).mean()).item())


def _bounded(logits: Float[Tensor, "case candidate"]) -> Float[Tensor, "case candidate"]:
    return logits.clamp(min=logits.detach().amax(-1, keepdim=True) + LEAST_LOGIT)


def read_by(
    probes: Float[Tensor, "probe label d_model"], x: Float[Tensor, "token d_model"], n_labels: Sequence[int]
) -> Int[Tensor, "probe token"]:
    """The label that each probe reads from each token."""
    logits = x.cpu().float() @ probes.mT
    closed = torch.arange(probes.shape[1]) >= torch.tensor(n_labels)[:, None]
    return logits.masked_fill(closed[:, None], -torch.inf).argmax(-1)


PENALTIES = tuple(10.0**power for power in range(-5, 2))


def nested_residues(
    x: Float[Tensor, "token d_model"], index: Int[Tensor, " token"], modulus: int, *, seed: int, n_folds: int = 10
) -> Int[Tensor, " token"]:
    """Index mod `modulus` as read from tokens held out, by a probe whose penalty was chosen without them.

    Each fold's penalty is the one of `PENALTIES` that reads most of the other folds' tokens, in an inner
    cross-validation. Use it where sources of different width or rank are compared: at one fixed penalty the source it
    suits best would look as if it held the residue, and the others as if they did not.
    """
    inputs, labels = _unit_scale(x), index.numpy() % modulus
    targets = np.eye(modulus)[labels]
    read = np.empty_like(labels)
    for train, test in KFold(n_folds, shuffle=True, random_state=seed).split(inputs):
        right = np.zeros(len(PENALTIES))
        for fit, inner in KFold(n_folds // 2, shuffle=True, random_state=seed).split(train):
            answers = _ridge_path(inputs[train[fit]], targets[train[fit]], inputs[train[inner]])
            right += (answers == labels[train[inner]]).sum(1)
        read[test] = _ridge_path(inputs[train], targets[train], inputs[test])[right.argmax()]
    return torch.from_numpy(read)


def _ridge_path(inputs: np.ndarray, targets: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """Residue that ridge regressions of each of `PENALTIES` read from `unseen`: [penalty, token], one factoring for all.

    What is factored is the smaller of XXᵀ and XᵀX, which takes less time than X itself. Its rounding is far below the
    least penalty.
    """
    mean, offset = inputs.mean(0), targets.mean(0)
    x, y, z = inputs - mean, targets - offset, unseen - mean
    if len(x) < x.shape[1]:
        values, vectors = np.linalg.eigh(x @ x.T)
        onto, along = z @ x.T @ vectors, vectors.T @ y
    else:
        values, vectors = np.linalg.eigh(x.T @ x)
        onto, along = z @ vectors, vectors.T @ (x.T @ y)
    shrunk = 1 / (values + np.array(PENALTIES)[:, None])  # [penalty, component]
    return (onto @ (shrunk[..., None] * along) + offset).argmax(-1)


def transferred_residues(
    x: Float[Tensor, "token d_model"],
    index: Int[Tensor, " token"],
    other: Float[Tensor, "other d_model"],
    *,
    modulus: int,
) -> Int[Tensor, " other"]:
    """Residue that a probe fitted on one class alone reads from each token of another class.

    Each class is taken around its own mean, which needs no labels: what is asked is whether the
    residues point the same way in both, not whether the classes lie in the same place.
    """
    targets = np.eye(modulus)[index.numpy() % modulus]
    probe = Ridge(alpha=PENALTY).fit(_unit_scale(x), targets)
    return torch.from_numpy(probe.predict(_unit_scale(other)).argmax(-1))


def fourier_spectrum(
    x: Float[Tensor, "token d_model"],
    index: Int[Tensor, " token"],
    *,
    seed: int,
    periods: Sequence[float] | None = None,
    n_permutations: int = 500,
) -> pd.DataFrame:
    """Share of the variance of x that a wave of each period over `index` carries, best read from a plot.

    One row a period: `period`, `share`, and from the same tokens in random order `null_mean`,
    `null_high` (95th percentile) and `p_value`, corrected for looking at all periods: the share of
    orders in which *some* period carries as much. Default periods are N/1, N/2, ... down to 2 for N
    tokens in a row, whose shares add up to 1. A set of residue directions shows at all harmonics: mod
    10 at 10, 5, 10/3, 5/2 and 2.
    """
    n = len(index)
    if periods is None:
        periods = [n / wave for wave in range(1, n // 2 + 1)]
    by_period = [_wave(index.numpy(), period) for period in periods]
    starts = np.cumsum([0, *(wave.shape[1] for wave in by_period[:-1])])
    waves = np.concatenate(by_period, axis=1)

    centred = _unit_scale(x)
    # In its own principal axes x is no wider than its number of tokens.
    scores, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    centred = scores * sizes

    def shares(order):
        return np.add.reduceat(((waves.T @ centred[order]) ** 2).sum(1), starts) / (centred**2).sum()

    rng = np.random.default_rng(seed)
    real = shares(np.arange(n))
    null = np.stack([shares(rng.permutation(n)) for _ in range(n_permutations)])
    as_high = (null.max(1)[:, None] >= real).sum(0)
    return pd.DataFrame(
        {
            "period": periods,
            "share": real,
            "null_mean": null.mean(0),
            "null_high": np.percentile(null, 95, axis=0),
            "p_value": (as_high + 1) / (n_permutations + 1),
        }
    )


def residue_share(
    values: Float[Tensor, "token value"], index: Int[Tensor, " token"], modulus: int
) -> Float[Tensor, " value"]:
    """Share of each value's variance over the tokens that the index mod `modulus` explains (R²).

    By chance about (modulus - 1) / (tokens - 1); 0 for a value that does not vary.
    """
    values = values.cpu()
    residues = torch.nn.functional.one_hot(index % modulus, modulus).to(values.dtype)
    means = residues.T @ values / residues.sum(0).clamp(min=1)[:, None]
    spread = (values - values.mean(0)).square().sum(0)
    left = (values - residues @ means).square().sum(0)
    return torch.where(spread > 0, 1 - left / spread.clamp(min=torch.finfo(values.dtype).tiny), 0.0)


@dataclass(frozen=True, eq=False)
class SparseAutoencoders:
    """Autoencoders of equal width, one a seed. ::

        a = relu((x - mean) / scale · encoder + encoder_bias),   x' = mean + scale · (a · features + decoder_bias)

    With `top_k` only the k largest activations of a token are kept. `features` are the decoders' unit
    rows. `activations` are those on the tokens they were trained on, `explained` is the share of the
    variance that the reconstruction keeps.
    """

    seeds: tuple[int, ...]
    mean: Float[Tensor, " d_model"]
    scale: float
    encoder: Float[Tensor, "seed d_model feature"]
    encoder_bias: Float[Tensor, "seed 1 feature"]
    features: Float[Tensor, "seed feature d_model"]
    decoder_bias: Float[Tensor, "seed 1 d_model"]
    top_k: int | None
    activations: Float[Tensor, "seed token feature"]
    explained: Float[Tensor, " seed"]

    @property
    def active(self) -> Float[Tensor, " seed"]:
        """Mean number of features that are on for a token."""
        return (self.activations > 0).sum(-1).float().mean(-1)

    @property
    def dead(self) -> Float[Tensor, " seed"]:
        """Share of features that are on for no token."""
        return (self.activations <= 0).all(1).float().mean(-1)

    def encode(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "seed token feature"]:
        """Activations on any tokens."""
        return _activations(self._scaled(x), self.encoder, self.encoder_bias, self.decoder_bias, self.top_k)

    def explained_on(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, " seed"]:
        """Share of the variance of these tokens that the reconstruction keeps: `1 - |x - x'|² / |x - mean|²`."""
        rebuilt = self.encode(x) @ self.features + self.decoder_bias
        x = self._scaled(x)
        return 1 - (x - rebuilt).square().sum((1, 2)) / x.square().sum()

    def _scaled(self, x: Tensor) -> Tensor:
        return (x.cpu().float() - self.mean) / self.scale


def train_saes(
    x: Float[Tensor, "token d_model"],
    *,
    seeds: Sequence[int],
    width: int,
    sparsity: float = 0.0,
    top_k: int | None = None,
    steps: int = 1500,
    batch_size: int | None = None,
    learning_rate: float = 3e-3,
) -> SparseAutoencoders:
    """Sparse autoencoders, all seeds in one batch of tensor operations (paper, section 3).

    Each minimises `|x - x'|² + sparsity · Σ activations`, averaged over tokens, for tokens of mean squared
    length 1. With `top_k` and no sparsity it is a TopK autoencoder. All tokens are in every step, or
    `batch_size` of them: each seed goes through the tokens in an order of its own, a new one each time, so that
    `steps_of` says how many steps so many passes are. Nothing passes from one seed to another: a seed's result is
    the same alone and in company, up to rounding.
    """
    x = x.cpu()
    mean, centred = x.float().mean(0), torch.from_numpy(_unit_scale(x)).float()
    decoder = torch.stack([_random_rows(seed, width, x.shape[1]) for seed in seeds])
    encoder = decoder.transpose(1, 2).clone()
    encoder_bias = torch.zeros(len(seeds), 1, width)
    decoder_bias = torch.zeros(len(seeds), 1, x.shape[1])
    parameters = [part.requires_grad_() for part in (encoder, encoder_bias, decoder, decoder_bias)]
    optimizer = torch.optim.Adam(parameters, lr=learning_rate, betas=(0.9, 0.99), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    size, start = batch_size or len(centred), 0
    for _ in progress.bar(range(steps), name="steps of autoencoders"):
        batch = centred
        if batch_size is not None:
            if start == 0:
                order = torch.stack([torch.randperm(len(centred), generator=g) for g in draws])  # [seed, token]
            batch = centred[order[:, start : start + size]]
            start = start + size if start + size < len(centred) else 0
        activations = _activations(batch, encoder, encoder_bias, decoder_bias, top_k)
        rebuilt = activations @ decoder + decoder_bias
        loss = (batch - rebuilt).square().sum(-1).mean(-1) + sparsity * activations.sum(-1).mean(-1)
        optimizer.zero_grad()
        loss.sum().backward()  # a sum, so that each seed's gradient is its own
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            # Or the penalty would be dodged: small activations, long decoder rows.
            decoder /= decoder.norm(dim=-1, keepdim=True)
    with torch.no_grad():
        activations = _activations(centred, encoder, encoder_bias, decoder_bias, top_k)
        rebuilt = activations @ decoder + decoder_bias
        explained = 1 - (centred - rebuilt).square().sum((1, 2)) / centred.square().sum()
    return SparseAutoencoders(
        seeds=tuple(seeds),
        mean=mean,
        scale=(x.float() - mean).square().sum(1).mean().sqrt().item(),
        encoder=encoder.detach(),
        encoder_bias=encoder_bias.detach(),
        features=decoder.detach(),
        decoder_bias=decoder_bias.detach(),
        top_k=top_k,
        activations=activations,
        explained=explained,
    )


def _activations(x: Tensor, encoder: Tensor, encoder_bias: Tensor, decoder_bias: Tensor, top_k: int | None) -> Tensor:
    """relu((x - decoder_bias) · encoder + encoder_bias), of which the top_k of each token stay."""
    activations = torch.relu((x - decoder_bias) @ encoder + encoder_bias)
    if top_k is None:
        return activations
    kept = activations.topk(top_k, dim=-1)
    return torch.zeros_like(activations).scatter(-1, kept.indices, kept.values)


def steps_of(n_tokens: int, *, n_epochs: int, batch_size: int) -> int:
    """How many steps of `train_saes` so many passes over the tokens are."""
    return n_epochs * -(-n_tokens // batch_size)


def most_important(
    saes: SparseAutoencoders,
    x: Float[Tensor, "token d_model"],
    says: Float[Tensor, "d_model candidate"],
    right: Int[Tensor, " token"],
) -> Int[Tensor, "seed token"]:
    """Of each token the feature whose ablation lowers the probability of the successor most (paper, section 3.2).

    A feature is taken out of the autoencoder's reconstruction of the token; `says` are the logits that a head writes on
    reading a vector, W_V W_O W_U, and `right` is the successor's place among the candidates.
    """
    codes = saes.encode(x)
    says, best = says.cpu().float(), torch.zeros(codes.shape[:2], dtype=torch.long)
    for run, activations in enumerate(codes):
        used = activations.any(0).nonzero()[:, 0]
        moves = saes.scale * saes.features[run, used] @ says  # [used feature, candidate]
        constant = (saes.mean + saes.scale * saes.decoder_bias[run]) @ says
        logits = activations[:, used] @ moves + constant
        for token, (own, of_all) in enumerate(zip(activations[:, used], logits)):
            on = own.nonzero()[:, 0]
            if not len(on):
                continue  # nothing to take out: feature 0 stands for none
            without = of_all - own[on, None] * moves[on]  # [feature that is on, candidate]
            # In logarithms, for where the head is sure the probabilities themselves are 0 or 1 to rounding.
            best[run, token] = used[on[without.log_softmax(-1)[:, right[token]].argmin()]]
    return best


def max_cosine(one: Float[Tensor, "feature d_model"], other: Float[Tensor, "feature d_model"]) -> float:
    """Mean over the features of one dictionary of the highest cosine with any of another's (paper, appendix B).

    By it the paper chooses width and penalty: features that come back in a second run are no accident of the first.
    """
    normalize = torch.nn.functional.normalize
    return (normalize(one, dim=-1) @ normalize(other, dim=-1).T).amax(1).mean().item()


def fit_output_map(
    x: Float[Tensor, "token d_model"],
    unembed: Float[Tensor, "d_model candidate"],
    own: Int[Tensor, " token"],
    *,
    seed: int,
    n_epochs: int = 15,
    batch_size: int = 128,
    learning_rate: float = 1e-2,
) -> Float[Tensor, "d_model d_model"]:
    """π_O, a map from what MLP0 writes to where the token is unembedded, by cross-entropy (paper, section 3.1).

    `own` is each token's place among the candidates: `x @ π_O @ unembed` is to be highest there. Scale x to a mean
    squared length of 1 first; optimiser and rate are ours, for the paper names none.
    """
    output_map = torch.eye(x.shape[1]).requires_grad_()
    order = partial(torch.randperm, len(x), generator=torch.Generator().manual_seed(seed))
    descend(
        output_map,
        lambda batch: _cross_entropy(x[batch] @ output_map @ unembed, own[batch]),
        order,
        n_epochs=n_epochs,
        batch_size=batch_size,
        learning_rate=_calm(learning_rate, x, unembed),
        of="the output map",
    )
    return output_map.detach()


def fit_numeric_part(
    x: Float[Tensor, "token d_model"],
    trios: Int[Tensor, "trio 3"],
    *,
    decodes: Float[Tensor, "d_model candidate"],
    own: Int[Tensor, " token"],
    says: Float[Tensor, "d_model candidate"],
    seed: int,
    n_epochs: int = 10,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
) -> Float[Tensor, "d_model d_model"]:
    """π_N, the map that picks a token's place in its list; what it leaves, 1 - π_N, is the list (paper, section 3.1).

    A trio (i, j, t) is a token, a token of another list, and the one of that list that stands where i stands in its
    own. `x_i π_N + x_j (1 - π_N)` is to be x_t, by the paper's three losses: squared distance; cross-entropy of its
    decoding by `decodes`, π_O W_U, against t; and cross-entropy between what the head `says` of it and of x_t.
    """
    numeric = (torch.eye(x.shape[1]) / 2).requires_grad_()
    said = _bounded(x @ says).softmax(-1)  # of every token, what the head says of it

    def loss_of(batch: Tensor) -> Tensor:
        i, j, t = trios[batch].T
        mixed = recombined(x, numeric, i, j)
        distance = (mixed - x[t]).square().sum(1).mean()
        return distance + _cross_entropy(mixed @ decodes, own[t]) + _cross_entropy(mixed @ says, said[t])

    order = partial(torch.randperm, len(trios), generator=torch.Generator().manual_seed(seed))
    descend(
        numeric,
        loss_of,
        order,
        n_epochs=n_epochs,
        batch_size=batch_size,
        learning_rate=_calm(learning_rate, x, decodes),
        of="the numeric part",
    )
    return numeric.detach()


def recombined(
    x: Float[Tensor, "token d_model"],
    numeric: Float[Tensor, "d_model d_model"],
    i: Int[Tensor, " trio"],
    j: Int[Tensor, " trio"],
) -> Float[Tensor, "trio d_model"]:
    """The place of i in the list of j: `x_i π_N + x_j (1 - π_N)`."""
    return (x[i] - x[j]) @ numeric + x[j]


def class_means(
    x: Float[Tensor, "token d_model"], index: Int[Tensor, " token"], modulus: int = 10
) -> Float[Tensor, "residue d_model"]:
    """The mean vector of the tokens of each residue, less that of all."""
    return torch.stack([x[index % modulus == residue].mean(0) for residue in range(modulus)]) - x.mean(0)


def in_circle(
    x: Float[Tensor, "token d_model"],
    index: Int[Tensor, " token"],
    period: float | int,
    *,
    learned: Bool[Tensor, " token"],
) -> Float[Tensor, "token 2"]:
    """Tokens in the plane in which an index would run round once in every `period`, by what some of them teach.

    The plane's two directions are the vectors of the `learned` tokens, around their mean, summed with the cosine and
    with the sine of 2 π index / period, each of length 1. A token that was not learned lies in a circle at its own
    angle only if what was learned holds for it as well.
    """
    around = x - x[learned].mean(0)
    angle = 2 * math.pi * index / period
    waves = torch.stack([angle.cos(), angle.sin()], 1)[learned]
    directions = (waves - waves.mean(0)).T @ around[learned]
    return around @ torch.nn.functional.normalize(directions, dim=1).T


def at_its_angle(
    points: Float[Tensor, "token 2"], index: Int[Tensor, " token"], period: float | int
) -> Bool[Tensor, " token"]:
    """Whether a point of `in_circle` lies nearer to the angle of its own index than to that of any other place of the period."""
    off = torch.atan2(points[:, 1], points[:, 0]) - 2 * math.pi * index / period
    return torch.cos(off) > math.cos(math.pi / period)


def modal_features(
    best: Int[Tensor, "*seed token"], index: Int[Tensor, " token"], modulus: int
) -> tuple[Int[Tensor, "*seed residue"], Float[Tensor, "*seed residue"]]:
    """For each residue the feature that is `best` for most of its tokens, and the share of them (paper, section 3).

    The share of a residue without tokens is NaN.
    """
    modal, share = [], []
    for residue in range(modulus):
        own = best[..., index % modulus == residue]
        feature = own.mode(-1).values if own.shape[-1] else torch.zeros_like(best[..., 0])
        modal.append(feature)
        share.append((own == feature[..., None]).float().mean(-1))
    return torch.stack(modal, -1), torch.stack(share, -1)


def matched_cosines(
    found: Float[Tensor, "feature d_model"], truth: Float[Tensor, "direction d_model"]
) -> tuple[Float[Tensor, " direction"], Int[Tensor, " direction"]]:
    """Cosine of each true direction with the found one it is matched to, and the place of that one.

    Every found direction serves at most once, and the matching with the largest sum is taken: a method
    cannot answer all ten with one feature. Signs count. Raises ValueError when fewer are found than true.
    """
    if len(found) < len(truth):
        raise ValueError(f"{len(found)} directions cannot be matched to {len(truth)}")
    normalize = torch.nn.functional.normalize
    cosines = normalize(truth.cpu(), dim=-1) @ normalize(found.cpu(), dim=-1).T
    _, place = linear_sum_assignment(cosines.numpy(), maximize=True)
    place = torch.from_numpy(place)
    return cosines.gather(1, place[:, None])[:, 0], place


def _unit_scale(x: Tensor) -> np.ndarray:
    """x around its mean, scaled so that the mean squared length of a token is 1."""
    values = x.cpu().double().numpy()
    centred = values - values.mean(0)
    return centred / np.sqrt((centred**2).sum(1).mean())


def _wave(index: np.ndarray, period: float) -> np.ndarray:
    """Orthonormal basis [token, 1 or 2] of the waves of one period around their mean."""
    angle = 2 * np.pi * index / period
    wave = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    basis, sizes, _ = np.linalg.svd(wave - wave.mean(0), full_matrices=False)
    return basis[:, sizes > 1e-6 * np.sqrt(len(index))]  # of period 2 only the cosine is left


def _random_rows(seed: int, n_rows: int, d_model: int) -> Tensor:
    rows = torch.randn(n_rows, d_model, generator=torch.Generator().manual_seed(seed))
    return rows / rows.norm(dim=-1, keepdim=True)
