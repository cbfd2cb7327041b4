"""Probe, spectrum and autoencoders on vectors whose make-up is known."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import KFold

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


def test_probe_finds_the_planted_modulus_and_its_divisors_only(decimal):
    found = [m for m in range(2, 21) if features.probe_modulus(decimal[0], INDEX, m, seed=0, n_permutations=40).found]
    assert found == [2, 5, 10]


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


def test_spectrum_of_noise_has_no_peak():
    noise = torch.randn(200, 64, generator=torch.Generator().manual_seed(4))
    assert features.fourier_spectrum(noise, INDEX, seed=0)["p_value"].min() > 0.05


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
