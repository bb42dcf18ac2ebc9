"""Multi-head attention over the rows of a trial, with a dropout that a CPU can afford."""

from __future__ import annotations

from torch import Tensor, nn

from braindec.backbones._dropout import Dropout


class RowAttention(nn.Module):
    """Multi-head attention over rows; query, key and value are one product.

    Parameters
    ----------
    n_values : int
    n_heads : int
        Each of ``n_values // n_heads`` values.
    dropout : float
    biases : bool
        Of query, key and value. The key's has no effect: it adds the same to all scores of a row.
    """

    def __init__(self, n_values: int, n_heads: int, dropout: float, *, biases: bool):
        super().__init__()
        self.n_heads, self.n_each = n_heads, n_values // n_heads
        inner = self.n_heads * self.n_each
        self.query_key_value = nn.Linear(n_values, 3 * inner, bias=biases)
        self.out = nn.Linear(inner, n_values)
        self.dropout = Dropout(dropout)

    def forward(self, rows: Tensor, first: int) -> Tensor:
        """(n_trials, n_rows, n_values) to what rows `first`, ... take from all: (n_trials, n_rows - first, ...)."""
        parts = self.query_key_value(rows).unflatten(2, (3, self.n_heads, self.n_each))
        query, key, value = (part.transpose(1, 2) for part in parts.unbind(2))  # (trial, head, row, value)
        query = query[:, :, first:]
        if self.training and self.dropout.share > 0 and rows.device.type == "cpu":
            # torch's own attention draws a CPU's dropout value by value, which takes longer than the attention.
            scores = (query @ key.transpose(2, 3)) * self.n_each**-0.5
            mixed = self.dropout(scores.softmax(3)) @ value
        else:
            share = self.dropout.share if self.training else 0.0
            mixed = nn.functional.scaled_dot_product_attention(query, key, value, dropout_p=share)
        made: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return made
