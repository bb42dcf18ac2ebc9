"""Published models that targets are known to work with: where they lie, how large they are, under which licence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One model on huggingface.co.

    Parameters
    ----------
    repository : str
        ``owner/name``.
    revision : str or None
        Commit of 40 hex digits; None where none was recorded.
    megabytes : int
        About the size of the weights.
    licence : str
        As the model's page states it.
    target : str
        The target that reads it.
    """

    repository: str
    revision: str | None
    megabytes: int
    licence: str
    target: str


# Commits as pinned by benchmarks of embedding models and by projects that record what they ran; nothing was
# downloaded to write this table. docs/targets.md shows it.
MODELS = {
    model.repository: model
    for model in (
        Published(
            "facebook/dinov2-small",
            "ed25f3a31f01632728cabb09d1542f84ab7b0056",
            88,
            "Apache-2.0",
            "transformers_vision",
        ),
        Published(
            "facebook/dinov2-base",
            "f9e44c814b77203eaa57a6bdbbd535f21ede1415",
            346,
            "Apache-2.0",
            "transformers_vision",
        ),
        Published(
            "facebook/dinov2-giant",
            "611a9d42f2335e0f921f1e313ad3c1b7178d206d",
            4546,
            "Apache-2.0",
            "transformers_vision",
        ),
        Published(
            "google/siglip-so400m-patch14-384",
            "9fdffc58afc957d1a03a25b10dba0329ab15c2a3",
            3513,
            "Apache-2.0",
            "transformers_vision",
        ),
        Published(
            "openai/clip-vit-large-patch14",
            "32bd64288804d66eefd0ccbe215aa642df71cc41",
            1710,
            "MIT",
            "transformers_vision",
        ),
        Published(
            "facebook/wav2vec2-large-xlsr-53",
            "c3f9d884181a224a6ac87bf8885c84d1cff3384f",
            1269,
            "Apache-2.0",
            "transformers_audio",
        ),
        Published(
            "laion/clap-htsat-unfused",
            "8fa0f1c6d0433df6e97c127f64b2a1d6c0dcda8a",
            615,
            "MIT",
            "transformers_audio",
        ),
        Published("sentence-transformers/all-MiniLM-L6-v2", None, 91, "Apache-2.0", "transformers_text"),
        Published("stabilityai/sd-vae-ft-mse", "31f26fdeee1355a5c34592e401dd41e45d25a493", 335, "MIT", "vae"),
        Published("madebyollin/taesd", None, 10, "MIT", "vae"),
    )
}
