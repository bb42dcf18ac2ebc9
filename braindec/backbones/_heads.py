"""Linear heads from one vector a trial to the tokens of every output."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from braindec import checks
from braindec.maths.dense import Dense


class Heads(nn.Module):
    """Maps (n_trials, n_in) to {output name: (n_trials, n_tokens, n_dims)} by one linear layer an output.

    Parameters
    ----------
    n_in : int
    outputs : mapping of str to (n_tokens, n_dims)
    """

    def __init__(self, n_in: int, outputs: Mapping[str, tuple[int, int]]):
        super().__init__()
        self.outputs = check_outputs(outputs)
        # The prefix keeps output names apart from the attributes that every module has ("type", "float", ...).
        self.linear = nn.ModuleDict(
            {f"to_{name}": Dense(n_in, n * d) for name, (n, d) in self.outputs.items()}
        )

    def of(self, output: str) -> nn.Linear:
        """The layer of one output."""
        checks.known_key("output", output, self.outputs)
        return checks.of_type("head", self.linear[f"to_{output}"], nn.Linear)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(n_trials, n_in) to {output name: (n_trials, n_tokens, n_dims)}."""
        return {
            name: self.linear[f"to_{name}"](x).unflatten(1, shape) for name, shape in self.outputs.items()
        }


def check_outputs(outputs: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """The outputs as a dict when there is one at least, each with a usable name and a positive shape."""
    checks.at_least("number of outputs", len(outputs), 1)
    for name, shape in outputs.items():
        if "." in name or not name:
            raise ValueError(f"an output's name must be text without a dot, got {name!r}.")
        if len(shape) != 2 or min(shape) < 1:
            raise ValueError(
                f"output {name!r} must have shape (n_tokens, n_dims), each at least 1, got {tuple(shape)}."
            )
    return {name: (int(n_tokens), int(n_dims)) for name, (n_tokens, n_dims) in outputs.items()}
