# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables of what to make personal, from comparisons of methods and splits.

python -m benchmarks.splits --comparisons=out/compare

The folder has a comparison DATA for each data set. Others of the same clients
and seeds are in DATA.NAME: `DATA.ffgg` has more algorithms and splits,
`DATA.control` FedAvg with rates that all seeds chose, and `DATA.dbe1` and
`DATA.dbe50` have FedSim with `bias` and FedDBE's mean regularization. Tables
are Markdown, in points where more is better, with 95% intervals over clients
and seeds:

  * what each method gains with each split over the pretrained model;
  * FedAlt less FedSim, at equal epochs and at equal gradient steps, less
    fine-tuning and less more rounds of FedAvg;
  * what clients' own variables add to the shared ones of the same run, with
    which further training of these alone can be told from personalization;
  * the share of clients that are worse off, and in brackets: by more than
    chance as a test of each client says, by chance alone, and the share of
    clients whose test could say so;
  * methods of later papers less FedAlt and FedSim, client by client;
  * `--personal=auto` less the best split of those chosen by hand, and less
    their mean. Which one is the best is known from these very results: the
    difference from it is too low, and its interval does not know that.

Settings come from the search of each comparison, whose own page says which are
at the end of their lists.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
import pathlib
from typing import Optional

from absl import app
from absl import flags

from benchmarks import comparison_folder
from tff_partial.evaluation import comparison
from tff_partial.evaluation import run_results
from tff_partial.experiments.settings import methods
from tff_partial.reporting import formatting

_METHODS = ('fed_alt', 'fed_sim', 'finetune', 'ffgg', 'fed_apm')
_BY_HAND = ('input', 'output', 'adapter', 'bias', 'lora_b')
_AUTO = 'auto'
# FedDBE's, by the weight of its mean regularization, and where they are.
_DBE = {
    f'bias, mean regularization {weight}': f'.dbe{weight}' for weight in (1, 50)
}
_EQUAL_STEPS = methods.SIMULTANEOUS_EQUAL_STEPS
_EQUAL_PASSES = methods.equal_steps_name('fed_alt')
_FED_SIM = ('fed_sim', _EQUAL_STEPS)
# A later method, and what it is compared with; each an algorithm and a split.
_Arm = tuple[str, str]
_CONTESTS: Sequence[tuple[str, _Arm, Sequence[_Arm]]] = (
    *(
        (
            f'{name}, {split}',
            (algorithm, split),
            tuple((other, split) for other in others),
        )
        for name, algorithm, others in (
            ('FFGG', 'ffgg', ('fed_alt', _EQUAL_PASSES, *_FED_SIM)),
            ('FedAPM', 'fed_apm', ('fed_alt', *_FED_SIM)),
        )
        for split in _BY_HAND
    ),
    (
        'FedDBE without mean regularization (bias)',
        ('fed_sim', 'bias'),
        (('fed_alt', 'output'), ('fed_sim', 'output')),
    ),
    *(
        (
            f'FedDBE ({split})',
            ('fed_sim', split),
            (('fed_alt', 'output'), ('fed_sim', 'output'), ('fed_sim', 'bias')),
        )
        for split in _DBE
    ),
    (
        'FedSA-LoRA (lora_b)',
        ('fed_sim', 'lora_b'),
        (('fed_alt', 'adapter'), ('fed_sim', 'adapter')),
    ),
)

FLAGS = flags.FLAGS
SchemeFn = Callable[..., Optional[comparison.Scheme]]


def _define_flags() -> None:
  flags.DEFINE_string('comparisons', None, 'The folder.', required=True)


def reader(folder: pathlib.Path) -> SchemeFn:
  """A function that reads the runs of an algorithm and a split.

  Args:
    folder: The comparison's. Those next to it with the same clients and seeds
      are read, too.

  Returns:
    A function from an algorithm and a split to the scheme of the models that
    the runs are about, or, with `of_shared`, of their shared variables alone;
    `None` if there are no finished runs.
  """

  @functools.cache
  def read(
      algorithm: str, split: str, of_shared: bool = False
  ) -> Optional[comparison.Scheme]:
    names = ['', '.ffgg']
    if algorithm == methods.PRETRAINING:
      names = ['.control', '']
    if split in _DBE:
      names, split = [_DBE[split]], 'bias'
    folders = [folder.with_name(f'{folder.name}{name}') for name in names]
    found = [comparison_folder.runs(f, algorithm, split) for f in folders]
    runs = next(filter(None, found), None)
    if runs is None:
      return None
    outcomes: dict[int, run_results.Outcome] = {}
    for seed, run in runs.items():
      first = next(iter(run.outcomes.values()))
      outcome = run.shared if of_shared else first
      if outcome is None:
        return None
      outcomes[seed] = outcome
    return comparison.Scheme(
        f'{algorithm}, {split}',
        metric=next(iter(runs.values())).metric,
        full=False,
        outcomes=outcomes,
    )

  return read


def gains(read: SchemeFn) -> list[str]:
  """A line for each split, with each method's gain.

  Args:
    read: As `reader` makes it.
  """
  lines = [
      f'| personal | bytes | {" | ".join(_METHODS)} |',
      f'| --- | ---: |{" --- |" * len(_METHODS)}',
  ]
  for split in (*_BY_HAND, *_DBE, _AUTO, 'all'):
    found = [read(method, split) for method in _METHODS]
    sizes = [s.cost()['personal_bytes'] for s in found if s is not None]
    if not sizes:
      continue
    cells = [
        comparison_folder.points(s, s.change()) if s else '–' for s in found
    ]
    lines.append(f'| {split} | {sizes[0]:,.0f} | {" | ".join(cells)} |')
  control = read(methods.PRETRAINING, 'none')
  if control is not None:
    lines.append(
        '| more rounds of FedAvg | 0 |'
        f' {comparison_folder.points(control, control.change())} |'
        f'{" – |" * (len(_METHODS) - 1)}'
    )
  return lines


def _by_split(
    columns: Sequence[str],
    splits: Sequence[str],
    cell_fn: Callable[[str, int], str],
) -> list[str]:
  """A line for each split that has something in a cell.

  Args:
    columns: What to call them.
    splits: The first cells of the lines.
    cell_fn: The text of a split's cell in a column, by its place.
  """
  lines = [
      f'| personal | {" | ".join(columns)} |',
      f'| --- |{" --- |" * len(columns)}',
  ]
  for split in splits:
    cells = [cell_fn(split, i) for i in range(len(columns))]
    if set(cells) != {'–'}:
      lines.append(f'| {split} | {" | ".join(cells)} |')
  return lines


def pairs(read: SchemeFn) -> list[str]:
  """A line for each split, with the differences that the paper asks about.

  Args:
    read: As `reader` makes it.
  """
  columns = (
      ('fed_alt', 'fed_sim'),
      ('fed_alt', _EQUAL_STEPS),
      ('fed_alt', 'finetune'),
      ('fed_alt', methods.PRETRAINING),
      ('finetune', methods.PRETRAINING),
  )

  def cell(split, i):
    one, other = columns[i]
    other_split = 'none' if other == methods.PRETRAINING else split
    return comparison_folder.minus(read(one, split), read(other, other_split))

  names = [f'{one} less {other}' for one, other in columns]
  return _by_split(names, (*_BY_HAND, _AUTO), cell)


def own_parts(read: SchemeFn) -> list[str]:
  """A line for each split, with what clients' own variables add.

  Args:
    read: As `reader` makes it.
  """
  shown = [name for name in _METHODS if name != 'finetune']
  return _by_split(
      shown,
      (*_BY_HAND, *_DBE, _AUTO),
      lambda split, i: comparison_folder.minus(
          read(shown[i], split), read(shown[i], split, True)
      ),
  )


def hurt(read: SchemeFn) -> list[str]:
  """A line for each split, with the share of clients that are worse off.

  Args:
    read: As `reader` makes it.
  """
  shown = ('fed_alt', 'fed_sim', 'finetune')
  control = 'more rounds of FedAvg'

  def cell(split, i):
    scheme = read(shown[i], split)
    if split == control:
      scheme = None if i else read(methods.PRETRAINING, 'none')
    if scheme is None:
      return '–'
    worse, beyond = scheme.hurt()
    by_chance, testable = scheme.power()
    return (
        f'{worse:.1%} ({beyond:.1%}; by chance {by_chance:.1%};'
        f' {_could(testable)} could)'
    )

  return _by_split(shown, (*_BY_HAND, _AUTO, 'all', control), cell)


def _could(testable: float) -> str:
  """The share of clients whose test could show a change."""
  return '<1%' if 0 < testable < 0.01 else f'{testable:.0%}'


def contests(read: SchemeFn) -> list[str]:
  """A line for each later method and each one that it is compared with.

  Args:
    read: As `reader` makes it.
  """
  lines = [
      '| method | less | difference | steps | sent | once to a client |',
      '| --- | --- | --- | ---: | ---: | ---: |',
  ]
  for name, arm, others in _CONTESTS:
    scheme = read(*arm)
    for other in (read(*other) for other in others):
      if scheme is None or other is None:
        continue
      ours, theirs = scheme.cost(), other.cost()
      steps = ours['gradient_steps'] / theirs['gradient_steps']
      once = ours['bytes_once_per_client']
      lines.append(
          f'| {name} | {other.name} |'
          f' {comparison_folder.minus(scheme, other)} |'
          f' {steps:.2f} x | {_sent(ours) / _sent(theirs):.2f} x |'
          f' {formatting.size(once) if once else "–"} |'
      )
  return lines


def _sent(cost: Mapping[str, float]) -> float:
  return cost['bytes_up'] + cost['bytes_down']


def regret(read: SchemeFn, algorithm: str) -> list[str]:
  """A line of a table on `--personal=auto`.

  Args:
    read: As `reader` makes it.
    algorithm: Of all runs.
  """
  auto = read(algorithm, _AUTO)
  by_hand = [s for split in _BY_HAND if (s := read(algorithm, split))]
  if auto is None or not by_hand:
    return []
  best = max(by_hand, key=lambda s: s.metric.sign * s.mean()[0])
  mean = comparison_folder.combined(
      'mean', {scheme: 1 / len(by_hand) for scheme in by_hand}
  )
  return [
      f'| {algorithm} | {auto.cost()["personal_bytes"]:,.0f} |'
      f' {comparison_folder.points(auto, auto.change())} |'
      f' {best.name.partition(", ")[2]}, of {len(by_hand)} |'
      f' {comparison_folder.minus(auto, best)} |'
      f' {comparison_folder.minus(auto, mean)} |'
  ]


def report(comparisons: pathlib.Path) -> str:
  """All tables in Markdown.

  Args:
    comparisons: Holds a comparison for each data set.
  """
  readers: Mapping[str, SchemeFn] = {
      path.name: reader(path)
      for path in sorted(comparisons.iterdir())
      if path.is_dir() and '.' not in path.name
  }
  readers = {
      name: read
      for name, read in readers.items()
      if any(read('fed_alt', split) for split in _BY_HAND)
  }
  parts = []
  for name, read in readers.items():
    parts += [[f'## {name}'], gains(read), pairs(read), own_parts(read)]
    parts += [hurt(read), contests(read)]
  lines = [
      '| data | algorithm | bytes | gain | best by hand | less the best | less'
      ' the mean |',
      '| --- | --- | ---: | --- | --- | --- | --- |',
  ]
  for name, read in readers.items():
    for algorithm in _METHODS:
      lines += [f'| {name} {line}' for line in regret(read, algorithm)]
  parts += [['## auto'], lines]
  return '\n\n'.join('\n'.join(lines) for lines in parts)


def main(argv: list[str]) -> None:
  del argv
  print(report(pathlib.Path(FLAGS.comparisons).expanduser()))


if __name__ == '__main__':
  _define_flags()
  app.run(main)
