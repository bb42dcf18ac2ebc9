"""Values and gradients of every activation and every term of the loss, against dense autograd of the formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from braindec.sparse import Config, SparseAutoencoder, codes, losses

KINDS = {
    "topk": Config(40, "topk", 3),
    "topk_nested": Config(40, "topk", 3, prefixes=(8, 20)),
    "batch_topk": Config(40, "batch_topk", 3),
    "batch_topk_nested": Config(40, "batch_topk", 3, prefixes=(10,)),
    "jump_relu": Config(40, "jump_relu", bandwidth=0.5),
    "relu": Config(40, "relu"),
    "gated": Config(40, "gated"),
    "matching_pursuit": Config(40, "matching_pursuit", 3),
    "matching_pursuit_nested": Config(40, "matching_pursuit", 5, prefixes=(10,)),
    "gradient_topk": Config(40, "gradient_topk", 3, emphasis=2.0),
}


def autoencoder(config: Config) -> SparseAutoencoder:
    torch.manual_seed(0)
    model = SparseAutoencoder(6, config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape, dtype=parameter.dtype))
    return model.train()


def inputs() -> Tensor:
    return torch.randn(11, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class Rectangle(torch.autograd.Function):
    """1 above the threshold; -1 / bandwidth to a threshold in the window: the definition, not our code."""

    @staticmethod
    def forward(ctx, pre, threshold, bandwidth):
        ctx.near, ctx.bandwidth = (pre - threshold).abs() < bandwidth / 2, bandwidth
        return (pre > threshold).to(pre.dtype)

    @staticmethod
    def backward(ctx, grad):
        by_sample = -grad * ctx.near / ctx.bandwidth
        return None, by_sample.sum(0), None


def slopes() -> Tensor:
    """Some effect's gradients."""
    return torch.randn(11, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def pursued(model: SparseAutoencoder, x: Tensor) -> Tensor:
    """Matching pursuit, a sample and a step at a time."""
    rows = []
    for left in x - model.bias:
        row = torch.zeros(model.n_latents, dtype=x.dtype)
        for _ in range(model.config.n_active):
            best = int((model.atoms @ left).argmax())
            value = torch.relu(model.atoms[best] @ left)
            row = row + value * nn.functional.one_hot(torch.tensor(best), model.n_latents)
            left = left - value * model.atoms[best]
        rows.append(row)
    return torch.stack(rows)


def dense_code(model: SparseAutoencoder, x: Tensor) -> Tensor:
    """The whole (sample, latent) matrix by the definition."""
    pre = nn.functional.linear(x - model.bias, model.encoder, model.encoder_bias)
    config = model.config
    if config.activation == "matching_pursuit":
        return pursued(model, x)
    if config.activation == "gated":
        magnitude = (x - model.bias) @ (
            model.log_scale.exp()[:, None] * model.encoder
        ).T + model.magnitude_bias
        return torch.relu(magnitude) * (pre > 0)
    if config.activation == "gradient_topk":
        influence = (slopes() @ model.atoms.detach().T).abs()
        score = pre * (1 + config.emphasis * influence / influence.mean())
        return torch.relu(pre) * (score >= score.topk(config.n_active, dim=1).values[:, -1:])
    if config.activation == "topk":
        cut = pre.topk(config.n_active, dim=1).values[:, -1:]
        return torch.relu(pre) * (pre >= cut)
    if config.activation == "batch_topk":
        cut = torch.relu(pre).flatten().topk(config.n_active * len(x)).values[-1]
        return torch.relu(pre) * (pre >= cut)
    if config.activation == "jump_relu":
        return Jump.apply(pre, model.log_threshold.exp(), config.bandwidth)
    return torch.relu(pre)


class Jump(torch.autograd.Function):
    """Arm by arm, arXiv:2407.14435 equations 11 and 12."""

    @staticmethod
    def forward(ctx, pre, threshold, bandwidth):
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return torch.where(pre > threshold, pre, 0.0)

    @staticmethod
    def backward(ctx, grad):
        pre, threshold = ctx.saved_tensors
        near = ((pre - threshold).abs() < ctx.bandwidth / 2).to(pre.dtype)
        return grad * (pre > threshold), (-grad * near * threshold / ctx.bandwidth).sum(0), None


def dense_terms(
    model: SparseAutoencoder, x: Tensor, config: losses.Config, dead: Tensor
) -> dict[str, Tensor]:
    """Every term, written densely."""
    code = dense_code(model, x)
    rebuilt = [code[:, :m] @ model.atoms[:m] + model.bias for m in (*model.config.prefixes, model.n_latents)]
    out = {"reconstruction": sum(((x - r) ** 2).sum() for r in rebuilt) / len(rebuilt) / (len(x) * 2.0)}
    norms, whole = model.atoms.norm(dim=1), model.pre_activations(x)
    gated = model.config.activation == "gated"
    felt = torch.relu(whole) if gated else code
    if gated:
        left = x - felt @ model.atoms.detach() - model.bias.detach()
        out["gate"] = left.square().sum() / (len(x) * 2.0)
    penalty = {
        "l1": lambda: (felt * norms).sum(),
        "tanh": lambda: torch.tanh(4 * felt * norms).sum(),
        "l0": lambda: Rectangle.apply(whole.detach(), model.thresholds(), model.config.bandwidth).sum(),
    }
    if config.sparsity_weight:
        out["sparsity"] = config.sparsity_weight * penalty[config.sparsity]() / len(x)
    error = (x - rebuilt[-1]).detach()
    pre = nn.functional.linear(x - model.bias.detach(), model.encoder, model.encoder_bias)[:, dead]
    wanted = config.n_aux or 3
    n_active = min(wanted, pre.shape[1])
    kept = torch.relu(pre) * (pre >= pre.topk(n_active, dim=1).values[:, -1:])
    left = ((error - kept @ model.atoms[dead]) ** 2).sum() / ((error - error.mean(0)) ** 2).sum()
    out["aux"] = config.aux_weight * n_active / wanted * left
    return out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("penalty", ["none", "l1", "tanh", "l0"])
def test_every_term_and_its_gradient_is_the_dense_one(kind, penalty):
    if penalty == "l0" and kind != "jump_relu":
        pytest.skip("only JumpReLU's thresholds feel a count")
    model, x = autoencoder(KINDS[kind]), inputs()
    weight = 0.0 if penalty == "none" else 0.3
    config = losses.Config("l1" if penalty == "none" else penalty, weight, aux_weight=0.5)
    dead = torch.zeros(40, dtype=torch.bool)
    dead[[2, 11, 17, 30, 39]] = True
    given = slopes() if model.config.activation == "gradient_topk" else None
    found = losses.terms(model, x, config, variance=torch.tensor(2.0), dead=dead, slopes=given).values
    expected = dense_terms(model, x, config, dead)
    assert found.keys() == expected.keys()
    parameters = {k: p for k, p in model.named_parameters() if p.requires_grad}
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])
        ours = torch.autograd.grad(
            found[name], list(parameters.values()), allow_unused=True, retain_graph=True
        )
        theirs = torch.autograd.grad(
            expected[name], list(parameters.values()), allow_unused=True, retain_graph=True
        )
        for parameter, a, b in zip(parameters, ours, theirs, strict=True):
            a, b = (torch.zeros(1) if g is None else g for g in (a, b))
            assert (a - b).abs().max() < 1e-12, (name, parameter)


def test_a_gate_s_bias_feels_no_error_of_the_reconstruction_and_what_opens_is_not_shrunk():
    model, x = autoencoder(KINDS["gated"]), inputs()
    found = losses.terms(model, x, losses.Config("l1", 0.3), variance=torch.tensor(2.0)).values
    for name, parameter, felt in (
        ("reconstruction", model.encoder_bias, False),
        ("reconstruction", model.magnitude_bias, True),
        ("sparsity", model.magnitude_bias, False),
        ("sparsity", model.log_scale, False),
        ("gate", model.atoms, False),
    ):
        (gradient,) = torch.autograd.grad(found[name], parameter, allow_unused=True, retain_graph=True)
        assert (gradient is not None and float(gradient.abs().max()) > 0) == felt, (name, felt)


def test_an_atom_chosen_again_is_one_latent_and_pursuit_leaves_less_each_time():
    model, x = autoencoder(Config(7, "matching_pursuit", 6)), inputs()
    with torch.no_grad():
        model.atoms.copy_(nn.functional.normalize(model.atoms, dim=1))
    code = model.encode(x)
    places = code.samples * 7 + code.latents
    assert len(places.unique()) == len(places) < 6 * len(x)  # some were chosen twice
    left = [float((x - pursued_for(model, x, n)).square().sum()) for n in range(1, 7)]
    assert left == sorted(left, reverse=True)


def pursued_for(model: SparseAutoencoder, x: Tensor, n_steps: int) -> Tensor:
    """What a pursuit of so many steps rebuilds."""
    shorter = SparseAutoencoder(6, Config(7, "matching_pursuit", n_steps)).double()
    shorter.load_state_dict(model.state_dict())
    return shorter(x).detach()


def test_without_emphasis_or_without_an_effect_gradient_topk_is_topk():
    plain, x = autoencoder(KINDS["topk"]), inputs()
    for emphasis, given in ((0.0, slopes()), (5.0, None)):
        model = SparseAutoencoder(6, Config(40, "gradient_topk", 3, emphasis=emphasis)).double()
        model.load_state_dict(plain.state_dict())
        torch.testing.assert_close(model.encode(x, given).dense(), plain.encode(x).dense())
    loud = SparseAutoencoder(6, KINDS["gradient_topk"]).double()
    loud.load_state_dict(plain.state_dict())
    assert not torch.equal(loud.encode(x, slopes()).dense(), plain.encode(x).dense())


def test_the_auxiliary_term_moves_the_encoder_of_dead_latents_and_of_no_other():
    model, x = autoencoder(KINDS["topk"]), inputs()
    dead = torch.arange(40) < 10
    found = losses.terms(model, x, losses.Config(), variance=torch.tensor(2.0), dead=dead).values["aux"]
    encoder, atoms, bias = torch.autograd.grad(
        found, (model.encoder, model.atoms, model.bias), allow_unused=True
    )
    assert (encoder[dead].abs().sum(1) > 0).any()
    assert encoder[~dead].abs().max() == 0
    assert atoms[~dead].abs().max() == 0
    assert bias is None


@pytest.mark.parametrize("n_latents", [10, 400])
def test_sparse_products_equal_dense_ones_at_any_density(n_latents):
    torch.manual_seed(0)
    weight, bias, atoms = (
        torch.randn(*s, dtype=torch.float64) for s in ((n_latents, 6), (n_latents,), (n_latents, 6))
    )
    x = inputs()
    code = codes.above(x, weight, bias, torch.tensor(1.5))
    pre = x @ weight.T + bias
    torch.testing.assert_close(code.dense(), pre * (pre > 1.5))
    torch.testing.assert_close(codes.decode(code, atoms), (pre * (pre > 1.5)) @ atoms)


def test_a_batch_without_a_positive_pre_activation_is_rebuilt_as_the_bias():
    model = autoencoder(KINDS["batch_topk"])
    with torch.no_grad():
        model.encoder_bias.fill_(-1e3)
    x = inputs().requires_grad_()
    rebuilt = model(x)
    torch.testing.assert_close(rebuilt, model.bias.expand(11, 6))
    rebuilt.sum().backward()
    assert x.grad.abs().max() == 0


def test_the_largest_of_a_batch_are_found_from_a_sample_of_it():
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(200, 8, generator=generator), torch.randn(3000, 8, generator=generator)
    code = codes.top_of_batch(x, weight, torch.zeros(3000), 4)
    expected = torch.relu(x @ weight.T).flatten().topk(800).values
    torch.testing.assert_close(code.values.sort(descending=True).values, expected)
    assert (code.samples.diff() >= 0).all()
