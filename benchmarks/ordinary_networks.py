"""The estimator on ordinary networks: MLPs, a CNN and small transformers, against HMC.

`python benchmarks/ordinary_networks.py FOLDER` trains 24 checkpoints, estimates the learning
coefficient of each with default settings and at its settled minimum, and makes a reference for
every sound estimate. It goes on where it stopped. `--json` writes `data/llc/ordinary.json`.
"""

import argparse
import dataclasses
import json
import os
import platform
import time
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault('XLA_FLAGS', '--xla_cpu_multi_thread_eigen=false')  # CPU time of one core

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from emergent_icl import images, recipes
from emergent_icl.around import find_burn_in, mean_error, spectrum
from emergent_icl.core import config, fold, pytree, write_json
from emergent_icl.experiments import loss_of
from emergent_icl.llc import estimate
from emergent_icl.optim import TrainingConfig
from emergent_icl.samplers import flatten, free_entries
from emergent_icl.sampling import take
from emergent_icl.training import fit

KEPT = Path(__file__).parents[1] / 'data/llc/ordinary.json'
MODES = 'default', 'settled'


class Rows(NamedTuple):
    "Examples"

    x: jax.Array  # [n, …]
    y: jax.Array  # [n]


@pytree
class Again:
    "A source that draws from a finite training set"

    rows: Rows

    def sample(self, key, n):
        return take(self.rows, jax.random.randint(key, (n,), 0, len(self.rows.y)))


@lru_cache
def drawings():
    "1,000 noisy drawings of 10 characters, 8 x 8"
    x = images.glyphs(10, 100, size=8).items.reshape(1000, 8, 8, 1) / 255.0
    noise = 0.2 * np.random.default_rng(0).normal(size=x.shape)
    return Rows(jnp.asarray(x + noise, jnp.float32), jnp.repeat(jnp.arange(10), 100))


@lru_cache
def curve():
    "1,000 noisy values of a smooth function of 6 numbers"
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(1000, 6)), rng.normal(size=(6, 4)) / 2
    y = np.tanh(x @ w) @ [1.0, -1.0, 0.7, 0.5] + 0.3 * rng.normal(size=1000)
    return Rows(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))


def mlp(widths, activation, rngs):
    "Linear maps with an activation between them"
    parts = [nnx.Linear(*widths[:2], rngs=rngs)]
    for shape in zip(widths[1:], widths[2:]):
        parts += [activation, nnx.Linear(*shape, rngs=rngs)]
    return nnx.Sequential(lambda x: x.reshape(len(x), -1), *parts)


class Convolution(nnx.Module):
    "3 x 3, as one product of patches: XLA's own is six times slower in a loop on the CPU"

    def __init__(self, channels, out, rngs):
        self.linear = nnx.Linear(9 * channels, out, rngs=rngs)

    def __call__(self, x):  # [B, side, side, channels]
        side, padded = x.shape[1], jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        shifts = [(i, j) for i in range(3) for j in range(3)]
        patches = [padded[:, i : i + side, j : j + side] for i, j in shifts]
        return self.linear(jnp.concatenate(patches, -1))


def pooled(x):  # [B, side, side, channels]
    "Means of 2 x 2 pixels"
    B, side, _, channels = x.shape
    return x.reshape(B, side // 2, 2, side // 2, 2, channels).mean((2, 4))


def cnn(rngs):
    "Two convolutions with pooling, and a linear map"
    parts = Convolution(1, 8, rngs), nnx.relu, pooled, Convolution(8, 16, rngs), nnx.relu, pooled
    return nnx.Sequential(*parts, lambda x: x.reshape(len(x), -1), nnx.Linear(64, 10, rngs=rngs))


@config
class Supervised(TrainingConfig):
    "A network that classifies drawings, or fits a function"

    network: str = 'small'

    def make_source(self):
        return Again(curve() if self.network == 'tanh' else drawings())

    def make_model(self, rngs):
        if self.network == 'cnn':
            return cnn(rngs)
        widths, activation = dict(
            small=((64, 32, 10), nnx.relu),
            large=((64, 128, 64, 10), nnx.gelu),
            tanh=((6, 32, 1), nnx.tanh),
        )[self.network]
        return mlp(widths, activation, rngs)

    def loss(self, model, batch):
        out = model(batch.x)
        if self.network == 'tanh':
            return 0.5 * (out[:, 0] - batch.y) ** 2
        return optax.softmax_cross_entropy_with_integer_labels(out, batch.y)

    def make_probes(self):
        return ()


_ONE = dict(n_seeds=1, eval_linear=4, checkpoint_linear=1)
_SMALL = _ONE | dict(eval_log=0, checkpoint_log=0, probes=())
_NARROW = _SMALL | dict(width=32, n_heads=2)
_SGD = dict(learning_rate=0.05, momentum=0.9)  # the recipe's 0.01 without momentum is for hours
_FEW = dict(characters=160, rare=128, holdout=32, features=32)


def supervised(network, seed, steps, **fields):
    return Supervised(network=network, seed=seed, steps=steps, **_ONE, **fields)


FAMILIES = dict(  # {name: (part, experiment, early and middle step)}; the last step is late
    mlp_small=('fit', supervised('small', 1, 3000), (30, 300)),
    cnn=('fit', supervised('cnn', 2, 3000), (100, 500)),
    images=(
        'fit',
        recipes.images_all_exemplars.laptop(**_NARROW, **_FEW, seed=3, steps=1500),
        (100, 500),
    ),
    language=(
        'fit',
        recipes.language.laptop(**_NARROW, seed=4, vocabulary=4, context=24, steps=3000),
        (50, 500),
    ),
    mlp_large=(
        'score',
        supervised('large', 5, 3000, optimizer='adamw', weight_decay=0.01),
        (30, 300),
    ),
    mlp_tanh=('score', supervised('tanh', 6, 10_000, final_share=0.0), (100, 1000)),
    reddy=(
        'score',
        recipes.minimal.laptop(
            **_SMALL | _SGD | dict(characters=288, rare=256),
            seed=7,
            dim=15,
            width=32,
            n_labels=8,
            steps=2000,
        ),
        (100, 500),
    ),
    regression=(
        'score',
        recipes.regression.laptop(**_NARROW, seed=8, mlp_width=32, steps=2000),
        (100, 500),
    ),
)
SEQUENCES = dict(images=256, reddy=256, regression=256, language=256)  # for a training set


@lru_cache
def trained(name, folder):
    "The run of a family, its loss, and the examples that its estimates are made on"
    _, experiment, steps = FAMILIES[name]
    experiment = dataclasses.replace(experiment, checkpoint_at=steps)
    run = fit(experiment, Path(folder) / name, progress=False)
    source = experiment.make_source()
    if name in SEQUENCES:
        data = jax.jit(lambda key: source.sample(key, SEQUENCES[name]))(jax.random.key(100))
    else:
        data = source.rows
    return run, loss_of(experiment), data


def _density(loss, params, free, data, nbeta, gamma):
    "Log density of the posterior around `params`, and its center [P]"
    flat, rebuild = flatten(params, free)

    def density(w):
        d = w - flat
        return -nbeta * loss(rebuild(w), data).mean() - gamma / 2 * d @ d

    return density, flat


@partial(jax.jit, static_argnames='loss')
def _start(loss, *posterior):
    density, flat = _density(loss, *posterior)
    return blackjax.hmc.init(flat, density)


@partial(jax.jit, static_argnames='loss')
def _trajectory(loss, params, free, data, nbeta, gamma, state, key, eps, steps):
    "A transition of HMC: state, acceptance, what nbeta L is beyond a constant, |w - w*|²"
    density, flat = _density(loss, params, free, data, nbeta, gamma)
    mass = jnp.ones_like(flat)
    state, info = blackjax.hmc.build_kernel()(key, state, density, eps, mass, steps)
    d2 = jnp.sum((state.position - flat) ** 2)
    return state, info.acceptance_rate, -state.logdensity - gamma / 2 * d2, d2


class Hmc:
    "Chains of BlackJAX's HMC at the posterior of an estimate, on all the data, from w* on"

    def __init__(self, loss, params, data, nbeta, gamma, *, mask=None, chains=2, key):
        free = free_entries(params, mask)
        self.loss, self.key, self.t = loss, key, 0
        self.posterior = params, free, data, jnp.float32(nbeta), jnp.float32(gamma)
        start = _start(loss, *self.posterior)
        self.here, size = float(-start.logdensity), start.position.size
        h = spectrum(loss, params, free, data, start.position, key, min(16, size))[0].max()
        self.eps = 0.5 / np.sqrt(nbeta * max(float(h), 0.0) + gamma)
        self.time = 1 / np.sqrt(gamma)  # of the slowest oscillation, an angle of 1
        self.states = [start] * chains
        self.x, self.d2 = [[] for _ in range(chains)], [[] for _ in range(chains)]
        self.accepted, self.gradients = [], 0

    def turn(self, warm_up=False):
        "One trajectory of every chain, of random length; in the warm-up the step adapts"
        rng = np.random.default_rng([self.t, len(self.states)])
        for c, state in enumerate(self.states):
            steps = int(np.clip(rng.uniform(0.5, 1.5) * self.time / self.eps, 4, 400))
            key = fold(self.key, 'hmc', c, self.t)
            moved = _trajectory(self.loss, *self.posterior, state, key, self.eps, steps)
            self.states[c], accepted, x, d2 = moved
            self.gradients += steps
            accepted = float(accepted)
            if warm_up:
                self.eps *= np.exp(0.5 * (accepted - 0.8))
            else:
                self.x[c].append(float(x) - self.here)
                self.d2[c].append(float(d2))
                self.accepted.append(accepted)
        self.t += 1

    def summary(self):
        "Value, standard error and how they were come by"
        x, d2 = np.array(self.x), np.array(self.d2)
        burn = find_burn_in(x, d2)
        value, error, ess, rhat = mean_error(x[:, burn:])
        error = max(error, x[:, burn:].std() / x[:, burn:].size ** 0.5)  # at most independent
        found = dict(value=value, error=error, ess=ess, rhat=rhat, trajectories=x.shape[1])
        found |= dict(burn_in=burn, accepted=np.mean(self.accepted), step=self.eps)
        return found | dict(gradients=self.gradients, distance=np.sqrt(d2[:, burn:].mean()))


def reference(loss, params, data, nbeta, gamma, *, mask=None, key, rtol=0.015, seconds=30.0):
    "The coefficient of a posterior by HMC: until its error is `rtol`, or CPU time is spent"
    hmc = Hmc(loss, params, data, nbeta, gamma, mask=mask, key=key)
    hmc.turn(warm_up=True)  # compiles
    began, spent, error = time.process_time(), 0.0, np.inf
    while hmc.t < 40 and spent < 0.25 * seconds:
        hmc.turn(warm_up=True)
        spent = time.process_time() - began
    while len(hmc.x[0]) < 8 or (error > rtol and spent < seconds):
        hmc.turn()
        spent = time.process_time() - began
        if len(hmc.x[0]) >= 24 and len(hmc.x[0]) % 8 == 0:
            found = hmc.summary()
            error = found['error'] / max(abs(found['value']), 1e-9)
    return hmc.summary() | dict(seconds=round(spent, 1))


COMPILING = []  # seconds of tracing and compiling since the process began


@jax.monitoring.register_event_duration_secs_listener
def _heard(event, seconds, **_):
    if event.startswith('/jax/core/compile/'):
        COMPILING.append(seconds)


def timed(call):
    "What a call gives, its CPU-seconds without compiling, and those of compiling (wall clock)"
    before, began = len(COMPILING), time.process_time()
    out = call()
    seconds, compiling = time.process_time() - began, sum(COMPILING[before:])
    return out, max(seconds - compiling, 0.0), compiling


def estimated(name, step, mode, folder):
    "The estimate of a checkpoint as a row, and the weights that it was made at"
    run, (loss, mask), data = trained(name, str(folder / 'runs'))
    params = {k: jnp.asarray(v) for k, v in run.params(step, 0).items()}
    key = fold(jax.random.key(0), name, step)
    given = dict(mask=mask, settle=mode == 'settled', key=key)
    e, seconds, compiling = timed(lambda: estimate(loss, params, data, **given))
    made = dict(family=name, part=FAMILIES[name][0], step=step, mode=mode)
    made |= dict(size=sum(np.size(v) for v in params.values()), n=e.settings['n'])
    made |= dict(value=e.value, stderr=e.stderr, verdict=e.verdict, sound=bool(e.sound))
    made |= dict(settled=bool(e.settled), seconds=seconds, compiling=compiling)
    return made | dict(reasons=[list(r) for r in e.reasons], settings=e.settings), e.params


def refer(row, params, folder, seconds):
    "The reference of a row: the same weights, examples, temperature and localization"
    _, (loss, mask), data = trained(row['family'], str(folder / 'runs'))
    nbeta, gamma = (row['settings'][k] for k in ('nbeta', 'localization'))
    key = fold(jax.random.key(1), row['family'], row['step'])
    params = {k: jnp.asarray(v) for k, v in params.items()}
    with jax.default_matmul_precision('highest'):
        return reference(loss, params, data, nbeta, gamma, mask=mask, key=key, seconds=seconds)


def at_minimum(row):
    "Whether nothing below the checkpoint's loss was an objection to the default estimate"
    objections = {check for level, check, _ in row['reasons'] if level != 'note'}
    return not objections & {'descent', 'negative', 'below', 'failed'}


def score(rows):
    "The counts that the bars are about"
    by = {(r['family'], r['step'], r['mode']): r for r in rows}
    default = [r for r in rows if r['mode'] == 'default']
    minima, settled = ([*filter(at_minimum, default)], [r for r in rows if r['mode'] != 'default'])
    sound = [r for r in rows if r['sound'] and 'reference' in r]
    gaps = [(r['value'] - r['reference']['value'], r) for r in sound]
    small = [r['seconds'] for r in rows if r['compiling'] < 0.05 * r['seconds'] + 0.1]
    return dict(
        checkpoints=len({k[:2] for k in by}),
        minima=len(minima),
        minima_sound=sum(r['sound'] for r in minima),
        settled=len(settled),
        settled_sound=sum(r['sound'] for r in settled),
        sound=len(sound),
        within_tenth=sum(abs(gap) < 0.1 * r['reference']['value'] for gap, r in gaps),
        inside=sum(
            abs(gap) < 1.96 * np.hypot(r['stderr'], r['reference']['error']) for gap, r in gaps
        ),
        median_seconds=float(np.median(small)) if small else None,
    )


def plain(value):
    "Numbers to five digits, as JSON takes them"
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(f'{value:.5g}') if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path, help='runs and finished rows')
    parser.add_argument(
        '--part', choices=('fit', 'score'), help='half of the families; both if none'
    )
    parser.add_argument('--only', nargs='*', help='families')
    parser.add_argument('--seconds', type=float, default=30.0, help='of a reference, at most')
    parser.add_argument('--json', action='store_true', help=f'write {KEPT.name}')
    args = parser.parse_args()
    asked = [
        (args.folder / 'rows' / f'{name}-{step}-{mode}.json', name, step, mode)
        for name, (part, experiment, steps) in FAMILIES.items()
        for step in (*steps, experiment.steps)
        for mode in MODES
        if args.part in (None, part) and (not args.only or name in args.only)
    ]
    (args.folder / 'rows').mkdir(parents=True, exist_ok=True)
    for file, *which in asked:
        if not file.exists():
            made, params = estimated(*which, args.folder)
            np.savez(file.with_suffix('.npz'), **params)
            write_json(file, plain(made))
            told(made)
    rows = [json.loads(file.read_text()) for file, *_ in asked]
    for row, (file, *_) in zip(rows, asked):
        if row['sound'] and 'reference' not in row:
            with np.load(file.with_suffix('.npz')) as params:
                row['reference'] = plain(refer(row, params, args.folder, args.seconds))
            write_json(file, row)
        told(row)
    scores = {part: score([r for r in rows if r['part'] == part]) for part in ('fit', 'score')}
    made = dict(made='benchmarks/ordinary_networks.py FOLDER --json', jax=jax.__version__)
    made |= dict(cpu=platform.machine(), scores=plain(scores | dict(all=score(rows))), rows=rows)
    print(json.dumps(made['scores'], indent=1))
    if args.json:
        KEPT.write_text(json.dumps(made, separators=(',', ':')))


def told(r):
    "A line for a row"
    known = r.get('reference')
    value, error = (known['value'], known['error']) if known else (np.nan, np.nan)
    kind = f'{"sound" if r["sound"] else "unsound"}, {"settled" if r["settled"] else "not settled"}'
    told = f'{r["value"] or np.nan:.4g} ± {r["stderr"] or np.nan:.2g} ({value:.4g} ± {error:.2g})'
    why = '; '.join(check for level, check, _ in r['reasons'] if level != 'note')
    where = f'{r["family"]} {r["step"]} {r["mode"]}'
    print(f'{where:30} {told:34} {kind}, {r["seconds"]:.1f} s: {why}', flush=True)


if __name__ == '__main__':
    main()
