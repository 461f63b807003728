"""How right the estimates of the learning coefficient are, on problems whose answer is known.

`python benchmarks/llc_accuracy.py accuracy|verdict|published` makes tables in `data/llc`, in hours.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import numpy as np
from tqdm.auto import tqdm

from emergent_icl import exact, problems
from emergent_icl.calibration import calibrate
from emergent_icl.experiments import RegressionConfig, loss_of
from emergent_icl.llc import estimate
from emergent_icl.samplers import averaged_sgld, sgld
from emergent_icl.sampling import sample

KEPT = Path(__file__).parents[1] / 'data/llc'
FAMILIES = 'reduced_rank', 'deep_linear', 'normal_crossing', 'tanh_network'
SHAPES = dict(
    reduced_rank=[(3, 2, 4), (5, 4, 6), (4, 6, 5), (7, 5, 5), (6, 4, 4), (8, 5, 6), (5, 8, 7)],
    deep_linear=[(3, 2, 3, 2), (3, 5, 4, 3), (5, 4, 4, 5), (4, 4, 4, 4, 4), (3, 4, 3, 3, 4)],
)
LOW = dict(chains=32, rtol=0.015, max_draws=80_000)  # of normal crossings and tanh networks


def cases(family):
    "[(model, where w* is, settings)]: every rank of every shape, w* in turn at three places"
    if family == 'normal_crossing':
        return [
            (problems.normal_crossing(ks), at, LOW | dict(localization=g))
            for ks in ((1, 1), (1, 2), (2, 2))
            for g in (10.0, 30.0)
            for at in ('zero', 'face')
        ]
    if family == 'tanh_network':
        return [
            (exact.tanh_network(H), at, LOW | dict(localization=g))
            for H in (1, 2)
            for g in (10.0, 30.0)
            for at in ('zero', 'inner', 'outer')
        ]
    nets = [
        exact.reduced_rank(*widths, r) if family == 'reduced_rank' else exact.deep_linear(widths, r)
        for widths in SHAPES[family]
        for r in range(min(widths) + 1)
    ]
    return [(net, ('balanced', 'random', 'identity')[i % 3], {}) for i, net in enumerate(nets)] + [
        (exact.deep_linear((10, 8, 9, 10), 4), 'balanced', {})
    ] * (family == 'deep_linear')


def row(family, i, **settings):
    "Estimate and exact value of row `i`: 128 examples that stand for 1,000"
    model, at, own = cases(family)[i]
    p = model.problem(at=at, n=128, seed=i)
    started = time.process_time()
    e = estimate(
        p.loss,
        p.params,
        p.data,
        n=1000,
        key=jax.random.key(i),
        **(dict(audit=False) | own | settings),
    )
    seconds = time.process_time() - started
    value, error = p.exact(e.settings['nbeta'], e.settings['localization'])
    return dict(
        row=i,
        name=p.name,
        size=sum(w.size for w in jax.tree.leaves(p.params)),
        exact=value,
        exact_error=error,
        value=e.value,
        stderr=e.stderr,
        verdict=e.verdict,
        sound=e.sound,
        settled=e.settled,
        asymptotic=p.value,
        reasons=[str(r) for r in e.reasons],
        draws=e.settings['draws'],
        step_size=e.settings['step_size'],
        localization=e.settings['localization'],
        seconds=round(seconds, 1),
    )


QUADRATIC = [
    (2e-4, 1e3, 1.0),
    (3e-4, 1e3, 10.0),
    (1e-3, 1e3, 1.0),
    (5e-4, 2e3, 30.0),
    (1e-3, 500.0, 100.0),
]  # eps, nbeta, gamma


def quadratic_row(i, chains=32, draws=16_000):
    "Plain SGLD on all the data against its own exact expectation and standard error"
    model = problems.quadratic_sgld(np.geomspace(0.03, 3, 20), *QUADRATIC[i][1:], QUADRATIC[i][0])
    p = model.problem(n=128, seed=i)
    found = sample(
        p.loss,
        p.params,
        p.data,
        sgld(*QUADRATIC[i]),
        chains=chains,
        draws=draws,
        burn_in=2000,
        key=jax.random.key(i),
    )
    eps, nbeta, gamma = QUADRATIC[i]
    return dict(
        row=i,
        eps=eps,
        nbeta=nbeta,
        gamma=gamma,
        chains=chains,
        draws=draws,
        exact=model.expectation,
        value=float(nbeta * (found.loss - found.baseline).values.mean(dtype=float)),
        stderr=model.stderr(chains * draws),
    )


PARTS = dict(
    fit=['reduced_rank', 'sum_of_powers', 'quadratic'],
    score=['deep_linear', 'normal_crossing', 'quadratic', 'tanh_network'],
)


def random_problem(part, rng):
    def one(options):
        return options[rng.integers(len(options))]

    family, common = (
        one(PARTS[part]),
        dict(n=128, noise=float(one([0.1, 0.5])), seed=int(rng.integers(2**30))),
    )
    if family in (
        'reduced_rank',
        'deep_linear',
    ):  # few shapes: each costs a compilation, truths and places do not
        widths = one(
            [(3, 2, 4), (4, 4, 4), (6, 3, 5)]
            if family == 'reduced_rank'
            else [(3, 2, 3, 2), (4, 3, 3, 4), (2, 3, 4, 3, 2)]
        )
        r = int(rng.integers(0, min(widths) + 1))
        net = (
            exact.reduced_rank(*widths, r)
            if family == 'reduced_rank'
            else exact.deep_linear(widths, r)
        )
        return net.problem(
            at=one(['balanced', 'random', 'identity']),
            strength=float(rng.uniform(0.5, 2)),
            **common,
        )
    if family == 'sum_of_powers':
        return problems.sum_of_powers(one([(1, 2), (1, 1, 2, 3), (2, 2, 3)])).problem(**common)
    if family == 'normal_crossing':
        return problems.normal_crossing(one([(1, 1), (1, 2), (2, 2)])).problem(
            at=one(['zero', 'face']), **common
        )
    if family == 'tanh_network':
        return exact.tanh_network(one([1, 2])).problem(at=one(['zero', 'inner', 'outer']), **common)
    return problems.quadratic_sgld(
        np.exp(rng.uniform(np.log(0.01), np.log(10), one([3, 12] if part == 'fit' else [5, 20]))),
        1e3,
        1.0,
    ).problem(**common)


def moved(params, off, key):
    "Away from the minimum"
    return jax.tree.map(lambda w: w + off * jax.random.normal(key, w.shape), params)


def study(part, seed, n_problems=32, each=10, save=None):
    "Rows of the table: for each problem two runs with sane settings, the others with anything"
    rng, rows = np.random.default_rng([seed, part == 'score']), []

    def between(low, high):
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    for _ in range(n_problems):
        p = random_problem(part, rng)
        calm, (nbeta, localization) = between(0.5, 20), (between(5, 3000), between(0.1, 300))
        for i in range(each):
            key, off = jax.random.key(len(rows)), 0.0
            if i < 2:
                settings, kind = dict(localization=calm), 'sane'
            else:
                settings, kind = (
                    dict(
                        localization=localization,
                        nbeta=nbeta,
                        step_size=between(1e-7, 0.3),
                        draws=int(between(64, 3000)),
                        sampler=[sgld, averaged_sgld][rng.integers(2)],
                    ),
                    'insane',
                )
                settings |= [
                    {},
                    {},
                    dict(batch_size=8, control=False),
                    dict(batch_size=64, control=True),
                ][rng.integers(4)]
                if rng.random() < 0.15:
                    off = between(0.03, 1)
            e = estimate(
                p.loss,
                moved(p.params, off, key),
                p.data,
                n=1000,
                key=key,
                profile=False,
                **settings,
            )
            value, error = p.exact(e.settings['nbeta'], settings['localization'])
            rows.append(
                dict(
                    problem=p.name,
                    family=p.family,
                    kind=kind,
                    off=off,
                    exact=value,
                    exact_error=error,
                    value=e.value,
                    stderr=e.stderr,
                    verdict=e.verdict,
                    sound=e.sound,
                    draws=e.settings['draws'],
                    checks=[r[:2] for r in e.reasons if r.level != 'note'],
                    numbers={
                        k[7:]: float(f'{v:.4g}')
                        for k, v in e.numbers.items()
                        if k.startswith('judged_')
                    },
                )
            )
            if save:
                save(rows)
    return rows


PARTS_RUN = dict(fit=('fit', 11, 25), score=('score', 23, 26), again=('score', 41, 64))


def make_accuracy():
    "Linear networks go on where they stopped; delete a file to begin anew"
    for family in FAMILIES[:2]:
        file = KEPT / f'{family}.json'
        rows = json.loads(file.read_text()) if file.exists() else []
        for i in tqdm(range(len(rows), len(cases(family))), desc=family):
            rows.append(row(family, i))
            file.write_text(json.dumps(rows, indent=0))
    quadratic = dict(curvatures='20, geometric from 0.03 to 3', sampler='sgld', examples=128)
    made = dict(
        made='benchmarks/llc_accuracy.py accuracy',
        config=dict(LOW, n=1000, examples=128, sampler='averaged_sgld'),
        quadratic_config=quadratic,
        quadratic_sgld=[quadratic_row(i) for i in range(5)],
    )
    for family in FAMILIES[2:]:
        made[family] = [row(family, i) for i in tqdm(range(len(cases(family))), desc=family)]
    (KEPT / 'low_dimensional.json').write_text(json.dumps(made, indent=0))


def make_verdict():
    "Random problems under random settings"
    for name, (part, seed, count) in PARTS_RUN.items():
        rows = study(part, seed, count)
        (KEPT / f'verdict_{name}.json').write_text(json.dumps(rows, separators=(',', ':')))


def checkpoint():
    "(loss, w*, 8,192 sequences, loss of predicting zero) of a regression transformer"
    stored = np.load(KEPT / 'regression_checkpoint.npz')
    config = json.loads(str(stored['config']))
    config = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
    config = RegressionConfig(**config)
    names = [name for name in stored.files if name not in ('config', 'made')]
    sequences = config.make_source().sample(jax.random.key(100), 8192)
    zero = float((sequences.y**2).mean())
    return loss_of(config)[0], {name: stored[name] for name in names}, sequences, zero


def make_published():
    "The published settings, and others, at one checkpoint"
    loss, params, sequences, zero = checkpoint()
    published = dict(localization=6.67, step_size=3e-4, sampler=sgld, draws=400, audit=False)
    asked = {
        'published settings': (8192, published),
        'γ 1000, 512 sequences': (512, dict(localization=1000.0, draws=600, audit=False)),
        'γ 1000, 8,192 sequences': (8192, dict(localization=1000.0, draws=1000)),
    }
    common = dict(batch_size=64, control=False, reference_losses={'predict zero': zero})
    found, key = {}, jax.random.key(0)
    for name, (n, settings) in asked.items():
        some = jax.tree.map(lambda a, n=n: a[:n], sequences)
        e = estimate(loss, params, some, nbeta=66.7, key=key, **(common | settings))
        told = dict(reasons=list(map(str, e.reasons)), settings=repr(e).splitlines()[-1].strip())
        found[name] = dict(value=e.value, stderr=e.stderr, verdict=e.verdict) | told
    grid = dict(nbetas=[66.7], localizations=[6.67, 100.0, 1000.0], draws=400, chains=2)
    grid |= dict(step_sizes=[3e-6, 1.5e-5, 5e-5, 3e-4], audit=False, key=key)
    table = calibrate(loss, params, sequences, **(common | dict(batch_size=32) | grid)).table
    made = dict(
        made='benchmarks/llc_accuracy.py published', checkpoint='llc/regression_checkpoint.npz'
    )
    made |= dict(common=dict(common, nbeta=66.7), estimates=found, grid=table.to_dict())
    (KEPT / 'regression.json').write_text(json.dumps(made, indent=0, default=str))


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    tables = dict(accuracy=make_accuracy, verdict=make_verdict, published=make_published)
    parser.add_argument('table', choices=list(tables))
    tables[parser.parse_args().table]()
