"""A small PyTorch network, trained to its minimum, and its coefficient by devinterp.

Runs where torch, devinterp 2.0 and safetensors are: `python module.py FOLDER`. FOLDER gets the
weights, the data, and devinterp's answer with its settings. Without devinterp there is no answer.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

START = Path(__file__).resolve().parent.parent / 'data/imports/module/model.safetensors'
NOISE, N = 0.1, 1000
SETTINGS = dict(lr=3.2e-6, n_beta=N / float(np.log(N)), localization=2000.0)
SETTINGS |= dict(num_chains=4, num_draws=5000, batch_size=N, num_burnin_steps=0)


def network():
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 2))


def losses(net, x, y):  # negative log-likelihood in nats
    return ((net(x) - y) ** 2).sum(-1) / (2 * NOISE**2)


def trained():
    "The network at a minimum, and the data: answers of random weights, with noise"
    torch.manual_seed(0)
    net = network().double()
    net.load_state_dict({k: v.double() for k, v in load_file(str(START)).items()})
    x = torch.randn(N, 3, dtype=torch.float64)
    y = net(x).detach() + NOISE * torch.randn(N, 2, dtype=torch.float64)
    newton = torch.optim.LBFGS(net.parameters(), 1.0, 3000, line_search_fn='strong_wolfe')

    def closure():
        newton.zero_grad()
        loss = losses(net, x, y).mean()
        loss.backward()
        return loss

    newton.step(closure)
    slope = sum(float((p.grad**2).sum()) for p in net.parameters()) ** 0.5
    return net.float().eval(), x.float(), y.float(), slope


def by_devinterp(net, x, y):
    "Mean and spread over chains; a row of token ids is the number of an example"
    from datasets import Dataset
    from devinterp.slt.llc import llc

    rows = np.stack([np.arange(N), np.zeros(N, int)], 1)
    data = Dataset.from_dict(dict(input_ids=rows)).with_format('torch')

    def loss(net, rows):
        return losses(net, x[rows[:, 0]], y[rows[:, 0]])[:, None]

    start = time.process_time()
    found = llc(net, data, {}, loss_fn=loss, num_init_loss_batches=4, **SETTINGS)
    chains = [float(v) for v in found.llc_per_chain]
    answer = dict(llc=float(found.llc_mean), per_chain=chains)
    return answer | dict(cpu_seconds=round(time.process_time() - start, 1))


def main(folder):
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    net, x, y, slope = trained()
    save_file(net.state_dict(), str(folder / 'model.safetensors'))
    np.savez_compressed(folder / 'data.npz', x=x.numpy(), y=y.numpy())
    found = dict(command='python benchmarks/module.py data/imports/trained', gradient=slope)
    found |= dict(loss=float(losses(net, x, y).mean()), settings=SETTINGS)
    try:
        found |= by_devinterp(net, x, y) | dict(devinterp=version('devinterp'))
    except ImportError:
        print('devinterp is not installed: no answer of its', file=sys.stderr)
    found |= dict(torch=version('torch'))
    (folder / 'devinterp.json').write_text(json.dumps(found, indent=1) + '\n')
    print(found)


if __name__ == '__main__':
    main(Path(sys.argv[1]))
