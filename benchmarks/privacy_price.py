# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What differential privacy costs each method: tables and a figure.

python -m benchmarks.privacy_price --runs=out/privacy --figure=privacy.svg

The folder has runs by the name ARM_EPSILON_SEED, and of clients that train
alone, local_SEED (results/privacy.sh). Each arm is judged by clients' models
after fine-tuning, if it has any. Tables are Markdown: noise multipliers;
accuracy in percent, with the deviation over seeds; and what arms are above
others in points, client by client over the same seeds, with 95% intervals over
clients and seeds:

  * above FedAvg with fine-tuning, of 5 and of 10 epochs, at the same epsilon;
  * what privacy costs: above the same arm with an infinite epsilon;
  * whether it costs less: that, above the same of FedAvg with fine-tuning;
  * above clients that train alone;
  * with `--others`, a folder of runs on other data of the same people: the
    first of these differences, above the same of the other folder.
"""

from collections.abc import Mapping, Sequence
import json
import math
import pathlib
from typing import Optional

from absl import app
from absl import flags
from matplotlib import figure as mpl_figure
from matplotlib import ticker

from benchmarks import comparison_folder
from tff_partial.evaluation import comparison
from tff_partial.evaluation import run_results
from tff_partial.experiments import budget
from tff_partial.experiments import run_folder
from tff_partial.reporting import formatting
from tff_partial.reporting import plots

LOCAL, BASE, LONGER_BASE = 'local', 'finetune', 'finetune_10'
_FINETUNED = 'finetuned'
_PERSONALIZED = 'fed_alt'  # Arms that are trained with personal variables.

FLAGS = flags.FLAGS
# By arm and epsilon.
_Arm = tuple[str, float]
Schemes = Mapping[_Arm, comparison.Scheme]


def _define_flags() -> None:
  flags.DEFINE_string('runs', None, 'The folder of all runs.', required=True)
  flags.DEFINE_string('others', None, 'A folder of runs on other data.')
  flags.DEFINE_string('figure', None, 'Gets the figure, an SVG file.')


def read(folder: pathlib.Path) -> Schemes:
  """The finished runs of a folder; those of clients alone have epsilon 0.

  Args:
    folder: The flag `--runs`.
  """
  outcomes: dict[tuple[str, float], dict[int, run_results.Outcome]] = {}
  metric = None
  for path in sorted(folder.glob(f'*/{run_folder.REPORT_PAGE}')):
    *words, last = path.parent.name.split('_')
    epsilon = 0.0
    if words != [LOCAL]:
      epsilon = float(words.pop())
    run = run_results.read_run(path.parent)
    metric = run.metric
    first = next(iter(run.outcomes))
    model = _FINETUNED if _FINETUNED in run.outcomes else first
    outcomes.setdefault(('_'.join(words), epsilon), {})[int(last)] = (
        run.outcomes[model]
    )
  if metric is None:
    return {}
  return {
      key: comparison.Scheme(key[0], metric=metric, full=False, outcomes=found)
      for key, found in outcomes.items()
  }


def _arms(schemes: Schemes) -> list[str]:
  return list(dict.fromkeys(arm for arm, _ in schemes if arm != LOCAL))


def _epsilons(schemes: Schemes) -> list[float]:
  return sorted({epsilon for arm, epsilon in schemes if arm != LOCAL})


def _above(
    schemes: Schemes, first: _Arm, second: _Arm
) -> Optional[comparison.Scheme]:
  """The difference of two arms as a scheme; `None` if it is not there."""
  one, other = schemes.get(first), schemes.get(second)
  if one is None or other is None or one is other:
    return None
  return comparison_folder.combined(one.name, {one: 1.0, other: -1.0})


def tables(
    schemes: Schemes, others: Optional[Schemes] = None
) -> list[list[str]]:
  """Means, and differences as listed at the top of this file.

  Args:
    schemes: What `read` returns.
    others: The same of other data.
  """
  epsilons = _epsilons(schemes)
  arms = _arms(schemes)
  local = schemes.get((LOCAL, 0.0))
  at = lambda arm, epsilon: schemes.get((arm, epsilon))

  def table(cell_fn, *, of=arms):
    return [
        f'| arm |{"".join(f" {_number(e)} |" for e in epsilons)}',
        f'| --- |{" --- |" * len(epsilons)}',
    ] + [
        f'| {arm} |'
        + ''.join(f' {cell_fn(arm, epsilon)} |' for epsilon in epsilons)
        for arm in of
    ]

  def mean(arm, epsilon):
    scheme = schemes.get((arm, epsilon))
    return '–' if scheme is None else _mean(scheme)

  def loss_less_base(arm, epsilon):
    return comparison_folder.minus(
        *(
            _above(schemes, (name, epsilon), (name, math.inf))
            for name in (arm, BASE)
        )
    )

  def less_others(arm, epsilon):
    return comparison_folder.minus(
        *(
            _above(found, (arm, epsilon), (BASE, epsilon))
            for found in (schemes, others or {})
        )
    )

  rest = [arm for arm in arms if arm != BASE]
  longer = [arm for arm in rest if arm.startswith(_PERSONALIZED)]
  found = [
      table(mean),
      table(
          lambda arm, e: comparison_folder.minus(at(arm, e), at(BASE, e)),
          of=rest,
      ),
      table(
          lambda arm, e: comparison_folder.minus(
              at(arm, e), at(LONGER_BASE, e)
          ),
          of=longer,
      ),
      table(
          lambda arm, e: comparison_folder.minus(at(arm, e), at(arm, math.inf))
      ),
      table(loss_less_base, of=rest),
      table(lambda arm, e: comparison_folder.minus(at(arm, e), local)),
  ]
  if others is not None:
    found.append(table(less_others, of=longer))
  if local is not None:
    found.append(
        [f'Clients alone: {_mean(local)} over {len(local.seeds)} seeds.']
    )
  return found


def noise(folder: pathlib.Path) -> list[str]:
  """A line for each epsilon and noise multiplier of the private runs.

  Args:
    folder: The flag `--runs`.
  """
  lines = {}
  for path in sorted(folder.glob(f'*/{budget.FILE}')):
    found = json.loads(path.read_text(encoding='utf-8'))
    [first, *_] = found['mechanisms']
    rounds = sum(m['rounds'] for m in found['mechanisms'])
    line = (
        f'| {formatting.epsilon(found["epsilon"])} |'
        f' {formatting.delta(found["delta"])} |'
        f' {first["noise_multiplier"]:.3g} | {rounds} |'
        f' {first["num_clients"]} |'
    )
    lines[line] = math.inf if found['epsilon'] is None else found['epsilon']
  return [
      '| epsilon | delta | noise multiplier | rounds | clients |',
      '| --- | --- | --- | --- | --- |',
      *sorted(lines, key=lambda line: lines[line]),
  ]


def _mean(scheme: comparison.Scheme) -> str:
  """In percent, with the deviation over seeds if there are several."""
  mean, deviation = scheme.mean()
  found = f'{100 * mean:.2f}'
  return found if math.isnan(deviation) else f'{found} ± {100 * deviation:.2f}'


def _number(epsilon: float) -> str:
  return '∞' if math.isinf(epsilon) else f'{epsilon:g}'


def draw(schemes: Schemes) -> mpl_figure.Figure:
  """Accuracy against epsilon, with a line for each arm and for local training.

  Args:
    schemes: What `read` returns.
  """
  epsilons = _epsilons(schemes)
  figure = plots.new_figure(width=6.4, height=3.8)
  axes = figure.subplots()
  plots.tidy(axes, x='Epsilon', y='Accuracy, ± deviation over seeds')
  axes.yaxis.set_major_formatter(ticker.PercentFormatter(xmax=1, decimals=0))
  axes.set_xticks(range(len(epsilons)), [_number(e) for e in epsilons])
  for i, arm in enumerate(_arms(schemes)):
    points = [
        (at, *schemes[arm, epsilon].mean())
        for at, epsilon in enumerate(epsilons)
        if (arm, epsilon) in schemes
    ]
    at, means, deviations = zip(*points)
    axes.errorbar(
        at,
        means,
        yerr=[0.0 if math.isnan(d) else d for d in deviations],
        color=plots.LINES[i % len(plots.LINES)],
        linestyle='-' if i < len(plots.LINES) else ':',
        marker='o',
        markersize=4,
        capsize=2,
        label=arm.replace('_', ' '),
    )
  if (LOCAL, 0.0) in schemes:
    axes.axhline(
        schemes[LOCAL, 0.0].mean()[0],
        color=plots.SAME,
        linestyle='--',
        label='every client alone',
    )
  figure.legend(loc='outside right upper', frameon=False, fontsize=9)
  return figure


def main(argv: Sequence[str]) -> None:
  del argv
  folder = pathlib.Path(FLAGS.runs).expanduser()
  schemes = read(folder)
  others = FLAGS.others and read(pathlib.Path(FLAGS.others).expanduser())
  found = [noise(folder), *tables(schemes, others)]
  print('\n\n'.join('\n'.join(lines) for lines in found))
  if FLAGS.figure:
    plots.write_svg(pathlib.Path(FLAGS.figure).expanduser(), draw(schemes))


if __name__ == '__main__':
  _define_flags()
  app.run(main)
