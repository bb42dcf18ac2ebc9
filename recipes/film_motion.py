"""How things move, decoded from the brain, animates a still picture; films predict the brain beyond their frames.

The motion of every block of the picture is decoded in closed form from windows of volumes, and moves the presented
clip's own middle frame: whatever moves rightly then comes from the brain. The other way round, encoding models of
motion, and of several frames, stand beside the embedding of that one frame.

Systems    B4 neural representations of dynamic stimuli (Yeung et al. 2024, arXiv:2406.02659)
Run        braindec run film_motion --data prepared/cc2017 --out runs/film_motion
Smoke      braindec run film_motion --smoke: two clips told apart by their motion 0.742 [0.73, 0.76] (null 0.498, chance
           0.5, n 240); 12 animated pictures are 0.85 pixels a frame from their clips' motion (shuffled decoder 1.68);
           volumes predicted with r 0.666 [0.65, 0.68], by one frame alone 0.290 (reordered 0.101)
Needs      datasets/cc2017 prepared with --set n_frames=8 --set image_side=64 (films beside the scans)
Published  none that can be compared: of learned optical flow and a video diffusion model; video encoders (VideoMAE)
           predict the brain better than those of pictures
Measured   not measured: needs the scans and films of CC2017
Tried      nothing yet
"""

from dataclasses import replace

from braindec import evaluate
from braindec.adapters import linear
from braindec.backbones import linear as backbone
from braindec.data import sliding
from braindec.data.preprocessing import Detrend, Pca, Preprocessing, Standardise
from braindec.evaluate import encode, encode_continuous, encode_report, film_motion, video, video_apart
from braindec.losses import mse
from braindec.recipe import NeuralData, Recipe
from braindec.targets import block_motion, framewise, tiny_openclip
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("cc2017"),
    target=block_motion.Config(side=64),
    targets={"picture": tiny_openclip.Config(), "frames": framewise.Config(n_frames=3)},
    adapter=linear.Config(shared_dim=256),
    backbone=backbone.Config(),
    loss=mse.Config(),
    preprocessing=(
        Detrend("run", order=4),
        Standardise(unit="run", scope="unit_unlabelled"),
        Pca(n_components=1000),
    ),
    fit="closed_form",
    n_folds=0,
    calibrate=False,
    protocol="cc2017_test",
    plan=evaluate.Plan(n_null=5, n_jobs=1, progress=False),
    settings={
        "offsets": [-1, 0, 1, 2],
        "video": video.Settings(n_clips=240),
        "timing": encode_continuous.Timing(delays_s=(2.0, 4.0, 6.0, 8.0)),
        "encoding": encode.Settings(n_null=19, n_permutations=499),
        "synthetic": {"films": ["seg1", "test1"], "moving": True, "n_vertices": 90},
        "prepared": {"n_frames": 4, "image_side": 64},
    },
)
SMOKE = (
    'targets.frames.image={"kind": "targets", "name": "pixels", "height": 4, "width": 4}',
    "adapter.shared_dim=96",
    'preprocessing=[{"name": "Standardise", "unit": "run", "scope": "unit_unlabelled"}]',
    "protocol=heldout_clips",
    "plan.n_null=1",
    "settings.offsets=[0,1]",
    "settings.video.n_clips=12",
    "settings.video.n_permutations=30",
    "settings.timing.delays_s=[4,6]",
    "settings.encoding.n_null=3",
    "settings.encoding.n_permutations=99",
    "settings.encoding.shares=[0.5]",
)


def main(recipe, data_dir, out_dir):
    lap, told = evaluate.Laps(), recipe.settings
    volumes = recipe.data.read(data_dir)
    evaluate.audited_split(volumes)  # windows hide a volume that two parts share
    dataset = sliding.windowed(volumes, told["offsets"])
    embeddings = recipe.embed_each(dataset, data_dir)
    lap("embeddings")
    moving = {"main": embeddings["main"]}
    training = evaluate.training_part(recipe, dataset, moving["main"])
    decoder, nulls = video_apart.fit_apart(recipe, training, moving, out_dir / "logs")
    scores, apart = video_apart.decoded_apart(decoder, nulls, recipe, dataset, moving)
    lap("motion decoded")
    found = film_motion.animated(decoder, nulls, recipe, dataset, told["video"])
    lap("pictures animated")
    films = film_motion.beyond_pictures(
        volumes, embeddings, timing=told["timing"], preprocessing=Preprocessing((Detrend("run", order=4),)),
        settings=replace(told["encoding"], seed=recipe.seed),
    )  # fmt: skip
    encoded = encode_report.report(films, volumes, protocol=recipe.protocol)
    lap("encoding models")
    report = Report(
        (*scores, *found.scores, *encoded.scores),
        {
            "title": "Motion from fMRI",
            "summary": "How clips move, decoded from windows of volumes, animates their middle frames; and motion as a "
            "predictor of volumes beside the embedding of that frame.",
            "apart": apart,
            "said": encoded.run["said"],
            **found.record(),
            **lap.record(),
        },
        (
            video_apart.apart_panel(apart, {"main": "how it moved"}),
            *video.panels(found),
            *encoded.panels,
        ),
    )
    decoder.main.save_pretrained(out_dir / "decoder", report)
    return report
