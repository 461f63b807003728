"""Sequences per CPU-second, ours and by plain NumPy: `python benchmarks/sources.py [--json]`."""

import jax
import numpy as np
from timing import arguments, on_one_core, per_cpu_second, show

from emergent_icl.sequences import Bursty
from emergent_icl.splits import split_classes

SOURCES = [  # image size, dtype, noise, sequences a CPU-second to reach
    (105, 'uint8', 0.0, 10_000),
    (105, 'float32', 0.0, 3_000),
    (105, 'float32', 0.1, 300),
    (28, 'float32', 0.0, 40_000),
    (28, 'float32', 0.1, 4_000),
]


def numpy_places(rng, n_classes, context, shots, ways, p_bursty):
    "Classes of one sequence, the query last"
    if rng.random() >= p_bursty:
        return rng.choice(n_classes, size=context + 1)
    bursts = rng.choice(n_classes, size=ways)
    rest = rng.choice(n_classes, size=context - shots * ways)
    places = np.concatenate([rest, np.tile(bursts, shots)])
    rng.shuffle(places)
    return np.append(places, rng.choice(bursts))


def numpy_sequence(
    rng,  # NumPy generator
    images,  # [classes, exemplars, H, W] float32
    order,  # classes to choose from
    context=8,
    shots=3,
    ways=2,
    p_bursty=0.9,
    noise_scale=0.0,
):
    "One bursty sequence as the published generator makes it: (items [N+1, H, W], labels [N+1])"
    places = numpy_places(rng, len(order), context, shots, ways, p_bursty)
    items = np.zeros((context + 1, *images.shape[2:]), np.float32)
    for place in np.unique(places):
        here = places == place
        exemplars = rng.choice(images.shape[1], size=here.sum(), replace=False)
        items[here] = images[order[place]][exemplars]
    if noise_scale:
        items += rng.normal(0, noise_scale, items.shape).astype(np.float32)
    return items, places


def rates(size, dtype, noise, classes, seconds):
    "(ours, plain NumPy's) sequences per CPU-second; None for NumPy where it has no such form"
    images = np.random.default_rng(0).integers(0, 256, (classes, 20, size, size), np.uint8)
    split = split_classes(images, rare=classes - 10, common=0, holdout=10)
    source = Bursty(split, noise_scale=noise, dtype=None if dtype == 'uint8' else dtype)
    n, keys = 16 if size > 50 else 256, iter(jax.random.split(jax.random.key(0), 100_000))
    sample = jax.jit(type(source).sample, static_argnums=2)
    ours = per_cpu_second(lambda: sample(source, next(keys), n), n, seconds)
    if dtype == 'uint8':
        return ours, None
    rng, order = np.random.default_rng(0), np.asarray(split.train_classes)
    floats = images.astype(np.float32) / 255
    return ours, per_cpu_second(
        lambda: numpy_sequence(rng, floats, order, noise_scale=noise), 1, seconds
    )


def bench(
    classes=1623,  # of random images, 20 each, as in Omniglot; at 105 x 105 they take 2 GB
    seconds=2.0,  # CPU time for each figure
) -> dict:
    "Rates of the bursty source and of the published way"
    rows = []
    for size, dtype, noise, target in SOURCES:
        ours, theirs = rates(size, dtype, noise, classes, seconds)
        rows.append(
            dict(
                size=size,
                dtype=dtype,
                noise_scale=noise,
                per_cpu_second=round(ours),
                target=target,
                plain_numpy=theirs and round(theirs),
                ratio=theirs and round(ours / theirs, 1),
            )
        )
    return dict(sources=rows)


def table(result):
    "The rates as text"
    lines = ['    image       as  noise  sequences / CPU-s  to reach  plain NumPy  ratio']
    for r in result['sources']:
        theirs = '' if r['ratio'] is None else f'{r["plain_numpy"]:>13,}{r["ratio"]:>7}'
        image = f'{r["size"]}x{r["size"]}'
        lines.append(
            f'{image:>9}{r["dtype"]:>9}{r["noise_scale"]:>7}'
            f'{r["per_cpu_second"]:>19,}{r["target"]:>10,}{theirs}'
        )
    return '\n'.join(lines)


if __name__ == '__main__':
    parser = arguments(__doc__)
    parser.add_argument('--classes', type=int, default=1623, help='classes of random images')
    parser.add_argument('--seconds', type=float, default=2.0, help='CPU time for each figure')
    asked = parser.parse_args()
    on_one_core()
    show(bench(asked.classes, asked.seconds), table, asked.json)
