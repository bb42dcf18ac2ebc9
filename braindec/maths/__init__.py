"""Pure functions of tensors that more than one room uses."""
