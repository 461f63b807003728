"""SGLD draws per CPU-second, beside devinterp: `python benchmarks/llc.py --peers F [--json]`.

The peers need an environment of their own, 1.7 GB. `--install` makes it in the folder F.
"""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from timing import arguments, on_one_core, show

from emergent_icl import exact, llc, samplers, sampling
from emergent_icl.core import named_leaves
from emergent_icl.encoders import TokenEncoder
from emergent_icl.losses import token_loss
from emergent_icl.markov import MarkovChains
from emergent_icl.transformer import Transformer, TransformerConfig

TORCH, DEVINTERP = '2.13.0', ('1.3.2', '2.0.1')
ALSO = 'einops matplotlib numpy pandas tqdm cloudpickle datasets pydantic transformers xarray zarr'
SMALL = 'deep linear 10-8-9-10'
PROBLEMS = [  # name, chains, ratio to reach against each line of devinterp
    (SMALL, 4, (30, 10)),
    ('transformer', 4, (3, 3)),
    ('transformer', 16, (3, 3)),
]


def call(command, **options):
    "Run a command; raises SystemExit with its last line if it fails"
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, **options)
    if done.returncode:
        last = (done.stderr.strip() or 'no message').splitlines()[-1]
        raise SystemExit(f'llc: {" ".join(words[:6])} … failed: {last}')
    return done.stdout


def install(folder):
    "One CPU build of PyTorch and both lines of devinterp side by side"
    shutil.rmtree(folder, ignore_errors=True)
    call([sys.executable, '-m', 'venv', folder])
    pip = [folder / 'bin/python', '-m', 'pip', 'install', '-q']
    call([*pip, f'torch=={TORCH}', '--extra-index-url', 'https://download.pytorch.org/whl/cpu'])
    call([*pip, *ALSO.split()])
    for version in DEVINTERP:
        target = folder / f'devinterp-{version}'
        call([*pip, '--no-deps', '--target', target, f'devinterp=={version}'])
    (folder / 'complete').touch()


def linear_problem(name):
    "A deep linear network of the widths in its name: (loss, params, data, settings, arrays)"
    widths = [int(w) for w in name.split()[-1].split('-')]
    found = exact.deep_linear(widths, 4).problem(n=10_000)
    layers = jax.tree.leaves(found.params)
    settings = dict(
        kind='deep_linear',
        layers=len(layers),
        step_size=2e-5,
        nbeta=found.nbeta,
        localization=1.0,
        batch_size=500,
    )
    arrays = {f'w{i}': w for i, w in enumerate(layers)} | found.data
    return found.loss, found.params, found.data, settings, arrays


def transformer_problem():
    "A transformer of two layers on Markov chains: (loss, params, data, settings, arrays)"
    shape = TransformerConfig(
        n_outputs=16,
        mlp_width=64,
        mlp_bias=False,
        activation='relu',
        positions='learned',
        max_tokens=16,
    )
    model = Transformer(shape, TokenEncoder(16, 64, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(1))
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    data = MarkovChains(16, 1, context=16).sample(jax.random.key(2), 4096)

    def loss(params, batch):
        return token_loss(nnx.merge(graph, params, rest), batch)

    settings = dict(
        kind='transformer',
        step_size=1e-6,
        nbeta=4096 / math.log(4096),
        localization=100.0,
        batch_size=32,
    )
    arrays = {f'p.{name}': value for name, value in named_leaves(params).items()}
    return loss, params, data, settings, arrays | dict(tokens=data.tokens)


def problem_of(name):  # of `PROBLEMS`, or 'deep linear' with other widths
    "(loss, params, data, settings, arrays for the peers)"
    return transformer_problem() if name == 'transformer' else linear_problem(name)


def size_of(problem):
    return sum(np.size(leaf) for leaf in jax.tree.leaves(problem[1]))


def ours(problem, chains, draws):
    "Our draws per CPU-second, seconds to compile, and the mean loss"
    loss, params, data, settings, _ = problem
    run = sampling.Chains(
        loss,
        params,
        data,
        samplers.sgld(*(settings[k] for k in ('step_size', 'nbeta', 'localization'))),
        chains=chains,
        batch_size=settings['batch_size'],
        chunk=min(draws, 1000),
        key=jax.random.key(0),
    )
    start = time.process_time()
    run.run(1)
    first = time.process_time() - start
    start = time.process_time()
    losses = run.run(draws)['loss']
    rate = chains * draws / (time.process_time() - start)
    return dict(draws_per_cpu_second=rate, first_seconds=first, loss=float(losses.mean()))


def theirs(folder, version, file, chains, draws):
    "The same of one line of devinterp, in its own process"
    script = Path(__file__).with_name('llc_peer.py')
    held = dict(PYTHONPATH=str(folder / f'devinterp-{version}'), HF_HUB_OFFLINE='1')
    command = [folder / 'bin/python', script, version, file, chains, draws]
    return json.loads(call(command, env=os.environ | held).splitlines()[-1])


def compare(folder, name, chains, targets, draws, rounds):
    "A row for each library on one problem; the best of some rounds, as a busy core only slows"
    problem = problem_of(name)
    draws = draws if name == 'transformer' else 5 * draws
    found = {who: [] for who in ('ours', *DEVINTERP)}
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, 'problem.npz')
        arrays = {k: np.asarray(v) for k, v in problem[4].items()}
        np.savez(file, setting=json.dumps(problem[3]), **arrays)
        for _ in range(rounds):
            found['ours'].append(ours(problem, chains, draws))
            for v in DEVINTERP:
                found[v].append(theirs(folder, v, file, chains, max(draws // 3, 20)))
    best = {who: max(r['draws_per_cpu_second'] for r in got) for who, got in found.items()}
    return [
        dict(
            problem=name,
            parameters=size_of(problem),
            chains=chains,
            who=who if who == 'ours' else f'devinterp {who}',
            draws_per_cpu_second=round(best[who], 1),
            first_seconds=round(got[0]['first_seconds'], 1),
            loss=float(np.mean([r['loss'] for r in got])),
            ratio=target and round(best['ours'] / best[who], 1),
            target=target,
            settings=problem[3],
        )
        for (who, got), target in zip(found.items(), (None, *targets), strict=True)
    ]


def curves(draws=300):  # of each chain, or at each checkpoint
    "What our own draws cost: by chains, by parameters, and up to each of several checkpoints"

    def rate(name, chains):
        problem = problem_of(name)
        return dict(chains=chains, parameters=size_of(problem), **ours(problem, chains, draws))

    loss, params, data, _, _ = problem_of(SMALL)
    spent, start = [], time.process_time()
    for step in range(6):
        key = jax.random.key(step)
        llc.estimate(loss, params, data, batch_size=500, draws=draws, audit=False, key=key)
        spent.append(time.process_time() - start)
    return dict(
        chains=[rate(SMALL, c) for c in (1, 4, 16, 64)],
        parameters=[rate(f'deep linear {w}-{w}-{w}-{w}', 4) for w in (8, 16, 32, 64, 128)],
        checkpoints=spent,
    )


def table(result):
    "The rates as text"
    titles = ('draws / CPU-s', 'first call, s', 'mean loss', 'ratio', 'to reach')
    keys = ('draws_per_cpu_second', 'first_seconds', 'loss', 'ratio', 'target')
    lines = [f'{"problem":<24}{"chains":>6}  {"by":<16}' + ''.join(f'{t:>15}' for t in titles)]
    for r in result['rows']:
        numbers = ''.join(' ' * 15 if r[k] is None else f'{r[k]:>15,.5g}' for k in keys)
        lines.append(f'{r["problem"]:<24}{r["chains"]:>6}  {r["who"]:<16}{numbers}'.rstrip())
    return '\n'.join(lines)


def main():
    parser = arguments(__doc__)
    parser.add_argument('--peers', type=Path, required=True, help='environment of the peers')
    parser.add_argument('--install', action='store_true', help='make it: 1.7 GB')
    parser.add_argument('--draws', type=int, default=600, help='of each chain, on the transformer')
    parser.add_argument('--rounds', type=int, default=2, help='of which the best counts')
    asked = parser.parse_args()
    folder = asked.peers.expanduser().absolute()
    if asked.install:
        install(folder)
    if not (folder / 'complete').exists():
        parser.error(f'--peers {folder}: has no devinterp; add --install, which takes 1.7 GB')
    on_one_core()
    rows = [
        row for problem in PROBLEMS for row in compare(folder, *problem, asked.draws, asked.rounds)
    ]
    show(dict(rows=rows, curves=curves(), torch=TORCH, jax=jax.__version__), table, asked.json)


if __name__ == '__main__':
    main()
