"""Depth as the library's own models say it: relative, near is large, averaged down."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import _compat, checks
from braindec.targets import depth

SEEN = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
NECK = {"reassemble_factors": [2, 1], "neck_hidden_sizes": [8, 8], "fusion_hidden_size": 8}


@pytest.fixture(scope="module", params=["relative", "metric", "dpt"])
def saved(request, tmp_path_factory):
    """(folder, model, image processor) of a small random depth model, and whether near is large in what it puts out."""
    transformers = pytest.importorskip("transformers", reason="depth models need the extra `models`")
    _compat.ensure_torchvision()
    folder = tmp_path_factory.mktemp(request.param)
    seen = transformers.Dinov2Config(**SEEN, out_indices=[1, 2], reshape_hidden_states=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if request.param == "dpt":
            whole = {
                **SEEN,
                "num_hidden_layers": 4,
                "intermediate_size": 24,
                "backbone_out_indices": [0, 1, 2, 3],
            }
            neck = {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8, "is_hybrid": False}
            model = transformers.DPTForDepthEstimation(
                transformers.DPTConfig(**whole, **neck, use_auxiliary_head=False)
            )
        else:
            kind = {"depth_estimation_type": request.param, "max_depth": 5, "reassemble_hidden_size": 16}
            config = transformers.DepthAnythingConfig(
                backbone_config=seen, **NECK, **kind, head_hidden_size=8
            )
            model = transformers.DepthAnythingForDepthEstimation(config)
        with torch.no_grad():  # wide weights, so that a random model says something
            for weight in (p for p in model.parameters() if p.ndim > 1):
                weight.normal_(0, 0.3)
    processor = transformers.BitImageProcessor(size={"height": 28, "width": 28}, do_center_crop=False)
    for part in (model, processor):
        part.save_pretrained(folder)
    pil = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    return folder, model.eval(), pil, request.param != "metric"


def test_a_map_is_the_models_own_averaged_down_from_far_to_near(saved, rng):
    folder, model, processor, near_is_large = saved
    pictures = rng.integers(0, 256, (3, 40, 30, 3), dtype=np.uint8)
    x = processor(images=list(pictures), return_tensors="pt").pixel_values
    with torch.inference_mode():
        made = model(pixel_values=x).predicted_depth.numpy()
    side = made.shape[1] // 4
    own = made.reshape(3, side, 4, side, 4).mean((2, 4))
    assert (own.reshape(3, -1).std(1) > 0).all()
    target = depth.build(depth.Config(str(folder), side=side))
    found = target.embed_images(pictures, batch_size=2).reshape(3, side, side)
    for mine, theirs in zip(found, own if near_is_large else -own, strict=True):
        assert mine.min() == 0 and mine.max() == pytest.approx(1)
        assert np.corrcoef(mine.ravel(), theirs.ravel())[0, 1] > 0.9999


def test_a_folder_of_another_kind_of_model_is_no_depth(saved, tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["Dinov2Model"], "model_type": "dinov2"}')
    with pytest.raises(checks.ConfigError, match="DPTForDepthEstimation"):
        depth.build(depth.Config(str(tmp_path)))
