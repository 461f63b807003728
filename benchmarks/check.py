"""Do the benchmarks measure what they say? `python benchmarks/check.py`, a minute of CPU time."""

import json
import time
from pathlib import Path

import jax
import llc
import numpy as np
import ordinary_networks
import sources
import train
from timing import per_cpu_second

from emergent_icl import problems

SAVED = Path(__file__).resolve().parents[1] / 'data' / 'bench'


def saved(name):
    return json.loads((SAVED / f'{name}.json').read_text())


def burn():
    stop = time.process_time() + 0.01
    while time.process_time() < stop:
        pass


def rest():
    time.sleep(0.05)
    burn()


def check_timing():
    "Three units every 10 ms of CPU time; waiting costs none"
    assert 200 < per_cpu_second(burn, 3, seconds=0.2) <= 305
    assert 200 < per_cpu_second(rest, 3, seconds=0.05) <= 310


def check_numpy():
    "Labels belong to their images, which are all different; nine in ten sequences are bursty"
    rng, supports = np.random.default_rng(0), []
    pixels = np.arange(300, dtype=np.float32).reshape(30, 10, 1, 1)  # an image says which it is
    for _ in range(500):
        items, labels = sources.numpy_sequence(rng, pixels, np.arange(30))
        which = items[:, 0, 0].astype(int)
        assert (which // 10 == labels).all() and len(set(which)) == 9
        supports.append((labels[:-1] == labels[-1]).sum())
    assert abs(np.mean(np.array(supports) >= 3) - 0.9) < 0.05


def check_rates():
    "Every benchmark runs, on small settings"
    rows = sources.bench(classes=30, seconds=0.05)['sources']
    assert [(r['size'], r['dtype'], r['target']) for r in rows] == [
        (size, dtype, target) for size, dtype, _, target in sources.SOURCES
    ]
    assert all(r['per_cpu_second'] > 0 for r in rows)
    assert rows[0]['ratio'] is None and rows[1]['ratio'] > 0
    found = train.bench(classes=60, seconds=0.2, rows=[0])['train']
    assert found['rows'][0]['parameters'] == 51_717
    assert found['gflops'] > 1 and 0 < found['rows'][0]['share_of_product'] < 1


def check_llc():
    "The peers get the same problem, and our draws have its loss"
    problem = llc.problem_of(llc.SMALL)
    shapes = [problem[4][f'w{i}'].shape for i in range(3)]
    assert llc.size_of(problem) == 242 and shapes == [(8, 10), (9, 8), (10, 9)]
    assert llc.size_of(llc.problem_of('transformer')) == 52_864
    assert 0 < llc.ours(problem, 4, 400)['loss'] < 1


def check_reference():
    "HMC finds the exact coefficient of a quadratic"
    p = problems.quadratic_sgld([0.03, 0.2, 1.0, 3.0], 1.0, 1.0).problem(n=32)
    given = p.loss, p.params, p.data, 200.0, 3.0
    found = ordinary_networks.reference(*given, key=jax.random.key(0), rtol=0.02, seconds=20)
    exact = p.exact(200.0, 3.0)[0]
    assert abs(found['value'] - exact) < 4 * found['error'] < 0.12 * exact


def check_saved():
    "What was measured reached its targets; the transformer's draws alone did not in all"
    assert all(r['per_cpu_second'] >= r['target'] for r in saved('sources')['sources'])
    assert all(r['steps_per_cpu_second'] >= r['target'] for r in saved('train')['train']['rows'])
    rows = saved('llc')['rows']
    own = {(r['problem'], r['chains']): r for r in rows if r['who'] == 'ours'}
    for r in rows:
        if r['ratio']:
            rate = own[r['problem'], r['chains']]['draws_per_cpu_second']
            assert abs(r['ratio'] - rate / r['draws_per_cpu_second']) < 0.06
            assert r['problem'] == 'transformer' or r['ratio'] >= r['target']


if __name__ == '__main__':
    checks = check_timing, check_numpy, check_rates, check_llc, check_reference, check_saved
    for check in checks:
        check()
        print('right:', check.__doc__)
    print(sources.table(saved('sources')), train.table(saved('train')), sep='\n\n')
    print('', llc.table(saved('llc')), sep='\n')
