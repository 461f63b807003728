"""Work per CPU-second, which on a shared machine is a fairer clock than the wall's."""

import argparse
import json
import os
import time

import jax


def per_cpu_second(
    work,  # a function without arguments; what it returns is waited for
    amount,  # units of work done by one call
    seconds=2.0,  # CPU time to spend
) -> float:
    "Units of work per CPU-second of this process; the first call compiles and does not count"
    jax.block_until_ready(work())
    calls, start = 0, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        jax.block_until_ready(work())
        calls += 1
    return amount * calls / spent


def arguments(doc):  # of the script
    "A parser with the options of every benchmark"
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument('--json', action='store_true', help='print one JSON object, nothing else')
    return parser


def on_one_core():
    "Keep this process on one core; JAX counts the cores when it is first used"
    if hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def show(result, table, as_json):
    "Print a result as JSON or as a table"
    print(json.dumps(result) if as_json else table(result))
