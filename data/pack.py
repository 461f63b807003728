"""Make the package data from this folder: `python data/pack.py` after any change to it.

Writes `emergent_icl/claims.json` (the rows of the board and their verdicts) and
`emergent_icl/data.json` (the hash of every file, by which `core.data_file` fetches it).

A result carries the fingerprint of its row and of the code that judged it. After a change of
either the result is inconclusive. `--restamp` gives it the new fingerprint, and refuses if any
verdict, effect, interval or outcome would differ from the board's.
"""

import argparse
import hashlib
import importlib
import json
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
ENDINGS = '.json', '.npz', '.safetensors'
PACKAGE = HERE.parent / 'emergent_icl'


def write(name, value):
    (PACKAGE / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + '\n')


def read_package():
    return json.loads((PACKAGE / 'claims.json').read_text())


def put_rows():
    "Put the rows into the package as they are, before the library reads them from there"
    rows = [yaml.safe_load(path.read_text()) for path in (HERE / 'claims').glob('*/row.yaml')]
    rows.sort(key=lambda row: (row['number'], row['name']))
    write('claims.json', read_package() | dict(rows=rows))


def outcomes(entry):
    "What must not change: the verdict, and every number that led to it"
    keys = ('effect', 'interval', 'at_least', 'seeds', 'found')
    found = [[c[k] for k in keys] for c in entry['contrasts'] + entry['controls']]
    return [entry['verdict'], *found]


def restamp():
    "Give results the fingerprint of their row as it is now; raises SystemExit for other outcomes"
    claims, rows = (importlib.import_module(f'emergent_icl.{name}') for name in ('claims', 'rows'))
    before = {(e['name'], e['items'], e['scale']): outcomes(e) for e in read_package()['board']}
    for path in sorted((HERE / 'claims').glob('*/*.json')):
        result = json.loads(path.read_text())
        row = rows.find_row(result['row'])
        stamped = result | dict(digest=rows.row_digest(row))
        if stamped == result:
            continue
        judged = claims.judge_result(stamped, row)
        if outcomes(judged) != before[row.name, result['items'], result['scale']]:
            raise SystemExit(f'{path}: the outcome differs; run the row again')
        claims.save_result(stamped, HERE / 'claims', row)
        print('restamped', path.relative_to(HERE))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--restamp', action='store_true', help='accept changed rows or rules')
    asked = parser.parse_args()
    put_rows()
    if asked.restamp:
        restamp()
    board = importlib.import_module('emergent_icl.board')
    write('claims.json', board.packed(HERE / 'claims'))
    files = sorted(path for path in HERE.rglob('*') if path.suffix in ENDINGS)
    hashes = {
        path.relative_to(HERE).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
    write('data.json', hashes)


if __name__ == '__main__':
    main()
