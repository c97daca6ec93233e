# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Scores the forecasts of `--regime` by comparisons that were run after them.

python -m benchmarks.regime_score --regimes=out/regimes --forecasts=file.json
python -m benchmarks.regime_score --comparisons=out/comparisons \
    --forecasts=file.json

The first command collects the forecasts of the folders in out/regimes, each
with a `regime.json`, in one file, which can be kept before anything else is
run. It leaves the forecasts that are in the file as they are, and adds those of
other pairs. The second one reads the comparisons of FedAlt and FedSim in the
folders of the same names and prints Markdown: every pair, what forecasts were
worth, next to the better constant, and how well their probabilities are
calibrated.

A pair is resolved if the 95% interval of the difference, over clients and
seeds, excludes 0. Only resolved pairs have a sign that a forecast can miss; the
rank correlation is over all pairs.
"""

from collections.abc import Callable, Mapping, Sequence
import json
import math
import pathlib
from typing import Any, NamedTuple, Optional

from absl import app
from absl import flags
import numpy as np

from benchmarks import comparison_folder
from benchmarks import scoring
from tff_partial import files
from tff_partial.evaluation import comparison
from tff_partial.evaluation import metric as metric_lib
from tff_partial.evaluation import run_results
from tff_partial.experiments.settings import methods
from tff_partial.reporting import formatting
from tff_partial.reporting import page

EPOCHS, STEPS = 'equal_epochs', 'equal_gradient_steps'
_OTHERS = {
    EPOCHS: methods.SIMULTANEOUS,
    STEPS: methods.SIMULTANEOUS_EQUAL_STEPS,
}
_LOSS = metric_lib.Metric('loss', higher_is_better=False)

FLAGS = flags.FLAGS


def _define_flags() -> None:
  flags.DEFINE_string('regimes', None, 'Folder of the folders with forecasts.')
  flags.DEFINE_string('comparisons', None, 'Folder of those with comparisons.')
  flags.DEFINE_string('forecasts', None, 'The file.', required=True)


def collect(folder: pathlib.Path) -> list[dict[str, Any]]:
  """The forecasts of a folder's folders, a row for each split and question.

  Args:
    folder: Holds a folder with a `regime.json` for each pair.
  """
  rows = []
  for path in sorted(folder.glob('*/regime.json')):
    contents = json.loads(path.read_text(encoding='utf-8'))
    for split, found in contents['splits'].items():
      for question, forecast in found['forecasts'].items():
        rows.append(
            {
                'pair': path.parent.name,
                'split': split,
                'question': question,
                'repeats': found['repeats'],
                **forecast['held_out'],
                **_theory(found),
            }
        )
  return rows


def added(
    kept: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
  """Forecasts that are kept, and those of other pairs.

  Args:
    kept: Rows as `collect` makes them, which stay as they are.
    found: More of them.
  """
  names = {row['pair'] for row in kept}
  return [*kept, *(row for row in found if row['pair'] not in names)]


def _theory(found: Mapping[str, Any]) -> dict[str, float]:
  """What theory says of a split; below 0, FedAlt is ahead."""
  start, m = found['start'], found['clients_per_round']
  lookahead = found['pilot']['lookahead']
  return {
      'eta_u': start['normalised_steps']['shared']['value'],
      'eta_v': start['normalised_steps']['personal']['value'],
      'leading_order': start['leading_difference']['value'],
      'lookahead': float(
          np.interp(m, lookahead['clients_per_round'], lookahead['relative'])
      ),
      'criterion_as_drawn': -start['criterion']['as_drawn']['margin'],
      'criterion_independent': -start['criterion']['independent']['margin'],
  }


class Outcome(NamedTuple):
  """How FedAlt compares with FedSim; below 0, FedAlt is ahead.

  Attributes:
    seeds: How many there were.
    log_ratio: Logarithm of the ratio of test losses.
    low: Lower end of the 95% interval of their difference, over FedSim's loss.
    high: Upper end.
    metric: Difference of the metric that the task is about, times -1 where more
      is better.
    metric_low: Lower end of its interval.
    metric_high: Upper end.
  """

  seeds: int
  log_ratio: float
  low: float
  high: float
  metric: float
  metric_low: float
  metric_high: float


def outcome(folder: pathlib.Path, split: str, question: str) -> Outcome:
  """Reads what a comparison says; no seeds if it is not there.

  Args:
    folder: The comparison's.
    split: Which variables are personal.
    question: `EPOCHS` or `STEPS`.
  """
  first = comparison_folder.runs(folder, methods.ALTERNATING, split)
  second = comparison_folder.runs(folder, _OTHERS[question], split)
  seeds = sorted(first.keys() & second.keys())
  if not seeds:
    return Outcome(0, *[math.nan] * 6)
  loss, other = (_scheme(runs, seeds, _LOSS) for runs in (first, second))
  metric = first[seeds[0]].metric
  difference = loss.minus(other)
  gain = _scheme(first, seeds, metric).minus(_scheme(second, seeds, metric))
  assert difference is not None and gain is not None  # They share seeds.
  level = other.mean()[0]
  ends = sorted((-metric.sign * gain.low, -metric.sign * gain.high))
  return Outcome(
      len(seeds),
      math.log1p(difference.mean / level),
      difference.low / level,
      difference.high / level,
      -metric.sign * gain.mean,
      *ends,
  )


def _scheme(
    runs: Mapping[int, run_results.Run],
    seeds: Sequence[int],
    metric: metric_lib.Metric,
) -> comparison.Scheme:
  """The runs' first models, which the runs are about."""
  return comparison.Scheme(
      '',
      metric=metric,
      full=False,
      outcomes={s: next(iter(runs[s].outcomes.values())) for s in seeds},
  )


Row = tuple[Mapping[str, Any], Outcome]
# Of each forecaster: its number, below 0 if FedAlt is ahead; whether it is also
# about equal gradient steps.
_FORECASTERS: Mapping[str, tuple[Callable[[Any], Optional[float]], bool]] = {
    'rehearsals': (lambda row: row['log_ratio'], True),
    'rehearsals, calls only': (
        lambda row: None if row['call'] is None else row['log_ratio'],
        True,
    ),
    'lookahead after a rehearsal': (lambda row: row['lookahead'], False),
    'equation D at the start': (lambda row: row['leading_order'], False),
    "the paper's criterion, batches as drawn": (
        lambda row: row['criterion_as_drawn'],
        False,
    ),
    "the paper's criterion, independent batches": (
        lambda row: row['criterion_independent'],
        False,
    ),
}


def _resolved(low: float, high: float) -> bool:
  return low > 0 or high < 0


def score_table(rows: Sequence[Row], *, by_metric: bool = False) -> list[str]:
  """A line for each forecaster and question, in Markdown.

  Args:
    rows: Forecasts and outcomes.
    by_metric: Whether the task's metric decides who was ahead, in place of the
      loss.
  """
  value = lambda o: o.metric if by_metric else o.log_ratio
  ends = lambda o: (
      (o.metric_low, o.metric_high) if by_metric else (o.low, o.high)
  )
  lines = [
      '| forecast by | at equal | resolved | right | 95% interval | balanced |'
      ' better constant | p | rank correlation |',
      '| --- | --- | --- | --- | --- | --- | --- | --- | --- |',
  ]
  for name, (number_fn, both) in _FORECASTERS.items():
    for questions in ((EPOCHS,), (STEPS,), (EPOCHS, STEPS)):
      if not both and questions != (EPOCHS,):
        continue
      known = [
          (number, r['question'], value(o), ends(o))
          for r, o in rows
          if r['question'] in questions and (number := number_fn(r)) is not None
      ]
      decided = [row for row in known if _resolved(*row[3])]
      events = [found < 0 for _, _, found, _ in decided]
      found = scoring.score(
          [number < 0 for number, _, _, _ in decided],
          events,
          _constants([question for _, question, _, _ in decided], events),
      )
      correlation = scoring.rank_correlation(
          [row[0] for row in known], [row[2] for row in known]
      )
      lines.append(_score_line(name, questions, len(known), found, correlation))
  return lines


def _constants(questions: Sequence[str], events: Sequence[bool]) -> list[bool]:
  """What the better constant of each question says."""
  by_question = {
      q: scoring.better_constant(
          [e for other, e in zip(questions, events) if other == q]
      )
      for q in questions
  }
  return [by_question[q] for q in questions]


def _score_line(
    name: str,
    questions: Sequence[str],
    known: int,
    found: scoring.Score,
    correlation: float,
) -> str:
  words = 'either' if len(questions) > 1 else _words(questions[0])
  number = lambda v: '–' if math.isnan(v) else f'{v:.2f}'
  share = f'{found.right / found.events:.0%}' if found.events else '–'
  return (
      f'| {name} | {words} | {found.events} of {known} |'
      f' {found.right} ({share}) |'
      f' {found.low:.0%} to {found.high:.0%} | {number(found.balanced)} |'
      f' {found.constant_right} | {found.p_value:.2g} | {number(correlation)} |'
  )


def _words(question: str) -> str:
  return {EPOCHS: 'epochs', STEPS: 'steps'}[question]


def pair_table(rows: Sequence[Row]) -> list[str]:
  """A line for each pair, in Markdown."""
  percent = lambda value: f'{100 * math.expm1(value):+.1f}'
  lines = [
      '| pair | personal | at equal | forecast, % | 95% interval | call |'
      ' measured, % | 95% interval | metric | 95% interval |',
      '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |',
  ]
  for row, found in rows:
    forecast = '– | –'
    if row['log_ratio'] is not None:
      interval = '–'  # Of a forecast by one rehearsal.
      if row['low'] is not None:
        interval = f'{percent(row["low"])} to {percent(row["high"])}'
      forecast = f'{percent(row["log_ratio"])} | {interval}'
    call = {True: 'FedAlt', False: 'FedSim', None: '–'}[row['call']]
    lines.append(
        f'| {row["pair"]} | {row["split"]} | {_words(row["question"])} |'
        f' {forecast} | {call} | {percent(found.log_ratio)} |'
        f' {100 * found.low:+.1f} to {100 * found.high:+.1f} |'
        f' {-100 * found.metric:+.2f} | {-100 * found.metric_high:+.2f} to'
        f' {-100 * found.metric_low:+.2f} |'
    )
  return lines


def probabilities(rows: Sequence[Row]) -> list[str]:
  """How probabilities, intervals and abstentions of rehearsals did."""
  finite = [(r, o) for r, o in rows if None not in (r['log_ratio'], r['low'])]
  decided = [(r, o) for r, o in finite if _resolved(o.low, o.high)]
  ties = [r for r, o in finite if not _resolved(o.low, o.high)]
  inside = sum(r['low'] <= o.log_ratio <= r['high'] for r, o in finite)
  lines = [
      f'* The interval of the forecast contains the measured log ratio in'
      f' {inside} of {len(finite)} pairs.',
      '* No call is made in'
      f' {sum(r["call"] is None for r in ties)} of'
      f' {formatting.quantity(len(ties), "unresolved pair")}.',
  ]
  if not decided:
    return lines
  events = [o.log_ratio < 0 for _, o in decided]
  found = [
      scoring.probability_negative(
          r['log_ratio'], r['low'], r['high'], repeats=r['repeats']
      )
      for r, _ in decided
  ]
  base = float(np.mean(events))
  lines.append(
      '* Brier score (lower is better) of the probability that FedAlt is'
      f' ahead: {scoring.brier(found, events):.3f}. A constant {base:.0%}, the'
      f' share of FedAlt, known only afterwards: {base * (1 - base):.3f}.'
  )
  lines += [
      f'* Calibration: {formatting.quantity(number, "pair")} with {mean:.0%} on'
      f' average, of which FedAlt was ahead in {came:.0%}.'
      for number, mean, came in scoring.calibration(found, events)
  ]
  return lines


def report(rows: Sequence[Mapping[str, Any]], comparisons: pathlib.Path) -> str:
  """All tables in Markdown.

  Args:
    rows: What `collect` found.
    comparisons: Holds a comparison for each pair.
  """
  found = [
      (r, outcome(comparisons / r['pair'], r['split'], r['question']))
      for r in rows
  ]
  most = max((o.seeds for _, o in found), default=0)
  known = [(r, o) for r, o in found if o.seeds and o.seeds == most]
  parts = [
      [f'{len(known)} of {len(found)} pairs have results of {most} seeds.'],
      pair_table(known),
      ['By test loss:'],
      score_table(known),
      ["By the task's metric:"],
      score_table(known, by_metric=True),
      probabilities(known),
  ]
  return '\n\n'.join('\n'.join(lines) for lines in parts)


def main(argv: list[str]) -> None:
  del argv
  path = pathlib.Path(FLAGS.forecasts).expanduser()
  if FLAGS.regimes:
    files.make_folder(path.parent)
    kept = _read(path) if path.exists() else []
    rows = added(kept, collect(pathlib.Path(FLAGS.regimes).expanduser()))
    files.replace_text(path, page.to_json({'forecasts': rows}))
  if FLAGS.comparisons:
    comparisons = pathlib.Path(FLAGS.comparisons).expanduser()
    print(report(_read(path), comparisons))


def _read(path: pathlib.Path) -> list[dict[str, Any]]:
  return json.loads(path.read_text(encoding='utf-8'))['forecasts']


if __name__ == '__main__':
  _define_flags()
  app.run(main)
