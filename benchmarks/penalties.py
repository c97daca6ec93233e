# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A table of FedAlt with several penalties, with an estimate and with the gate.

python -m benchmarks.penalties --comparisons=out/penalty

The folder has a comparison of FedAlt in DATA/SPLIT/PENALTY for every data set,
split and penalty. PENALTY is a value of `--personal_l2`, or `gate` for runs
with the gate. The table is Markdown. Differences are from the penalty 0, client
by client over the same seeds, with intervals over clients and seeds.
"""

import json
import pathlib
from typing import Optional

from absl import app
from absl import flags
import numpy as np

from benchmarks import comparison_folder
from tff_partial.evaluation import comparison
from tff_partial.experiments import run_folder
from tff_partial.experiments.estimates import penalty_estimate
from tff_partial.experiments.settings import methods

_NONE, _GATE = '0', 'gate'
_GATED = 'gated'  # The model that clients keep.

FLAGS = flags.FLAGS


def _define_flags() -> None:
  flags.DEFINE_string('comparisons', None, 'The folder.', required=True)


def scheme(folder: pathlib.Path) -> Optional[comparison.Scheme]:
  """The finished runs of a penalty; `None` if there are none.

  Args:
    folder: The comparison's. Its name is the penalty, in a folder with the
      name of the split.
  """
  runs = comparison_folder.runs(folder, methods.ALTERNATING, folder.parent.name)
  if not runs:
    return None
  first = next(iter(runs.values()))
  model = _GATED if folder.name == _GATE else next(iter(first.outcomes))
  return comparison.Scheme(
      folder.name,
      metric=first.metric,
      full=False,
      outcomes={seed: run.outcomes[model] for seed, run in runs.items()},
  )


def _chosen(folder: pathlib.Path) -> str:
  """What the estimates of a comparison's runs chose, if they estimated."""
  found = [
      json.loads(path.read_text(encoding='utf-8'))
      for path in sorted(folder.glob(f'*/{penalty_estimate.FILE_NAME}'))
  ]
  return '; '.join(f'{f["chosen"]}: {f["total"]:.3g}' for f in found) or '–'


def _by_coin(folder: pathlib.Path) -> str:
  """The share that a coin would hurt which decides as often as the gate."""
  found = [
      json.loads(path.read_text(encoding='utf-8'))['gate']
      for path in sorted(folder.glob(f'*/{run_folder.REPORT}'))
  ]
  if not found or None in found:
    return '–'
  return f'{np.mean([gate["hurt_by_coin"] for gate in found]):.1%}'


def rows(folder: pathlib.Path) -> list[str]:
  """A line for each penalty of a data set and split, in Markdown.

  Args:
    folder: Holds a comparison for each penalty.
  """
  found = {p.name: scheme(p) for p in sorted(folder.iterdir()) if p.is_dir()}
  without = found.get(_NONE)
  lines = []
  for name, one in found.items():
    if one is None:
      continue
    mean, deviation = one.mean()
    hurt, _ = one.hurt()
    difference = '–'
    if without is not None and name != _NONE:
      difference = comparison_folder.points(one, one.minus(without))
    lines.append(
        f'| {folder.parent.name} | {folder.name} | {name} | {len(one.seeds)} |'
        f' {100 * mean:.2f} ± {100 * deviation:.2f} |'
        f' {comparison_folder.points(one, one.change())} | {difference} |'
        f' {hurt:.1%} | {_by_coin(folder / name)} | {_chosen(folder / name)} |'
    )
  return lines


def table(folder: pathlib.Path) -> str:
  """The table of all data sets and splits.

  Args:
    folder: The flag `--comparisons`.
  """
  lines = [
      '| data | personal | penalty | seeds | accuracy, % | above FedAvg, 95% |'
      ' above penalty 0, 95% | hurt | hurt by a coin | chosen |',
      '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |',
  ]
  for data in sorted(p for p in folder.iterdir() if p.is_dir()):
    for split in sorted(p for p in data.iterdir() if p.is_dir()):
      lines += rows(split)
  return '\n'.join(lines)


def main(argv: list[str]) -> None:
  del argv
  print(table(pathlib.Path(FLAGS.comparisons).expanduser()))


if __name__ == '__main__':
  _define_flags()
  app.run(main)
