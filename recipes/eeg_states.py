"""States of people from EEG, and responses that come when they like: functional networks and graphs over sensors.

Four states drive the waves of one group of sensors each; three shapes of a response come at one latency, or early and
late. A functional network (filters are smooth functions of time, read out whatever the latency) and a graph network
(log powers of sensors, links learned from where distances put them) decode both, each run or each person held out,
beside the functional network that reads at fixed times, EEGNet, plain convolutions, ridge and the order of trials.

Systems    D11 Functional neural networks (Heinrichs et al. 2023, arXiv:2301.05869) and EEG emotion graphs, after DGCNN
           (Song et al. 2018) and RGNN (Zhong et al. 2019, arXiv:1907.07835)
Run        braindec run eeg_states --out runs/eeg_states
Smoke      braindec run eeg_states --smoke: where latencies jitter the functional network tells 0.889 [0.80, 0.95] of
           responses (n 72 trials, chance 0.333, labels dealt anew 0.278), the same at fixed times 0.528; the graph
           network 0.625 [0.51, 0.73] of states (chance 0.25, dealt anew 0.181)
Needs      nothing: recordings are generated; three minutes on one core
Published  none that can be compared: BCI competition and SEED recordings, with their own splits
Measured   4 people, 432 trials a world, runs held out. States: functional 0.586 [0.53, 0.64], graph 0.604 [0.56, 0.65]
           (chance 0.25, labels dealt anew 0.250, 0.213), EEG-SimpleConv 0.618, EEGNet 0.528, ridge 0.266. Responses up
           to 300 ms early or late: functional 0.748 [0.62, 0.88] (chance 0.333, dealt anew 0.340), EEG-SimpleConv
           0.794, EEGNet 0.465, ridge 0.442. Shift invariance is worth -0.148 [-0.25, -0.05] where latencies are fixed,
           +0.083 [0.03, 0.14] at 100 ms, +0.234 [0.13, 0.34] at 300 ms (dealt anew -0.014, -0.009, 0.007). The graph
           reads a state at its own sensors: area 0.989 [0.97, 1.00] (32 sensors, chance 0.5, dealt anew 0.467); 161 s
Tried      learned links as a map of the planted groups: area 0.497 [0.20, 0.79] (chance 0.5, dealt anew 0.378); a mean
           over time for the soft maximum: 0.62 for 0.86 at 300 ms; faces and houses of four electrodes: shift-invariant
           readouts 0.52 [0.46, 0.58] (area, n 392), at fixed times 0.656, graph of time courses 0.71
"""

from braindec.adapters import gain_bias
from braindec.backbones import eeg_simpleconv, eegnet, functional, sensor_graph
from braindec.data.preprocessing import ClipMad, Standardise
from braindec.evaluate import state_study
from braindec.losses import cross_entropy
from braindec.recipe import NO_DATA, NeuralData, Recipe
from braindec.targets import category_prototypes
from braindec.train import Config as Train

RECIPE = Recipe(
    data=NeuralData(NO_DATA),
    target=category_prototypes.Config(),  # classes of each world
    preprocessing=(ClipMad(5.0), Standardise()),
    adapter=gain_bias.Config(),  # sensors stay sensors
    loss=cross_entropy.Config(),
    train=Train(
        n_steps=60,
        batch_size=64,
        lr=3e-2,
        validate_every=60,
        repeats="single",
        device="cpu",
        ridge_start=False,
    ),
    n_folds=0,
    calibrate=False,
    protocol="leave_one_run_out_categories",
    settings={
        "systems": {
            "functional": functional.Config(),
            "fixed times": functional.Config(readout="dense"),
            "sensor graph": sensor_graph.Config(width=8, n_read=12, n_bands=8, sparsity=0.1, dropout=0.5),
        },
        "contenders": {
            "EEGNet": eegnet.Config(
                n_filters=4, kernel=32, pool=2, separable_kernel=8, separable_pool=4, dropout=0.25
            ),
            "EEG-SimpleConv": eeg_simpleconv.Config(width=16, kernel=5),
        },
        "study": state_study.Settings(),
    },
)
SMOKE = (
    "settings.contenders={}",
    "settings.study.world.n_people=3",
    "settings.study.world.n_runs=3",
    "settings.study.world.n_trials=24",
    "settings.study.world.noise=0.3",
    "settings.study.jitters_s=[0,0.3]",
    'settings.study.units=["run"]',
    "settings.study.n_null_links=1",
    "settings.study.n_folds=1",
    "train.n_steps=20",
)


def main(recipe, data_dir, out_dir):
    told = recipe.settings
    return state_study.state_study(recipe, {**told["systems"], **told["contenders"]}, told["study"])
