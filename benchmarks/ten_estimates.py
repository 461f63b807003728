"""Ten small estimates, kept to the last bit, so that a changed number is seen.

`python benchmarks/ten_estimates.py` computes them and compares.
Names choose some of them, and `--make FILE` writes a file.
"""

import argparse
import json
import os
import platform
import sys
from pathlib import Path

os.environ.setdefault('XLA_FLAGS', '--xla_force_host_platform_device_count=8')

import jax
import jax.numpy as jnp
import numpy as np

from emergent_icl.exact import deep_linear, reduced_rank, tanh_network
from emergent_icl.llc import estimate
from emergent_icl.problems import normal_crossing, quadratic_sgld, sum_of_powers
from emergent_icl.samplers import averaged_sgld, mask, rmsprop_sgld, sgld, sgnht

GIVEN = dict(sampler=averaged_sgld, audit=True, profile=False)  # defaults when the file was made
KEPT = Path(__file__).parents[1] / 'data/llc/ten_estimates.json'


class Endless:
    "A source: linear regression without end"

    def sample(self, key, n):
        k_x, k_y = jax.random.split(key)
        x = jax.random.normal(k_x, (n, 3))
        return dict(x=x, y=x @ jnp.ones((3, 1)) + 0.1 * jax.random.normal(k_y, (n, 1)))


class Half:
    "Plain SGLD whose last chain gets a step beyond the limit"

    __name__ = 'half'

    def __call__(self, eps, *args, **kwargs):
        return sgld(eps * jnp.array([1.0, 1.0, 1.0, 300.0]), *args, **kwargs)


def mixed(params, batch):
    "Squared error of a model with weights of 16 bits and a whole number"
    h = (batch['x'] @ params['W1'].T) * (params['count'] / 2)
    return 0.5 * ((batch['y'] - h @ params['W2'].astype(jnp.float32).T) ** 2).sum(-1)


def on(problem, seed, params=None, **settings):
    "The estimate of a problem with a known answer"
    return estimate(
        problem.loss,
        problem.params if params is None else params,
        problem.data,
        key=jax.random.key(seed),
        **settings,
    )


def automatic():
    "A regular model, everything chosen"
    return on(quadratic_sgld([0.2, 1.0, 1.0, 3.0], 1.0, 1.0).problem(n=128), 0)


def crossing():
    "A flat minimum, where the first step turns out too long"
    return on(
        normal_crossing((1, 2)).problem(n=128), 1, n=1000, localization=1.0, draws=1200, **GIVEN
    )


def control():
    "Minibatches with a control variate"
    p = reduced_rank(3, 2, 4, 1).problem(n=2048)
    settings = dict(localization=26.8603649834685, draws=800, chains=3, batch_size=32)
    return on(p, 2, **settings, **GIVEN)


def minibatches():
    "Minibatches as they are, plain SGLD, a reference loss"
    p = quadratic_sgld([0.5, 1.0, 2.0], 1.0, 1.0).problem(n=1500, noise=1.0)
    settings = dict(localization=5.0, step_size=3e-4, draws=500, batch_size=8, control=False)
    settings |= dict(profile=False)
    return on(p, 3, sampler=sgld, reference_losses={'predict zero': 3.0}, **settings)


def source():
    "A source without end"
    weights = dict(W1=jnp.ones((1, 3)))
    loss = quadratic_sgld([1.0], 1.0, 1.0).problem(n=4).loss
    settings = GIVEN | dict(n=1000, localization=2.0, batch_size=64, draws=600, audit=False)
    return estimate(loss, weights, Endless(), key=jax.random.key(4), **settings)


def masked():
    "A part of one array moves; another array has 16 bits, a third leaf is a whole number"
    p = deep_linear((4, 3, 2), 2).problem(at='random', n=256)
    params = dict(p.params, W2=p.params['W2'].astype(jnp.bfloat16), count=jnp.array(2))
    part = mask(params, 'W1', axis=0, index=(0, 2))
    settings = GIVEN | dict(mask=part, draws=600, batch_size=64, localization=6.586392154592925)
    return estimate(mixed, params, p.data, key=jax.random.key(5), **settings)


def preconditioned():
    "The preconditioned sampler at a given step"
    p = tanh_network(2).problem('inner', n=64)
    settings = dict(n=1000, step_size=3e-3, localization=3.0, draws=1500, burn_in=600)
    return on(p, 6, **(GIVEN | dict(sampler=rmsprop_sgld, audit=False) | settings))


def thermostat():
    "The thermostat, within walls"
    settings = dict(sampler=sgnht, draws=1000, box=1.5, localization=10.552286243505483)
    return on(sum_of_powers((1, 2)).problem(n=128), 7, **(GIVEN | settings))


def broken():
    "A NaN in the parameters"
    p = deep_linear((2, 2, 2), 1).problem(n=64)
    return on(p, 8, params=dict(p.params, W2=p.params['W2'].at[0, 0].set(jnp.nan)))


def off():
    "Not quite at a minimum, and one chain of four fails"
    p = quadratic_sgld([1.0, 1.0, 2.0], 1.0, 1.0).problem(n=128)
    params = dict(W1=p.params['W1'] + 0.03)
    settings = dict(n=1000, localization=1.0, step_size=5e-4, draws=600, burn_in=100, profile=False)
    return on(p, 9, params=params, sampler=Half(), **settings)


CASES = {
    f.__name__: f
    for f in (
        automatic,
        crossing,
        control,
        minibatches,
        source,
        masked,
        preconditioned,
        thermostat,
        broken,
        off,
    )
}


def exactly(value):
    "Floats as they are to the last bit"
    if isinstance(value, (float, np.floating)):
        return float(value).hex()
    if isinstance(value, (dict, list, tuple, np.ndarray)):
        pairs = value.items() if isinstance(value, dict) else None
        return {k: exactly(v) for k, v in pairs} if pairs else [exactly(v) for v in value]
    return value


def record(e):
    "What is kept of an estimate"
    return dict(
        value=exactly(e.value),
        stderr=exactly(e.stderr),
        verdict=e.verdict,
        reasons=[list(r) for r in e.reasons],
        settings=exactly(e.settings),
        numbers=exactly(e.numbers),
        per_chain=exactly(e.per_chain),
    )


def machine():
    "What the last bits depend on"
    cpu = platform.processor() or platform.machine()
    info = Path('/proc/cpuinfo')
    if info.exists():
        lines = info.read_text().splitlines()
        cpu = next((line.split(': ')[1] for line in lines if line.startswith('model name')), cpu)
    versions = dict(jax=jax.__version__, numpy=np.__version__)
    return dict(versions, cpu=cpu, devices=jax.device_count(), flags=os.environ['XLA_FLAGS'])


def differences(kept, made, rtol=0.0, path=''):
    "Where two records differ, by more than `rtol` of the value: [str]"
    if isinstance(kept, dict):
        keys = [k for k in kept if k != 'cpu']
        return [d for k in keys for d in differences(kept[k], made.get(k), rtol, f'{path}.{k}')]
    if isinstance(kept, list) and path.endswith('reasons'):
        size = 2 if rtol else 3  # texts hold rounded numbers
        kept, made = [r[:size] for r in kept], [r[:size] for r in made]
    elif isinstance(kept, list) and len(kept) == len(made):
        found = [
            differences(a, b, rtol, f'{path}[{i}]') for i, (a, b) in enumerate(zip(kept, made))
        ]
        return sum(found, [])
    if kept == made:
        return []
    try:
        a, b = float.fromhex(kept), float.fromhex(made)
        if np.isclose(a, b, rtol, 0.0, equal_nan=True):
            return []
        return [f'{path}: {a!r} -> {b!r}']
    except (TypeError, ValueError):
        return [f'{path}: {kept!r} -> {made!r}']


def compare(names=tuple(CASES), elsewhere=1e-6):
    "{name: [differences]}: bit by bit on the machine of the file, else within `elsewhere`"
    kept = json.loads(KEPT.read_text())
    rtol = 0.0 if kept['machine'] == machine() else elsewhere
    return {name: differences(kept['cases'][name], record(CASES[name]()), rtol) for name in names}


def masked_twice():
    "The masked estimate when noise was drawn for all entries, and since it is for those that move"
    kept = json.loads(KEPT.read_text())
    return kept['changed']['masked'], kept['cases']['masked']


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('names', nargs='*', choices=[[], *CASES], help='cases; all if none')
    parser.add_argument('--make', type=Path, help='write a file instead of comparing')
    args = parser.parse_args()
    names = args.names or list(CASES)
    if args.make:
        made = dict(machine=machine(), cases={name: record(CASES[name]()) for name in names})
        args.make.write_text(json.dumps(made, indent=0))
        return 0
    found = compare(names)
    for name, lines in found.items():
        print(
            f'{name:15}',
            'the same' if not lines else f'{len(lines)} differences',
            *lines[:5],
            sep='\n  ' if lines else ' ',
        )
    return int(any(found.values()))


if __name__ == '__main__':
    sys.exit(main())
