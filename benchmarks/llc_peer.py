"""One timing of devinterp, in its own environment: `python llc_peer.py VERSION FILE CHAINS DRAWS`.

`llc.py` calls it. The problem is an `.npz` file. The way is that of devinterp's documentation:
version 1.3 takes a `DataLoader`; version 2.0 takes a dataset of token ids and a loss for each
token (for the linear network a "token" is the number of an example).
"""

import json
import sys
import time
import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import functional

warnings.filterwarnings('ignore')


class Linear(nn.Module):
    "The deep linear network of the problem"

    def __init__(self, arrays, layers):
        super().__init__()
        weights = [nn.Parameter(torch.tensor(arrays[f'w{i}'])) for i in range(layers)]
        self.layers = nn.ParameterList(weights)

    def forward(self, x):
        for weight in self.layers:
            x = x @ weight.T
        return x


class Transformer(nn.Module):
    "The transformer of the problem"

    def __init__(self, arrays):
        super().__init__()
        held = {k[2:].replace('.', '_'): v for k, v in arrays.items() if k.startswith('p.')}
        self.p = nn.ParameterDict({k: nn.Parameter(torch.tensor(v)) for k, v in held.items()})

    def norm(self, x, name):
        scale, bias = self.p[f'{name}_scale'], self.p[f'{name}_bias']
        return functional.layer_norm(x, x.shape[-1:], scale, bias, 1e-5)

    def forward(self, ids):
        p = self.p
        x = p['encoder_label_embedding'][ids] + p['position'][: ids.shape[1]]
        for layer in range(2):
            block = f'blocks_{layer}_'
            weight = p[block + 'attention_qkv']
            (D, _, H, K), (B, T, _) = weight.shape, x.shape
            qkv = (self.norm(x, block + 'norm') @ weight.reshape(D, -1)).reshape(B, T, 3, H, K)
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            found = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + found.transpose(1, 2).reshape(B, T, D) @ p[block + 'attention_out'].reshape(
                D, D
            )
            up = torch.relu(self.norm(x, block + 'mlp_norm') @ p[block + 'up_kernel'])
            x = x + up @ p[block + 'down_kernel']
        return self.norm(x, 'norm') @ p['output_kernel']


def token_loss(model, ids):
    logits = model(ids[:, :-1]).transpose(1, 2)
    return functional.cross_entropy(logits, ids[:, 1:], reduction='none')


def version_1(model, arrays, setting, chains):
    "A function of the number of draws, by devinterp 1.3"
    from devinterp.optim.sgld import SGLD
    from devinterp.slt.sampler import estimate_learning_coeff_with_summary

    names = ('x', 'y') if setting['kind'] == 'deep_linear' else ('tokens',)
    tensors = [torch.tensor(arrays[name]) for name in names]
    tensors = [t.long() if names == ('tokens',) else t for t in tensors]
    data = torch.utils.data.TensorDataset(*tensors)
    loader = torch.utils.data.DataLoader(data, batch_size=setting['batch_size'], shuffle=True)

    def evaluate(model, batch):
        if names == ('tokens',):
            return token_loss(model, batch[0]).mean()
        return ((model(batch[0]) - batch[1]) ** 2).sum(1).mean() / 2

    options = dict(lr=setting['step_size'], localization=setting['localization'])
    return lambda draws: estimate_learning_coeff_with_summary(
        model,
        loader,
        evaluate=evaluate,
        sampling_method=SGLD,
        optimizer_kwargs=options | dict(nbeta=setting['nbeta']),
        num_draws=draws,
        num_chains=chains,
        verbose=False,
    )['loss/trace']


def version_2(model, arrays, setting, chains):
    "A function of the number of draws, by devinterp 2.0"
    from datasets import Dataset
    from devinterp.slt.sampling import sample

    if setting['kind'] == 'deep_linear':
        x, y = torch.tensor(arrays['x']), torch.tensor(arrays['y'])
        rows = np.stack([np.arange(len(x)), np.zeros(len(x), int)], 1)

        def loss(model, rows):
            return ((model(x[rows[:, 0]]) - y[rows[:, 0]]) ** 2).sum(1, keepdim=True) / 2
    else:
        rows, loss = arrays['tokens'].astype(int), token_loss
    data = Dataset.from_dict(dict(input_ids=rows)).with_format('torch')
    return lambda draws: (
        sample(
            model,
            data,
            {},
            n_beta=setting['nbeta'],
            num_chains=chains,
            num_draws=draws,
            batch_size=setting['batch_size'],
            loss_fn=loss,
            num_init_loss_batches=chains,
            lr=setting['step_size'],
            localization=setting['localization'],
        ).dataset.sampling_loss_micro.values
    )


def main(version, file, chains, draws):
    torch.set_num_threads(1)
    arrays = dict(np.load(file))
    setting = json.loads(str(arrays.pop('setting')))
    linear = setting['kind'] == 'deep_linear'
    model = Linear(arrays, setting['layers']) if linear else Transformer(arrays)
    run = (version_1 if version.startswith('1.') else version_2)(model, arrays, setting, chains)
    start = time.process_time()
    run(20)
    first = time.process_time() - start
    start = time.process_time()
    losses = run(draws)
    rate = chains * draws / (time.process_time() - start)
    found = dict(draws_per_cpu_second=rate, first_seconds=first, loss=float(losses.mean()))
    print(json.dumps(found))


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
