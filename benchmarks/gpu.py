"""What one GPU does in ten minutes at most: `python benchmarks/gpu.py [--minutes 10] [--out FILE]`.

Each result is printed and saved as it comes, so a run that is cut short keeps what it measured.
`--tiny` tries the script itself, on a CPU.
"""

import argparse
import json
import os
import signal
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from train import setting

from emergent_icl import runs
from emergent_icl.core import TokenBatch, pytree, static
from emergent_icl.costs import n_parameters, sampler_loss, step_flops
from emergent_icl.loop import make_machine
from emergent_icl.program import Member
from emergent_icl.recipes import RECIPES
from emergent_icl.samplers import sgld
from emergent_icl.sampling import Chains
from emergent_icl.training import Stopped, fit

PEAKS = {  # dense products of 16-bit numbers, FLOP/s, from NVIDIA's data sheets
    'H200': 989e12,
    'H100': 989e12,
    'A100': 312e12,
    'L40S': 362e12,
    'L4': 121e12,
    'A10': 125e12,
    'V100': 125e12,
    'T4': 65e12,
}
FIELDS = dict(width=16, n_heads=2, mlp_width=16)  # of a model for trying the script
LARGE = dict(vocabulary=32_768, context=1024, width=1024, n_heads=16, n_layers=9, mlp_width=4096)
LARGE |= dict(batch_size=16, compute_dtype='bfloat16', tied_output=True, output_bias=False)


@pytree
class Tokens:
    "Tokens by chance: what a text says changes no time"

    vocabulary: int = static()
    context: int = static()

    def sample(self, key, n):
        return TokenBatch(jax.random.randint(key, (n, self.context + 1), 0, self.vocabulary))


class Report:
    "Rows that are printed and saved as they come, and a clock"

    def __init__(self, out, minutes):
        self.out, self.end, self.rows = out, time.monotonic() + 60 * minutes, {}
        device = jax.devices()[0]
        self.head = dict(device=device.device_kind, jax=jax.__version__)
        self.peak = next((v for k, v in PEAKS.items() if k in device.device_kind), None)

    def left(self):
        return self.end - time.monotonic()

    def add(self, part, **row):
        row = {k: float(f'{v:.4g}') if isinstance(v, float) else v for k, v in row.items()}
        self.rows.setdefault(part, []).append(row)
        print(f'{part:<10}', ' '.join(f'{k}={v}' for k, v in row.items()), flush=True)
        self.out.write_text(json.dumps(self.head | self.rows, indent=1))


def member(name, fields, tiny):
    "A published recipe and its source, with random images and tokens"
    recipe = RECIPES[name]
    fields = fields | (FIELDS | dict(n_layers=1, batch_size=8) if tiny else {})
    if recipe.kind.__name__ == 'LanguageConfig':
        config = recipe(**(dict(text='') | fields | (dict(context=32) if tiny else {})))
        return Member(config, Tokens(config.vocabulary, config.context))
    config = recipe(**fields)
    if getattr(config, 'images', '') != 'omniglot':
        return Member(config, config.make_source())
    return Member(*setting(name, fields, 300))


def rate(one, seconds):
    "Training steps per second of all seeds side by side, after the first call"
    machine = make_machine([one])
    state, step, size = machine.start(), 0, min(10, one.experiment.steps_per_call)

    def run():
        nonlocal state, step
        state, losses, _ = machine.run(state, step, step + size)  # reads the losses: it waits
        step += size
        return losses

    assert np.isfinite(run()).all()
    calls, start = 0, time.perf_counter()
    while calls == 0 or time.perf_counter() - start < seconds:
        run()
        calls += 1
    return calls * size / (time.perf_counter() - start)


def recipes(report, tiny, seconds):
    "Ten steps of every recipe, its rate, and the share of the peak"
    names = ('regression', 'regression_finite') if tiny else RECIPES  # compile soon
    large = dict(LARGE, vocabulary=64) if tiny else LARGE
    for name, fields in [*((name, {}) for name in names), ('language', large)]:
        one = member(name, fields, tiny)
        steps, flops = rate(one, seconds), step_flops(one.experiment)
        share = steps * flops / report.peak if report.peak else None
        size = n_parameters(one.experiment)
        report.add('recipes', recipe=name, parameters=size, steps_per_second=steps, share=share)


def attention(report, tiny, seconds):
    "The fused attention beside the explicit one, in 16 bits"
    one = member('language', dict(compute_dtype='bfloat16', attention='explicit'), tiny)
    fused = 'xla' if jax.default_backend() == 'cpu' else 'cudnn'
    batch = one.source.sample(jax.random.key(0), 4)
    losses = []
    for path in ('explicit', fused):
        config = replace(one.experiment, attention=path)
        model = config.make_model(nnx.Rngs(0))
        losses.append(np.asarray(nnx.jit(config.loss)(model, batch), np.float64))
    apart = float(np.abs(losses[0] / losses[1] - 1).max())
    report.add('attention', fused=fused, apart=apart, equal=apart < 1e-2)


def side_by_side(report, tiny, seconds):
    "Seeds and chains from one to 64: how much of linear they reach"
    first = {}
    for n in (1, 2) if tiny else (1, 2, 4, 8, 16, 32, 64):
        steps = n * rate(member('regression', dict(n_seeds=n), tiny), seconds)
        draws = n * chain_rate(member('regression', {}, tiny), n, seconds)
        first = first or dict(steps=steps, draws=draws)
        linear = dict(steps=steps / first['steps'] / n, draws=draws / first['draws'] / n)
        told = {f'{k}_of_linear': v for k, v in linear.items()}
        report.add('together', n=n, seed_steps_per_second=steps, draws_per_second=draws, **told)


def chain_rate(one, n, seconds):
    "Draws of SGLD per second of each of `n` chains"
    loss, _ = sampler_loss(one.experiment)
    params = nnx.split(one.experiment.make_model(nnx.Rngs(0)), nnx.Param, ...)[1]
    data = one.source.sample(jax.random.key(0), 1024)
    chains = Chains(loss, params, data, sgld(1e-6, 100.0, 1.0), chains=n, key=jax.random.key(1))
    chains.run(50)
    draws, start = 0, time.perf_counter()
    while draws == 0 or time.perf_counter() - start < seconds:
        chains.run(50)
        draws += 50
    return draws / (time.perf_counter() - start)


def published(report, tiny, seconds):
    "The published regression run with five seeds, as far as the time goes"
    config = member('regression', dict(n_seeds=5, state_seconds=30.0), tiny).experiment
    start = time.monotonic()

    def watch(step, row):
        if report.left() < 15:
            os.kill(os.getpid(), signal.SIGTERM)

    with tempfile.TemporaryDirectory() as folder:
        try:
            last = fit(config, folder, on_metrics=watch, progress=False).metrics
        except Stopped:
            last = runs.open(folder).metrics
        step, losses = int(last.step[-1]), last.eval_loss[:, -1].values.tolist()
    took = time.monotonic() - start
    report.add('published', step=step, of=config.steps, seconds=took, eval_loss=losses)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--minutes', type=float, default=10.0, help='to be done in')
    parser.add_argument('--out', type=Path, default=Path('gpu.json'), help='where results go')
    parser.add_argument('--tiny', action='store_true', help='small models, to try the script')
    asked = parser.parse_args()
    report = Report(asked.out, asked.minutes)
    for part in (attention, recipes, side_by_side, published):
        if report.left() < 20:
            break
        try:
            part(report, asked.tiny, 0.2 if asked.tiny else 4.0)
        except Exception as error:  # of one part; the others are still worth their time
            report.add('failed', what=part.__name__, why=f'{type(error).__name__}: {error}'[:500])


if __name__ == '__main__':
    main()
