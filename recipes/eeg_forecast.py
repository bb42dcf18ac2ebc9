"""EEG foretold: the next fifth of a second of all channels from the second before, by a causal dilated network.

The network begins as vector autoregression and learns what that leaves; beside it stand the same network alone, one
that says a sample at a time, vector autoregression itself, the last sample, the mean, and where the recording was
generated the Kalman filter that knows how. Phase and amplitude of alpha to come are judged as well. Filters look back
alone, and test runs are others than those that were learnt from.

Systems    D11 EEG forecasting by sequence-to-sequence prediction (Pankka et al. 2025,
           doi:10.1162/neco_a_01743)
Run        braindec run eeg_forecast --out runs/eeg_forecast
Smoke      braindec run eeg_forecast --smoke: 0.442 [0.40, 0.49] of the variance of 3 runs foretold, mean of 20 to 200
           ms (shuffled futures 0.014, vector autoregression 0.442, best there is 0.452; the network alone 0.179)
Needs      nothing: runs are generated. Own ones: braindec prepare bids --raw DIR --out prepared/runs
           --set meeg.whole_runs=true --set meeg.detrend=false, then --data prepared/runs --set data.dataset=bids
           --set settings.study.band_hz=[1,40] --set settings.study.settle_s=2
Published  single channels of other recordings, filtered to theta or alpha: errors in microvolts at 150 ms
Measured   4 runs of 40 s, planted (chance 0): 0.456 [0.45, 0.46] of the variance, mean of 20, 50, 100 and 200 ms
           (shuffled futures -0.005, p 0.1 of 9), vector autoregression 0.456, Kalman filter that knows all 0.457, the
           network alone 0.451, a sample at a time 0.436, last sample -0.423; alpha's phase 100 ms ahead 0.692 rad off
           (chance 1.57, hanging on the mean 0.831, Kalman 0.692); 159 s of processor time. Four dry electrodes, 2
           held-out runs, 1-30 Hz: 0.283 [0.21, 0.35] (shuffled -0.001 of 3, vector autoregression 0.254: difference
           +0.029 [-0.05, 0.11]), phase no better than hanging on the mean (1.367 of 1.372 rad)
Tried      where the recording is linear the network gains nothing over vector autoregression, which is at the bound.
           Saying a sample at a time adds up errors: 0.436 for 0.451
"""

from dataclasses import replace

from braindec.evaluate import forecasts
from braindec.recipe import NO_DATA, NeuralData, Recipe

RECIPE = Recipe(
    data=NeuralData(NO_DATA),
    target=None,  # the recording itself
    protocol="heldout_runs",
    settings={"planted": forecasts.Planted(), "study": forecasts.Settings()},
)
SMOKE = (
    "settings.planted.n_runs=9",
    "settings.planted.run_s=15",
    "settings.planted.n_channels=4",
    "settings.study.n_null=1",
    "settings.study.model.orders=[5, 20]",
    "settings.study.model.width=16",
    "settings.study.model.n_layers=5",
    "settings.study.model.train.n_steps=40",
    "settings.study.model.train.validate_every=20",
)


def main(recipe, data_dir, out_dir):
    told = recipe.settings
    settings = replace(told["study"], seed=recipe.seed)
    runs, planted = forecasts.runs_of(recipe.data, data_dir, told["planted"], recipe.seed)
    return forecasts.eeg_forecast(runs, settings, planted=planted, protocol=recipe.protocol, out_dir=out_dir)
