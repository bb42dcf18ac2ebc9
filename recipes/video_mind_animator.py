"""Films from fMRI: what was seen, how it looked and how it moved are decoded apart, then drawn as frames.

Windows of volumes slide over the films. Three decoders share nothing: one of the middle frame's meaning (contrasted),
one of its rough look (latents of an autoencoder) and one of the motion of every block of the picture (closed form).

Systems    B3 Mind-Animator (Lu et al. 2024, arXiv:2405.03280)
Run        braindec run video_mind_animator --data prepared/cc2017 --out runs/video_mind_animator
Smoke      braindec run video_mind_animator --smoke: two clips told apart by meaning 0.803 [0.78, 0.83] (null 0.514),
           look 0.927 (0.446), motion 0.742 (0.498); chance 0.5, n 240
Needs      datasets/cc2017 prepared with --set n_frames=8 --set image_side=64 (films beside the scans)
Published  none that can be compared: published errors of motion are of learned optical flow
Measured   not measured: needs the scans and films of CC2017
Tried      every frame drawn from the moved structure: moves no more than stills do
"""

from braindec import evaluate
from braindec.adapters import linear
from braindec.backbones import linear as backbone
from braindec.data import sliding
from braindec.data.preprocessing import Detrend, Pca, Standardise
from braindec.evaluate import panels, video, video_apart
from braindec.generators import embedded_unclip, vae_latents
from braindec.losses import soft_clip
from braindec.recipe import NeuralData, Recipe
from braindec.targets import block_motion, tiny_openclip, vae
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("cc2017"),
    target=tiny_openclip.Config(),
    targets={
        "structure": vae.Config(model="shipped", size=64, layout="flat"),
        "motion": block_motion.Config(side=64),
    },
    adapter=linear.Config(shared_dim=256),
    backbone=backbone.Config(),
    loss=soft_clip.Config(mixco_fraction=0.0, temperature_start=0.05, temperature_end=0.05),
    generator=embedded_unclip.Config(n_steps=20, strength=0.75),
    preprocessing=(
        Detrend("run", order=4),
        Standardise(unit="run", scope="unit_unlabelled"),
        Pca(n_components=1000),
    ),
    train=Train(n_steps=300, batch_size=256, lr=3e-4, validate_every=100),
    n_folds=3,
    protocol="cc2017_test",
    plan=evaluate.Plan(n_null=5, n_jobs=1, progress=False),
    settings={
        "offsets": [-1, 0, 1, 2],
        "video": video.Settings(n_clips=240),
        "structure": vae_latents.Config(),
        "synthetic": {"films": ["seg1", "test1"], "moving": True, "n_vertices": 90},
        "prepared": {"n_frames": 4, "image_side": 64},
    },
)
SMOKE = (
    "adapter.shared_dim=96",
    'preprocessing=[{"name": "Standardise", "unit": "run", "scope": "unit_unlabelled"}]',
    "train.n_steps=20",
    "train.batch_size=240",
    "train.validate_every=10",
    "n_folds=2",
    "generator.n_steps=2",
    "protocol=heldout_clips",
    "plan.n_null=1",
    "settings.offsets=[0,1]",
    "settings.video.n_clips=12",
    "settings.video.n_permutations=30",
)
WORDS = {"main": "what was seen", "structure": "how it looked", "motion": "how it moved"}


def main(recipe, data_dir, out_dir):
    lap, told = evaluate.Laps(), recipe.settings
    volumes = recipe.data.read(data_dir)
    evaluate.audited_split(volumes)  # windows hide a volume that two parts share
    dataset = sliding.windowed(volumes, told["offsets"])
    embeddings = recipe.embed_each(dataset, data_dir)
    lap("embeddings")
    training = evaluate.training_part(recipe, dataset, embeddings["main"])
    decoder, nulls = video_apart.fit_apart(recipe, training, embeddings, out_dir / "logs")
    lap("fits")
    scores, apart = video_apart.decoded_apart(decoder, nulls, recipe, dataset, embeddings)
    lap("decoders apart")
    rough = vae_latents.build(told["structure"])
    found = video.watched(decoder, nulls, recipe, dataset, told["video"], rough=rough)
    lap("clips")
    report = Report(
        (*scores, *found.scores),
        {
            "title": "Films from fMRI: seen, looked, moved",
            "summary": "Meaning, rough look and motion of clips decoded apart from windows of volumes, then drawn "
            "frame by frame; motion beside its permutation nulls.",
            "apart": apart,
            **found.record(),
            **lap.record(),
        },
        (
            video_apart.apart_panel(apart, WORDS),
            *video.panels(found),
            *panels.curves(decoder.main),
        ),
    )
    decoder.main.save_pretrained(out_dir / "decoder", report)
    return report
