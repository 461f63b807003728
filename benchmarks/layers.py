"""Compile time and rate against layers, with and without a loop: `benchmarks/layers.py FILE`."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

from timing import on_one_core
from train import measure

from emergent_icl.recipes import RECIPES

LAYERS = 2, 6, 12, 24, 48, 96
WAYS = dict(unrolled=False, loop=True)  # `scan_layers`


def main(file, seconds=2.0):
    "Measure what the file does not have yet, and write each result down as it comes"
    file = Path(file)
    result = json.loads(file.read_text()) if file.exists() else dict(rows=[])
    result |= dict(
        command=f'python benchmarks/layers.py {file}',
        recipe='regression',
        versions={name: version(name) for name in ('jax', 'jaxlib', 'flax')},
    )
    done = [(row['layers'], row['way']) for row in result['rows']]
    for layers in LAYERS:
        for way, loop in WAYS.items():
            if (layers, way) in done or loop and layers < 3:
                continue
            config = RECIPES['regression'](n_layers=layers, scan_layers=loop)
            rate, ready = measure(config, config.make_source(), 10, seconds)
            row = dict(layers=layers, way=way, first_step_seconds=round(ready, 1))
            result['rows'].append(row | dict(steps_per_cpu_second=float(f'{rate:.3g}')))
            file.write_text(json.dumps(result, indent=1) + '\n')
            print(result['rows'][-1], flush=True)


if __name__ == '__main__':
    on_one_core()
    main(sys.argv[1])
