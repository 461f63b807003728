"""Memory of a learning coefficient: GPT-2 small's shape, random weights, one chain after another.

The estimate says beforehand what its chains will need. The process says at the end what it took.
"""

import resource
import time

import jax
import numpy as np
import optax
from flax import nnx
from timing import arguments, show

from emergent_icl import formats, imports, large
from emergent_icl.core import TokenBatch

V, T, D, H, L = 50257, 1024, 768, 12, 12  # tokens, positions, width, heads, layers
CONTEXT, N = 16, 64  # tokens of a sequence, sequences


def random_gpt2(seed=0):
    "Random arrays under the names of GPT-2's files"
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return 0.02 * rng.standard_normal(shape, np.float32)

    held = {'wte.weight': normal(V, D), 'wpe.weight': normal(T, D)}
    names = [f'h.{layer}.ln_{i}' for layer in range(L) for i in (1, 2)]
    for name in (*names, 'ln_f'):
        held |= {f'{name}.weight': np.ones(D, 'f'), f'{name}.bias': np.zeros(D, 'f')}
    maps = {'attn.c_attn': (D, 3 * D), 'attn.c_proj': (D, D)}
    maps |= {'mlp.c_fc': (D, 4 * D), 'mlp.c_proj': (4 * D, D)}
    for layer in range(L):
        for name, shape in maps.items():
            held[f'h.{layer}.{name}.weight'] = normal(*shape)
            held[f'h.{layer}.{name}.bias'] = np.zeros(shape[1], 'f')
    return held


def table(found):
    return '\n'.join(f'{name:<20} {value}' for name, value in found.items())


def main():
    parser = arguments(__doc__)
    parser.add_argument('--draws', type=int, default=16, help='of each chain')
    parser.add_argument('--chains', type=int, default=2)
    parser.add_argument('--batch-size', type=int, default=2)
    asked = parser.parse_args()
    reading = formats.read(dict(model_type='gpt2', n_head=H), random_gpt2())
    graph, params = nnx.split(imports.build(reading))
    del reading
    tokens = jax.random.randint(jax.random.key(0), (N, CONTEXT + 1), 0, V)

    def loss(params, batch):
        logits = nnx.merge(graph, params)(batch)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets)

    settings = dict(draws=asked.draws, chains=asked.chains, batch_size=asked.batch_size)
    settings |= dict(looks=asked.batch_size)
    start = time.process_time()
    found = large.estimate(loss, params, TokenBatch(tokens), **settings, key=jax.random.key(1))
    result = dict(
        parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        weights_gb=sum(leaf.nbytes for leaf in jax.tree.leaves(params)) / 1e9,
        context=CONTEXT,
        **settings,
        said_gb=found.numbers['memory'] / 1e9,
        peak_gb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        cpu_seconds=time.process_time() - start,
        verdict=found.verdict,
        jax=jax.__version__,
    )
    show(result, table, asked.json)


if __name__ == '__main__':
    main()
