"""Along a published regression run: `python benchmarks/published.py FOLDER --out FILE`

FOLDER is what `emergent-icl train regression --folder FOLDER` left, finished or not.
FILE is JSON, a few hundred kB: metrics of training, and what checkpoints say of behavior, weights,
attention, curvature and the learning coefficient. Answers to 64 sequences stand beside it, as FILE
with the ending npz. What FILE has of other checkpoints is kept.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import xarray as xr

from emergent_icl import (
    along,
    core,
    heads,
    predictions,
    probes,
    runs,
    samplers,
    trajectories,
    weights,
)
from emergent_icl.experiments import experiment_of

STAGES = dict(LR1=1000, LR2=40_000, LR3=126_000, LR4=320_000, LR5=500_000)
LLC_AT = (
    1000,
    2000,
    4000,
    12_000,
    20_000,
    40_000,
    60_000,
    90_000,
    126_000,
    200_000,
    320_000,
    410_000,
    500_000,
)
PUBLISHED = dict(sampler=samplers.sgld, nbeta=66.7, localization=6.67, step_size=3e-4)
PUBLISHED |= dict(control=False, burn_in=500, batch_size=64)
FIXED = dict(nbeta=40.0, localization=800.0, batch_size=32)
CHAINS = dict(chains=2, draws=1000, audit=False)


def near(run, steps):
    "Checkpoints next to some steps, each once"
    last = max(run.steps)
    return sorted(
        {min(run.steps, key=lambda s: abs(s - step)) for step in steps if step <= 1.05 * last}
    )


def behavior(run, source):
    return probes.over_run(run, predictions.RegressionScores(source, n=2000), progress=False)


def inside(run, source):
    found = probes.over_run(run, [weights.Weights(), heads.AttentionScores(source)], progress=False)
    return found.drop_vars(['position_similarity', 'position_similarity_stderr'], errors='ignore')


def curvature(run, source):
    probe = weights.Curvature(source, experiment_of(run).loss, n=256)
    steps = near(run, np.unique(np.geomspace(100, 500_000, 24).astype(int)))
    return probes.over_run(run, probe, steps=steps, batch=2, progress=False)


def outputs(run, source):
    "Answers to 64 sequences, from which the page takes the essential dynamics"
    probe = trajectories.Outputs(source, n=64, readout=lambda out: out[..., 0])
    steps = [s for s in run.steps if s > 0]
    return probes.over_run(run, probe, steps=steps, progress=False).isel(seed=0, drop=True)


def coefficient(folder, **settings):
    def ask(run, source):
        return along.learning_coefficients(
            run, steps=near(run, LLC_AT), folder=folder, progress=False, **(CHAINS | settings)
        )

    return ask


def rounded(value, digits=5):
    "Numbers to a few digits, NaN as null"
    if isinstance(value, dict):
        return {k: rounded(v, digits) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(v, digits) for v in value]
    if isinstance(value, float):
        return float(f'{value:.{digits}g}') if np.isfinite(value) else None
    return value


def merged(before, found):
    "With what was measured at checkpoints that are here no more"
    found = found.squeeze('seed', drop=True) if found.sizes.get('seed') == 1 else found
    if before is None:
        return found
    before = xr.Dataset.from_dict(before)
    before = before.sel(step=~before.step.isin(found.step))
    return xr.concat([before, found.assign_attrs({})], 'step', combine_attrs='override').sortby(
        'step'
    )


def keep_outputs(file, found):
    "Half precision is plenty for a picture"
    steps, values = found.step.values, found.outputs.values.astype(np.float16)
    if file.exists():
        with np.load(file) as before:
            old = ~np.isin(before['step'], steps)
            steps = np.concatenate([before['step'][old], steps])
            values = np.concatenate([before['outputs'][old], values])
    order = np.argsort(steps)
    np.savez_compressed(file, step=steps[order], outputs=values[order])


def as_dict(found):
    found = found.map(lambda v: v.astype('float64') if v.dtype.kind == 'f' else v, keep_attrs=True)
    return rounded(found.assign_attrs(config='').to_dict())


def main():
    parse = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parse.add_argument('folder', type=Path)
    parse.add_argument('--out', type=Path, required=True)
    parse.add_argument('--parts', nargs='*', help='only these, or outputs; default: all')
    asked = parse.parse_args()
    run = runs.open(asked.folder)
    source = experiment_of(run).make_source()
    kept = asked.folder / 'llc'
    parts = dict(
        training=lambda run, source: run.metrics,
        behavior=behavior,
        inside=inside,
        curvature=curvature,
        llc_fixed=coefficient(kept / 'fixed', **FIXED),
        llc_settled=coefficient(kept / 'settled', **FIXED, settle=True),
        llc_published=coefficient(kept / 'published', **PUBLISHED),
    )
    rows = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    rows |= dict(
        command=f'emergent-icl train regression --seed {experiment_of(run).seed}',
        last_step=max(run.steps),
        stages=STAGES,
    )
    rows['config'] = {k: v for k, v in run.config.items() if k not in ('machine', 'id', 'sha256')}
    for name in [p for p in asked.parts or parts if p != 'outputs']:
        rows[name] = as_dict(merged(rows.get(name), parts[name](run, source)))
        core.write_json(asked.out, rows)
        print(name, flush=True)
    if not asked.parts or 'outputs' in asked.parts:
        keep_outputs(asked.out.with_suffix('.npz'), outputs(run, source))


if __name__ == '__main__':
    main()
