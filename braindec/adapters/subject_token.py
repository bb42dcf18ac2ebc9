"""One learned token a subject, set before the channels as if it were one more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.adapters import SubjectAdapter, check_signal
from braindec.types import SubjectSignal


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    spread : float
        Standard deviation of a token's first values, > 0.

    Notes
    -----
    After ATM, Li et al. 2024, "Visual decoding and reconstruction via EEG embeddings with guided diffusion",
    arXiv:2403.07721, where an unseen subject turns all subjects' tokens into one that was never trained; here it
    starts from the mean of the tokens there are.
    """

    spread: float = 1.0

    def __post_init__(self) -> None:
        checks.in_range("spread", self.spread, 1e-6, 1e3)


class SubjectToken(SubjectAdapter):
    """Row 0 of what comes out is the token, the others are the channels as they are."""

    takes_map = False

    def __init__(self, signal_shape: tuple[int, int], config: Config):
        super().__init__()
        n_channels, n_times = signal_shape
        self.signal_shape = (n_channels, n_times)
        self.shared_shape = (n_channels + 1, n_times)
        self.token = nn.Parameter(config.spread * torch.randn(n_times))

    def forward(self, signal: Tensor) -> Tensor:
        """(n_trials, n_channels, n_times) to (n_trials, 1 + n_channels, n_times)."""
        token = self.token.to(signal.dtype).expand(len(signal), 1, -1)
        return torch.cat([token, signal], 1)

    def start_from_(self, weight: Tensor, bias: Tensor) -> bool:
        """False: a linear map has no place here."""
        return False

    @torch.no_grad()
    def start_from_subjects_(self, others: Sequence[SubjectAdapter]) -> bool:
        """The token of an unseen subject starts at the mean of the others'."""
        tokens = [checks.of_type("adapter", other, SubjectToken).token for other in others]
        self.token.copy_(torch.stack(tokens).mean(0))
        return True


def build(signal: SubjectSignal, config: Config) -> SubjectToken:
    """The adapter of one subject, drawn from torch's global generator (`seeding.seeded`).

    Raises
    ------
    ValueError
        If the signal has no time axis.
    """
    n_channels, n_times = check_signal(signal, ("channel", "time"))
    return SubjectToken((n_channels, n_times), config)
