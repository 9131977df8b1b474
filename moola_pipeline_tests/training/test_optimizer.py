"""The optimizer is torch's AdamW, without the import of torch's compiler."""

import subprocess
import sys

import pytest
import torch

from moola_pipeline.training.optimizer import AdamW

ONE_STEP = """
import sys, torch
from {module} import AdamW
network = torch.nn.Linear(2, 1)
optimizer = AdamW(network.parameters(), 1e-2)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=2)
optimizer.zero_grad(set_to_none=True)
network(torch.ones(1, 2)).sum().backward()
optimizer.step()
schedule.step()
optimizer.load_state_dict(optimizer.state_dict())
sys.exit("torch._dynamo" in sys.modules)
"""


def trained(optimizer_class: type[torch.optim.Optimizer], fused: bool) -> list[torch.Tensor]:
    torch.manual_seed(0)
    network = torch.nn.LSTM(3, 4)
    weights, biases = (
        [p for name, p in network.named_parameters() if name.startswith(kind)] for kind in ("weight", "bias")
    )
    groups = [{"params": weights, "lr": 1e-2}, {"params": biases, "lr": 3e-3}]
    optimizer = optimizer_class(groups, weight_decay=0.1, fused=fused)  # pyright: ignore[reportCallIssue]
    for _ in range(4):
        optimizer.zero_grad(set_to_none=True)
        network(torch.randn(5, 2, 3))[0].square().sum().backward()
        optimizer.step()
    return list(network.parameters())


@pytest.mark.parametrize("fused", [False, True])
def test_each_step_equals_that_of_torch(fused: bool):
    for ours, theirs in zip(trained(AdamW, fused), trained(torch.optim.AdamW, fused), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("module", "imports_compiler"), [("moola_pipeline.training.optimizer", 0), ("torch.optim", 1)]
)
def test_only_the_optimizer_of_torch_imports_the_compiler(module: str, imports_compiler: int):
    code = ONE_STEP.format(module=module)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == imports_compiler
