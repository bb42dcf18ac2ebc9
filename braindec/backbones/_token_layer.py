"""One pre-norm transformer layer over the tokens of a trial."""

from __future__ import annotations

from torch import Tensor, nn

from braindec.backbones._attention import RowAttention
from braindec.backbones._dropout import Dropout


class TokenLayer(nn.Module):
    """Attention over tokens, then a hidden layer of four times their width; both are added to the tokens.

    Parameters
    ----------
    width : int
        Values a token.
    n_heads : int
        Of the attention; divides `width`.
    dropout : float
        Share dropped of attention weights and after both parts, in [0, 1).
    """

    def __init__(self, width: int, n_heads: int, dropout: float):
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = RowAttention(width, n_heads, dropout, biases=False)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """(n_trials, n_tokens, width) to the same shape."""
        x = tokens + self.dropout(self.attention(self.norm_1(tokens), first=0))
        hidden = self.dropout(nn.functional.gelu(self.widen(self.norm_2(x))))
        made: Tensor = x + self.dropout(self.narrow(hidden))
        return made
