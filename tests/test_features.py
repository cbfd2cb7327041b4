"""Probe, spectrum and autoencoders on vectors whose make-up is known."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV, KFold

from successor_heads import features

INDEX = torch.arange(1, 201)


def made_up(modulus: int, *, noise: float = 0.3, d_model: int = 128, seed: int = 0):
    """Tens plus residue plus noise, and the residue directions."""
    generator = torch.Generator().manual_seed(seed)
    unit = torch.nn.functional.normalize
    tens = unit(torch.randn(201 // modulus + 1, d_model, generator=generator), dim=-1)
    residues = unit(torch.randn(modulus, d_model, generator=generator), dim=-1)
    rest = noise * unit(torch.randn(len(INDEX), d_model, generator=generator), dim=-1)
    return tens[INDEX // modulus] + residues[INDEX % modulus] + rest, residues


@pytest.fixture(scope="module")
def decimal():
    return made_up(10)


@pytest.fixture(scope="module")
def septimal():
    return made_up(7)


@pytest.mark.slow
def test_probe_finds_the_planted_modulus_and_its_divisors_only(decimal):
    found = [m for m in range(2, 21) if features.probe_modulus(decimal[0], INDEX, m, seed=0, n_permutations=40).found]
    assert found == [2, 5, 10]


@pytest.mark.slow
def test_probe_finds_no_ten_in_the_mod_7_twin(septimal):
    probes = {m: features.probe_modulus(septimal[0], INDEX, m, seed=0) for m in (2, 5, 7, 10)}
    assert probes[7].accuracy >= 0.95 and probes[7].p_value < 0.01
    assert [m for m, probe in probes.items() if probe.found] == [7]


def test_probe_agrees_with_scikit_learns_ridge_classifier(decimal):
    x = torch.from_numpy(features._unit_scale(made_up(10, noise=2.5)[0]))
    labels = INDEX.numpy() % 10
    expected = np.empty_like(labels)
    for train, test in KFold(10, shuffle=True, random_state=3).split(x):
        classifier = RidgeClassifier(alpha=features.PENALTY).fit(x[train], labels[train])
        expected[test] = classifier.predict(x[test])
    probe = features.probe_modulus(x, INDEX, 10, seed=3, n_permutations=5)
    assert probe.predicted.tolist() == expected.tolist()
    assert 0.3 < probe.accuracy < 1  # noisy enough for the comparison to mean something


def test_probe_on_noise_is_within_its_null():
    noise = torch.randn(200, 64, generator=torch.Generator().manual_seed(1))
    probe = features.probe_modulus(noise, INDEX, 10, seed=0)
    assert not probe.found and probe.p_value > 0.05
    assert abs(probe.null_mean - 0.1) < 0.02 and probe.low < 0.1 < probe.high


def test_probe_does_not_see_a_rotation(decimal):
    rotation = torch.linalg.qr(torch.randn(128, 128, generator=torch.Generator().manual_seed(2)))[0]
    before = features.probe_modulus(decimal[0], INDEX, 10, seed=0, n_permutations=3)
    after = features.probe_modulus(7 * decimal[0] @ rotation + 5, INDEX, 10, seed=0, n_permutations=3)
    assert (before.predicted == after.predicted).all()
    torch.testing.assert_close(before.directions @ rotation, after.directions, atol=1e-4, rtol=0)


def test_probe_directions_are_the_planted_ones_around_their_mean(decimal):
    x, residues = decimal
    probe = features.probe_modulus(x, INDEX, 10, seed=0, n_permutations=1)
    cosines, place = features.matched_cosines(probe.directions, residues - residues.mean(0))
    assert cosines.mean() > 0.85 and place.tolist() == list(range(10))


def test_probe_refuses_a_modulus_that_says_nothing(decimal):
    with pytest.raises(ValueError):
        features.probe_modulus(decimal[0], INDEX, 1, seed=0)


@pytest.mark.parametrize("modulus", [7, 10])
@pytest.mark.slow
def test_spectrum_peaks_at_the_planted_periods_and_nowhere_else(modulus):
    x, _ = made_up(modulus)
    harmonics = [modulus / wave for wave in range(1, modulus // 2 + 1)]
    others = [float(period) for period in range(3, 30) if all(abs(period - harmonic) > 0.6 for harmonic in harmonics)]
    spectrum = features.fourier_spectrum(x, INDEX, seed=0, periods=[*harmonics, *others]).set_index("period")
    assert (spectrum.loc[harmonics, "p_value"] < 0.01).all()
    assert spectrum.loc[harmonics, "share"].min() > spectrum.loc[others, "share"].max()


def test_spectrum_is_that_of_the_fast_fourier_transform(decimal):
    x = features._unit_scale(decimal[0])
    power = (np.abs(np.fft.rfft(x, axis=0)) ** 2).sum(1)
    power[1:-1] *= 2  # all waves but the constant and the fastest have a twin
    spectrum = features.fourier_spectrum(decimal[0], INDEX, seed=0, n_permutations=2)
    np.testing.assert_allclose(spectrum["share"], power[1:] / power[1:].sum(), atol=1e-10)
    assert spectrum["period"].tolist() == [200 / wave for wave in range(1, 101)]
    assert spectrum["share"].sum() == pytest.approx(1)


@pytest.mark.slow
def test_spectrum_of_noise_has_no_peak():
    noise = torch.randn(200, 64, generator=torch.Generator().manual_seed(4))
    assert features.fourier_spectrum(noise, INDEX, seed=0)["p_value"].min() > 0.05


@pytest.mark.slow
def test_autoencoders_find_the_planted_directions(decimal):
    x, residues = decimal
    saes = features.train_saes(x, seeds=(0, 1), width=48, sparsity=0.1, steps=800)
    # What all ten share can as well be said by the tens: only the differences are there to be found.
    truth = residues - residues.mean(0)
    cosines = torch.stack([features.matched_cosines(found, truth)[0] for found in saes.features])
    assert cosines.mean() > 0.9
    chance = torch.randn(48, 128, generator=torch.Generator().manual_seed(5))
    assert features.matched_cosines(chance, truth)[0].mean() < 0.4
    assert saes.explained.min() > 0.9 and saes.active.max() < 6


def test_autoencoders_in_a_batch_are_those_trained_alone(decimal):
    together = features.train_saes(decimal[0], seeds=(0, 1, 2), width=16, sparsity=0.1, steps=60)
    alone = features.train_saes(decimal[0], seeds=(1,), width=16, sparsity=0.1, steps=60)
    torch.testing.assert_close(together.features[1], alone.features[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(together.explained[1], alone.explained[0], atol=1e-4, rtol=0)


def test_every_found_direction_is_matched_once():
    truth = torch.eye(3)
    one_for_all = torch.ones(3, 3) + 1e-3 * torch.eye(3)
    cosines, place = features.matched_cosines(one_for_all, truth)
    assert sorted(place.tolist()) == [0, 1, 2] and (cosines < 0.6).all()
    with pytest.raises(ValueError):
        features.matched_cosines(truth[:2], truth)


def test_a_probe_over_groups_has_seen_no_token_of_the_group_that_it_reads():
    """Residues that can be read only from other members of the same ten: random folds can, whole tens cannot."""
    generator = torch.Generator().manual_seed(6)
    own = torch.randn(21, 10, 128, generator=generator)  # each ten with residue directions of its own
    x = own[INDEX // 10, INDEX % 10 // 5] + 0.1 * torch.randn(200, 128, generator=generator)
    halves = INDEX % 10 // 5  # all that x says, and each ten says it in its own way
    seen = features.probe_modulus(x, halves, 2, seed=0, n_permutations=20)
    unseen = features.probe_modulus(x, halves, 2, seed=0, groups=(INDEX // 10).numpy(), n_permutations=20)
    assert seen.found and seen.accuracy > 0.95
    assert not unseen.found and unseen.accuracy < 0.7


def test_a_probe_reads_unseen_tens_where_the_directions_are_shared(decimal):
    probe = features.probe_modulus(decimal[0], INDEX, 10, seed=0, groups=(INDEX // 10).numpy(), n_permutations=20)
    assert probe.found and probe.accuracy >= 0.95


def test_removing_a_waves_plane_takes_its_period_out_of_the_spectrum(decimal):
    """The plane by least squares, independently of the library."""
    x, _ = decimal
    wave = torch.stack([torch.cos(2 * torch.pi * INDEX / 10), torch.sin(2 * torch.pi * INDEX / 10)])
    plane = torch.linalg.svd((wave - wave.mean(1, keepdim=True)) @ (x - x.mean(0)), full_matrices=False)[2]
    left = x - (x - x.mean(0)) @ plane.T @ plane
    share = lambda x: features.fourier_spectrum(x, INDEX, seed=0, periods=[10.0, 5.0], n_permutations=2)["share"]  # noqa: E731
    assert share(x)[0] > 0.05 and share(left)[0] < 1e-10
    assert share(left)[1] > 0.8 * share(x)[1]


def test_residue_share_is_that_of_an_analysis_of_variance():
    generator = torch.Generator().manual_seed(7)
    values = torch.stack(
        [(INDEX % 10).double(), torch.randn(200, generator=generator).double(), torch.ones(200).double()], 1
    )
    values[:, 1] += INDEX % 10 == 3
    share = features.residue_share(values, INDEX, 10)
    groups = [values[INDEX % 10 == residue, 1].numpy() for residue in range(10)]
    within = sum(((group - group.mean()) ** 2).sum() for group in groups)
    assert share[0] == pytest.approx(1)
    assert share[1] == pytest.approx(1 - within / ((values[:, 1] - values[:, 1].mean()) ** 2).sum().item())
    assert share[2] == 0  # what does not vary is explained by nothing
    assert (features.residue_share(values, INDEX, 7)[:2] < 0.15).all()


def test_the_modal_feature_is_counted_among_the_tokens_of_its_residue():
    index = torch.tensor([1, 11, 21, 2, 12, 10])
    best = torch.tensor([[5, 5, 7, 7, 7, 0], [1, 1, 1, 1, 2, 3]])
    modal, share = features.modal_features(best, index, 10)
    assert modal[:, :3].tolist() == [[0, 5, 7], [3, 1, 1]]
    torch.testing.assert_close(share[:, :3], torch.tensor([[1, 2 / 3, 1], [1, 1, 0.5]]))
    assert share[:, 3:].isnan().all()  # no token has these residues


@pytest.mark.parametrize("settings", [{"sparsity": 0.1}, {"top_k": 3}, {"top_k": 3, "batch_size": 40}], ids=str)
def test_every_kind_of_autoencoder_is_the_same_alone_and_in_company(decimal, settings):
    together = features.train_saes(decimal[0], seeds=(0, 1, 2), width=16, steps=60, **settings)
    alone = features.train_saes(decimal[0], seeds=(1,), width=16, steps=60, **settings)
    torch.testing.assert_close(together.features[1], alone.features[0], atol=1e-4, rtol=0)
    assert (together.features[0] - together.features[1]).abs().max() > 0.1  # seeds differ


@pytest.mark.slow
def test_top_k_autoencoders_keep_k_and_find_the_planted_directions(decimal):
    x, residues = decimal
    saes = features.train_saes(x, seeds=(0, 1), width=48, top_k=2, steps=800)
    assert ((saes.activations > 0).sum(-1) <= 2).all() and saes.active.min() > 1.5
    truth = residues - residues.mean(0)
    cosines = torch.stack([features.matched_cosines(found, truth)[0] for found in saes.features])
    assert cosines.mean() > 0.75


@pytest.mark.slow
def test_autoencoders_encode_new_tokens_as_those_they_were_trained_on(decimal):
    x, _ = decimal
    half, rest = torch.randperm(200, generator=torch.Generator().manual_seed(9)).tensor_split(2)
    saes = features.train_saes(x[half], seeds=(0, 1), width=48, sparsity=0.1, steps=400)
    torch.testing.assert_close(saes.encode(x[half]), saes.activations, atol=1e-4, rtol=0)
    torch.testing.assert_close(saes.explained_on(x[half]), saes.explained, atol=1e-4, rtol=0)
    noise = x.std() * torch.randn(x.shape, generator=torch.Generator().manual_seed(10))
    unseen = saes.explained_on(x[rest])
    assert (unseen < saes.explained).all() and (unseen > 0.6).all() and (saes.explained_on(noise) < 0.4).all()


def test_class_means_are_means_less_that_of_all():
    x, index = torch.arange(12.0).reshape(6, 2), torch.tensor([1, 2, 3, 4, 5, 6])
    means = features.class_means(x, index, 3)
    torch.testing.assert_close(
        means, torch.tensor([[2.0, 2.0], [-2.0, -2.0], [0.0, 0.0]])
    )  # of 3 and 6, 1 and 4, 2 and 5
    assert not torch.allclose(means, features.class_means(x, index.flip(0), 3))


@pytest.mark.slow
def test_modal_features_of_autoencoders_stand_out_at_the_planted_modulus_only(septimal):
    x, _ = septimal
    saes = features.train_saes(x, seeds=range(4), width=48, sparsity=0.1, steps=600)
    best = saes.activations.argmax(-1)
    shuffled = INDEX[torch.randperm(200, generator=torch.Generator().manual_seed(8))]
    gap = {
        k: (
            features.modal_features(best, INDEX, k)[1].mean() - features.modal_features(best, shuffled, k)[1].mean()
        ).item()
        for k in (5, 6, 7, 8, 9, 10, 11)
    }
    assert max(gap, key=gap.get) == 7 and gap[7] > 0.1
    assert max(gap[k] for k in gap if k != 7) < 0.3 * gap[7]


@pytest.mark.slow
@pytest.mark.parametrize("width", [128, 300], ids=["fewer dimensions than tokens", "more"])
def test_nested_residues_are_those_of_scikit_learn_s_grid_search(decimal, width):
    index = INDEX
    x = decimal[0] @ torch.randn(decimal[0].shape[1], width, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    x = x + 3 * x.std() * noise  # so that the penalty matters
    read = features.nested_residues(x, index, 10, seed=0)
    inputs, labels = x.double().numpy(), index.numpy() % 10
    inputs = inputs - inputs.mean(0)
    inputs /= np.sqrt((inputs**2).sum(1).mean())
    theirs = np.empty_like(labels)
    for train, test in KFold(10, shuffle=True, random_state=0).split(inputs):
        fits = GridSearchCV(
            Ridge(),
            {"alpha": list(features.PENALTIES)},
            cv=KFold(5, shuffle=True, random_state=0),
            # Tokens right, summed over folds of unequal size, as the mean over tokens would be.
            scoring=lambda fit, a, b: float((fit.predict(a).argmax(1) == b.argmax(1)).sum()),
        ).fit(inputs[train], np.eye(10)[labels[train]])
        theirs[test] = fits.predict(inputs[test]).argmax(1)
    assert (read.numpy() == theirs).all()
    assert 0.3 < (read.numpy() == labels).mean() < 1


@pytest.mark.slow
def test_nested_residues_of_noise_are_chance(decimal):
    x, index = decimal[0], INDEX
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    assert (features.nested_residues(noise, index, 10, seed=0) == index % 10).double().mean() < 0.2
    assert (features.nested_residues(x, index, 10, seed=0) == index % 10).double().mean() > 0.95


def test_probes_by_descent_in_a_batch_are_those_trained_alone_and_are_torchs(decimal):
    x, _ = decimal
    labels = torch.stack([INDEX % 10, INDEX % 7])
    together = features.train_probes(x, labels, [10, 7], seed=3, n_epochs=3)
    alone = features.train_probes(x, labels[:1], [10], seed=3, n_epochs=3)
    torch.testing.assert_close(together[0], alone[0], atol=1e-5, rtol=0)
    assert (together[1, 7:] == 0).all()
    # By PyTorch's own layer, loss and optimiser, from the same start and in the same order.
    generator = torch.Generator().manual_seed(3)
    layer = torch.nn.Linear(128, 10, bias=False)
    layer.weight.data = torch.empty(10, 128).uniform_(-(128**-0.5), 128**-0.5, generator=generator)
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3)
    for _ in range(3):
        for batch in torch.randperm(200, generator=generator).split(32):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(layer(x[batch]), labels[0, batch]).backward()
            optimizer.step()
    torch.testing.assert_close(alone[0], layer.weight.data, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_probe_by_descent_reads_what_is_planted_and_no_other_modulus(decimal, septimal):
    test, train = torch.randperm(200, generator=torch.Generator().manual_seed(8)).tensor_split([40])
    moduli = [7, 9, 10, 11]
    for x, own in ((decimal[0], 10), (septimal[0], 7)):
        rows = features.train_probes(x[train], torch.stack([INDEX[train] % m for m in moduli]), moduli, seed=0)
        read = features.read_by(rows, x[test], moduli)
        right = {m: (read[place] == INDEX[test] % m).double().mean().item() for place, m in enumerate(moduli)}
        assert right.pop(own) >= 0.95 and max(right.values()) < 0.5


def test_the_most_important_feature_is_the_one_without_which_the_successor_is_least_probable(decimal):
    x, _ = decimal
    saes = features.train_saes(x, seeds=(0, 1), width=20, sparsity=0.05, steps=60)
    says = torch.randn(128, 30, generator=torch.Generator().manual_seed(9))
    right = INDEX % 30
    best = features.most_important(saes, x, says, right)
    codes = saes.encode(x)
    for run, token in ((0, 3), (1, 50), (1, 199)):
        found = []
        for feature in range(20):
            code = codes[run, token].clone()
            code[feature] = 0
            whole = saes.mean + saes.scale * (code @ saes.features[run] + saes.decoder_bias[run, 0])
            found.append((whole @ says).double().softmax(0)[right[token]].item())
        on = codes[run, token] > 0
        assert best[run, token] == min(np.flatnonzero(on), key=lambda feature: found[feature])


def test_passes_over_tokens_show_each_token_as_often(monkeypatch):
    """Every pass has every token once, in an order of its own for each seed."""
    seen = []
    real = features._activations
    monkeypatch.setattr(features, "_activations", lambda x, *parts: seen.append(x.detach().clone()) or real(x, *parts))
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    steps = features.steps_of(50, n_epochs=2, batch_size=16)
    features.train_saes(x, seeds=(0, 1), width=4, steps=steps, batch_size=16)
    assert steps == 8 and [len(batch[0]) for batch in seen[:4]] == [16, 16, 16, 2]
    passes = [torch.cat([batch[run] for batch in seen[start : start + 4]]) for run in (0, 1) for start in (0, 4)]
    for one in passes:
        torch.testing.assert_close(one.sort(0).values, passes[0].sort(0).values)
    assert not torch.equal(passes[0], passes[1]) and not torch.equal(passes[0], passes[2])


@pytest.mark.slow
def test_a_numeric_part_recombines_tokens_it_never_saw_and_not_if_lists_are_shuffled():
    """Vectors that are a list plus a place, exactly: held-out tokens are met; with places permuted they are not."""
    generator = torch.Generator().manual_seed(10)
    lists, places = torch.randn(4, 64, generator=generator), torch.randn(12, 64, generator=generator)
    own_list, own_place = torch.arange(48) // 12, torch.arange(48) % 12
    x = (lists[own_list] + places[own_place]) / 128**0.5
    unembed = torch.randn(64, 48, generator=generator)

    def shares(place):
        trios = torch.tensor([
            (i, j, t) for i in range(48) for j in range(48) for t in range(48)
            if own_list[i] != own_list[j] and own_list[t] == own_list[j] and place[t] == place[i]
        ])  # fmt: skip
        held = torch.tensor([5, 20, 33, 47])
        train, test = (
            trios[~torch.isin(trios, held).any(1)],
            trios[torch.isin(trios[:, 2], held) & ~torch.isin(trios[:, :2], held).any(1)],
        )
        numeric = features.fit_numeric_part(
            x, train, decodes=unembed, own=torch.arange(48), says=unembed, seed=0, n_epochs=40
        )
        mixed = features.recombined(x, numeric, test[:, 0], test[:, 1])
        return (torch.cdist(mixed, x).argmin(1) == test[:, 2]).double().mean().item()

    shuffled = torch.cat([torch.randperm(12, generator=generator) for _ in range(4)])
    assert shares(own_place) >= 0.95 and shares(shuffled) < 0.3


def test_an_output_map_decodes_what_has_a_linear_map():
    generator = torch.Generator().manual_seed(11)
    x = torch.nn.functional.normalize(torch.randn(300, 48, generator=generator), dim=1)
    rotation = torch.linalg.qr(torch.randn(48, 48, generator=generator))[0]
    unembed = 5 * (x @ rotation).T  # what a map that turns the space would meet
    aside, train = torch.randperm(300, generator=generator).tensor_split([60])
    fitted = features.fit_output_map(x[train], unembed, train, seed=0)
    assert ((x[aside] @ fitted @ unembed).argmax(1) == aside).double().mean() >= 0.95
    assert ((x[aside] @ unembed).argmax(1) == aside).double().mean() < 0.2  # without the map


def test_one_step_of_an_output_map_moves_no_logits_by_much(monkeypatch):
    """Long unembeddings, as published models have them: there the plain rate throws every logit about."""
    generator = torch.Generator().manual_seed(11)
    x = torch.nn.functional.normalize(torch.randn(400, 96, generator=generator), dim=1)
    unembed = 50 * torch.randn(96, 400, generator=generator)

    def moved():
        one_step = features.fit_output_map(x, unembed, torch.arange(400), seed=0, n_epochs=1, batch_size=400)
        return (x @ one_step @ unembed - x @ unembed).abs().mean()

    calm = moved()
    assert calm <= features.MOST_STEP
    monkeypatch.setattr(features, "MOST_STEP", float("inf"))
    assert moved() > 5 * calm


def test_hopeless_logits_change_neither_loss_nor_gradient():
    logits = 15 * torch.randn(20, 300, generator=torch.Generator().manual_seed(13))
    wanted = torch.nn.functional.one_hot(logits.topk(3).indices[:, 2], 300).float()
    for target in (wanted.argmax(1), wanted):
        own, plain = (logits.clone().requires_grad_() for _ in range(2))
        loss, reference = features._cross_entropy(own, target), torch.nn.functional.cross_entropy(plain, target)
        loss.backward()
        reference.backward()
        torch.testing.assert_close(loss, reference)
        torch.testing.assert_close(own.grad, plain.grad)
        assert (own.grad == 0).sum() > (plain.grad == 0).sum()  # what is hopeless has no gradient at all


def test_max_cosine_is_one_for_a_dictionary_with_itself_in_any_order():
    rows = torch.randn(20, 8, generator=torch.Generator().manual_seed(12))
    assert features.max_cosine(rows, rows.flip(0) * 3) == pytest.approx(1, abs=1e-5)
    assert features.max_cosine(torch.eye(4), -torch.eye(4)) == 0


def test_what_was_not_learned_lies_in_a_circle_of_its_own_period_and_of_no_other():
    """A circle of period 6 in 20 dimensions, with noise; what is learned from noise alone holds for nothing else."""
    generator = torch.Generator().manual_seed(0)
    index = torch.arange(1, 121)
    plane = torch.linalg.qr(torch.randn(20, 2, generator=generator))[0].T
    angle = 2 * torch.pi * index / 6
    noise = 0.2 * torch.randn(120, 20, generator=generator)
    x = torch.stack([angle.cos(), angle.sin()], 1) @ plane + noise + 5.0
    learned = torch.isin(index // 10, torch.tensor([0, 3, 4, 7, 9, 11]))

    def right(x, period):
        points = features.in_circle(x, index, period, learned=learned)
        return features.at_its_angle(points, index, period)[~learned].float().mean().item()

    assert right(x, 6) > 0.95
    assert right(x, 7) < 0.4 and right(noise, 6) < 0.35
    # Where it is: of radius 1 around the mean, the place 6 on the first axis and a quarter turn later on the second.
    still = features.in_circle(x - noise, index, 6, learned=learned)
    assert torch.allclose(still.norm(dim=1), torch.ones(120), atol=0.15)
    assert still[5, 0] > 0.8 and still[index % 12 == 3][:, 0].max() < -0.8
