# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes a Markdown table of the runs in a folder.

  python results/collect.py out/emnist/glyphs

Runs are named `<algorithm>-<split>-<seed>`. Numbers are those of each run's
report.json, over all clients tested; a deviation is the sample standard
deviation over seeds.
"""

import collections
import csv
import json
import pathlib
import statistics
import sys

_CONTROL = 'fed_avg_more'


def main(folder: str) -> None:
  runs = collections.defaultdict(dict)
  for path in sorted(pathlib.Path(folder).glob('*/report.json')):
    algorithm, split, seed = path.parent.name.rsplit('-', 2)
    runs[algorithm, split][seed] = path.parent
  print(
      '| algorithm | personal | fraction | accuracy | change | hurt |'
      ' beyond chance | against control | steps | MB sent |\n'
      '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |'
  )
  for (algorithm, split), by_seed in runs.items():
    rows = [
        _row(run, runs.get((_CONTROL, 'none'), {}).get(seed))
        for seed, run in sorted(by_seed.items())
    ]
    mean = {k: statistics.mean(r[k] for r in rows) for k in rows[0]}
    spread = {
        k: statistics.stdev(r[k] for r in rows) if len(rows) > 1 else 0.0
        for k in rows[0]
    }
    plus_minus = lambda k: f'{mean[k]:.2f} ± {spread[k]:.2f}'
    print(
        f'| {algorithm} | {split} | {mean["fraction"]:.2%}'
        f' | {plus_minus("accuracy")} | {mean["change"]:+.2f} ±'
        f' {spread["change"]:.2f} | {mean["hurt"]:.1f}% |'
        f' {mean["beyond"]:.1f}% | {mean["control"]:+.2f} ±'
        f' {spread["control"]:.2f} | {mean["steps"]:,.0f} |'
        f' {mean["megabytes"]:,.0f} |'
    )


def _row(run: pathlib.Path, control: pathlib.Path | None) -> dict[str, float]:
  """The numbers of one run; accuracies in percent, weighted by test data."""
  report = json.loads((run / 'report.json').read_text(encoding='utf-8'))
  clients = _clients(run, report['metric'], report['candidate'])
  before = _clients(run, report['metric'], report['baseline'])
  accuracy, baseline = _mean(clients), _mean(before)
  groups = report['groups'].values()
  comparisons = [g['comparisons'][report['candidate']] for g in groups]
  hurt = sum(c['hurt']['clients'] for c in comparisons)
  beyond = sum(c['hurt']['beyond_chance'] for c in comparisons)
  cost = report['cost']
  against = 0.0
  if control is not None:
    against = accuracy - _mean(
        _clients(control, report['metric'], 'non_personalized')
    )
  return {
      'fraction': cost['personal_fraction'],
      'accuracy': accuracy,
      'change': accuracy - baseline,
      'hurt': 100 * hurt / len(clients),
      'beyond': 100 * beyond / len(clients),
      'control': against,
      'steps': cost['gradient_steps'],
      'megabytes': (cost['bytes_down'] + cost['bytes_up']) / 1e6,
  }


def _clients(run: pathlib.Path, metric: str, model: str):
  """(value, test examples) of each client tested."""
  with open(run / 'clients.csv', newline='', encoding='utf-8') as f:
    return [
        (float(row[f'{metric}/{model}']), int(row['test_examples']))
        for row in csv.DictReader(f)
        if int(row['test_examples'])
    ]


def _mean(clients) -> float:
  weight = sum(n for _, n in clients)
  return 100 * sum(value * n for value, n in clients) / weight


if __name__ == '__main__':
  main(sys.argv[1])
