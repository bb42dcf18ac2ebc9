"""Films from fMRI: contrast of two views of a window without labels, and frames whose noises share a part.

A transformer over patches of all volumes of a window first learns which views are of one window: in one view the same
places are hidden at all volumes, in the other volumes are replaced by interpolation in time. Then it is contrasted with
a picture embedding of each frame. Frames are drawn of noises that have half of their variance in common, and beside
that of noises that share nothing, and all.

Systems    B2 NeuroCine (Sun et al. 2024, arXiv:2402.01590)
Run        braindec run neurocine --data prepared/cc2017 --out runs/neurocine
Smoke      braindec run neurocine --smoke: two clips told apart 0.877 [0.86, 0.90] (n 240, chance 0.5, null 0.461,
           ridge 0.886); without contrast of views 0.880, a difference of -0.002 [-0.011, +0.006]
Needs      datasets/cc2017 prepared with --set n_frames=6 --set image_side=64 (films beside the scans); hours on a GPU
Published  CC2017, the paper's abstract: SSIM 21 %, 31 % and 12 % above that of earlier systems (three subjects)
Measured   not measured: needs the scans and films of CC2017
Tried      neither gain appears on simulated films: contrast of views is worth nothing in three seeds, and a loss where
           it lasts longer; shared noise changes neither likeness nor steadiness of frames (notes)
"""

from braindec import evaluate
from braindec.adapters import region_patches
from braindec.backbones import masked_transformer
from braindec.data import sliding
from braindec.data.preprocessing import Detrend, Standardise
from braindec.decoder.two_views import Config as TwoViews
from braindec.evaluate import dependent_noise, panels, two_views, video
from braindec.generators import embedded_unclip
from braindec.losses import soft_clip
from braindec.recipe import NeuralData, Recipe
from braindec.targets import framewise, tiny_openclip
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("cc2017"),
    target=framewise.Config(image=tiny_openclip.Config(), n_frames=6),
    # A region is a volume of the window: the same places of all volumes are hidden together.
    adapter=region_patches.Config(
        regions=("volume -1", "volume +0", "volume +1", "volume +2"), rest=False, n_patches=64, patch=16
    ),
    backbone=masked_transformer.Config(patch=16, width=256, n_layers=6, pool="all"),
    loss=soft_clip.Config(mixco_fraction=0.0, temperature_start=0.05, temperature_end=0.05),
    generator=embedded_unclip.Config(n_steps=20),
    preprocessing=(Detrend("run", order=4), Standardise(unit="run", scope="unit_unlabelled")),
    train=Train(n_steps=3000, batch_size=256, lr=3e-4, validate_every=500),
    n_folds=2,
    protocol="cc2017_test",
    plan=evaluate.Plan(n_null=3, n_jobs=1, progress=False),
    settings={
        "offsets": [-1, 0, 1, 2],
        "pretraining": TwoViews(
            train=Train(n_steps=20_000, batch_size=256, lr=5e-4, validate_every=2000, ema=0.999)
        ),
        "video": video.Settings(n_clips=240, shared_noise=0.5),
        "shares": [0.0, 0.5, 1.0],
        "synthetic": {"films": ["seg1", "test1"], "moving": True, "n_vertices": 60},
        "prepared": {"n_frames": 4, "image_side": 64},
    },
)
SMOKE = (
    "target.n_frames=2",
    'preprocessing=[{"name": "Standardise", "unit": "run", "scope": "unit_unlabelled"}]',
    'adapter.regions=["volume -1","volume +0","volume +1"]',
    "adapter.n_patches=6",
    "adapter.patch=10",
    "backbone.patch=10",
    "backbone.width=32",
    "backbone.n_layers=1",
    "train.n_steps=40",
    "train.batch_size=120",
    "train.lr=3e-3",
    "n_folds=0",
    "calibrate=false",
    "generator.n_steps=2",
    "protocol=heldout_clips",
    "plan.n_null=1",
    "settings.offsets=[-1,0,1]",
    "settings.pretraining.train.n_steps=60",
    "settings.pretraining.train.batch_size=120",
    "settings.pretraining.train.lr=3e-3",
    "settings.pretraining.train.validate_every=30",
    "settings.pretraining.train.ema=null",
    "settings.video.n_clips=12",
    "settings.video.n_permutations=30",
)


def main(recipe, data_dir, out_dir):
    lap, told = evaluate.Laps(), recipe.settings
    volumes = recipe.data.read(data_dir)
    evaluate.audited_split(volumes)  # windows hide a volume that two parts share
    dataset = sliding.windowed(volumes, told["offsets"])
    embeddings = recipe.embed(dataset, data_dir)
    lap("embeddings")
    training = evaluate.training_part(recipe, dataset, embeddings)
    found = two_views.started(recipe, training, embeddings, told["pretraining"], out_dir / "logs")
    lap("contrast of views, fits")
    seen = two_views.judged(found, recipe, dataset, embeddings)
    lap("retrieval")
    clips = video.watched(found.views, found.nulls, recipe, dataset, told["video"])
    lap("clips")
    noises = dependent_noise.noises_compared(
        clips, found.views, found.nulls, recipe, dataset, told["video"], told["shares"]
    )
    lap("noises")
    report = Report(
        (*seen.scores, *clips.scores),
        {
            "title": "Films from fMRI: two views of a window, and noise that frames share",
            "summary": "A transformer over windows of volumes, pretrained by contrast of two views of each and then "
            "contrasted with every frame of a clip, beside the same without; frames drawn of noises that share more or "
            "less.",
            "views": found.views.main.pretrained.about["views"],
            "comparisons": list(seen.comparisons),
            "noises": dependent_noise.record(noises, recipe.seed),
            **clips.record(),
            **lap.record(),
        },
        (
            *two_views.panels(found, seen),
            *dependent_noise.panels(noises, recipe.seed),
            *video.panels(clips),
            *panels.curves(found.views.main),
        ),
    )
    found.views.main.save_pretrained(out_dir / "decoder", report)
    return report
