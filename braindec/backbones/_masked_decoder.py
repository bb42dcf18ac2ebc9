"""The light decoder that fills in masked patches while a trunk is pretrained; it is kept apart and not saved."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from braindec.backbones._patches import Patches, Positions
from braindec.backbones._token_layer import TokenLayer


class MaskedDecoder(nn.Module):
    """Tokens of the patches that were shown, and one learned token in every other place, to numbers of all patches.

    Parameters
    ----------
    patches : Patches
    n_in : int
        Values a token of the trunk.
    width, n_layers, n_heads : int
        Of the decoder's own layers.
    n_out : int
        Numbers a patch: its values, or a logit a code.

    Notes
    -----
    He et al. 2022, arXiv:2111.06377; on fMRI Chen et al. 2023 (MinD-Vis), arXiv:2211.06956.
    """

    def __init__(self, patches: Patches, n_in: int, width: int, n_layers: int, n_heads: int, n_out: int):
        super().__init__()
        self.n_patches = patches.n
        self.embed = nn.Linear(n_in, width)
        self.mask_token = nn.Parameter(0.02 * torch.randn(width))
        self.positions = Positions(patches.grid, width)
        self.layers = nn.Sequential(*[TokenLayer(width, n_heads, 0.0) for _ in range(n_layers)])
        self.norm = nn.LayerNorm(width)
        self.values = nn.Linear(width, n_out)

    def forward(self, tokens: Tensor, kept: Tensor) -> Tensor:
        """Values, or logits of codes, of every patch.

        Parameters
        ----------
        tokens : Tensor, shape (n_trials, n_leading + n_kept, n_in)
        kept : int Tensor, shape (n_trials, n_kept)
            Which patch each of the last tokens is of.

        Returns
        -------
        Tensor, shape (n_trials, n_patches, n_out)
        """
        embedded = self.embed(tokens)
        n_leading = tokens.shape[1] - kept.shape[1]
        places = kept.unsqueeze(2).expand(-1, -1, embedded.shape[2])
        empty = self.mask_token.to(embedded).expand(len(tokens), self.n_patches, -1)
        whole = empty.scatter(1, places, embedded[:, n_leading:]) + self.positions()
        made = self.layers(torch.cat([embedded[:, :n_leading], whole], 1))
        values: Tensor = self.values(self.norm(made[:, n_leading:]))
        return values
