"""Training steps per CPU-second, beside published code: `python benchmarks/train.py [--json]`."""

import time

import jax
import jax.numpy as jnp
import numpy as np
from timing import arguments, on_one_core, per_cpu_second, show

from emergent_icl.costs import n_parameters, step_flops
from emergent_icl.program import Machine, Member
from emergent_icl.recipes import RECIPES
from emergent_icl.splits import split_classes

TRAINING = [  # name, recipe, fields, steps a CPU-second to reach, those of the published code
    ('regression, 8 points, batch 256', 'regression', {}, 35.0, 29.9),
    (
        'images 105x105, linear, 12 layers, batch 32',
        'images_all_exemplars',
        dict(encoder='linear'),
        10.0,
        5.07,
    ),
    ('images 105x105, ResNet, 12 layers, batch 32', 'images_all_exemplars', {}, 0.6, 0.19),
]


def core_rate(seconds=1.0):
    "FLOP a CPU-second of a float32 product of two matrices of side 1,024"
    n = 1024
    a, product = jnp.ones((n, n)), jax.jit(lambda a: a @ a)
    return per_cpu_second(lambda: product(a), 2 * n**3, seconds)


def setting(recipe, fields, classes):
    "(configuration, source); images are random, since what they show changes no time"
    if recipe == 'regression':
        config = RECIPES[recipe](**fields)
        return config, config.make_source()
    config = RECIPES[recipe](**fields, characters=classes, rare=classes - 20)
    side = config.image_size
    images = np.random.default_rng(0).integers(0, 256, (classes, 20, side, side), np.uint8)
    parts = dict(rare=config.rare, common=config.common, holdout=config.holdout)
    return config, config.make_source(split_classes(images, **parts))


def measure(config, source, target, seconds):
    "(steps per CPU-second, CPU-seconds until the first step is done)"
    start, step, size = time.process_time(), 0, 1
    machine = Machine([Member(config, source)], jax.devices()[:1])
    state = machine.start()

    def run():
        nonlocal state, step
        state, losses, _ = machine.run(state, step, step + size)
        step += size
        return losses

    run()
    jax.block_until_ready(state)
    ready = time.process_time() - start
    size = min(config.steps_per_call, 20) if target > 1 else 1
    return per_cpu_second(run, size, seconds), ready


def bench(
    classes=1623,  # of random images, 20 each, as in Omniglot; at 105 x 105 they take 1 GB
    seconds=2.0,  # CPU time for each figure
    rows=(0, 1, 2),  # of `TRAINING`
) -> dict:
    "Rates of whole training steps, and the core's own rate"
    peak, found = core_rate(min(seconds, 1.0)), []
    for i in rows:
        name, recipe, fields, target, published = TRAINING[i]
        config, source = setting(recipe, fields, classes)
        rate, ready = measure(config, source, target, seconds)
        flops = step_flops(config)
        found.append(
            dict(
                name=name,
                parameters=n_parameters(config),
                steps_per_cpu_second=float(f'{rate:.3g}'),
                target=target,
                published=published,
                ratio=round(rate / published, 2),
                gflop_per_step=round(flops / 1e9, 2),
                share_of_product=round(rate * flops / peak, 3),
                first_step_seconds=round(ready, 1),
            )
        )
    return dict(train=dict(gflops=round(peak / 1e9, 1), rows=found))


def table(result):
    "The rates as text"
    titles = ('steps / CPU-s', 'to reach', 'published', 'ratio', 'GFLOP/step', 'first step, s')
    keys = ('steps_per_cpu_second', 'target', 'published', 'ratio', 'gflop_per_step')
    lines = [' ' * 45 + ''.join(f'{title:>15}' for title in titles)]
    for r in result['train']['rows']:
        numbers = [r[k] for k in (*keys, 'first_step_seconds')]
        lines.append(f'{r["name"]:<45}' + ''.join(f'{x:>15.3g}' for x in numbers))
    lines.append(f'matrix products on the same core: {result["train"]["gflops"]:.0f} GFLOP/s')
    return '\n'.join(lines)


if __name__ == '__main__':
    parser = arguments(__doc__)
    parser.add_argument('--classes', type=int, default=1623, help='classes of random images')
    parser.add_argument('--seconds', type=float, default=2.0, help='CPU time for each figure')
    asked = parser.parse_args()
    on_one_core()
    show(bench(asked.classes, asked.seconds), table, asked.json)
