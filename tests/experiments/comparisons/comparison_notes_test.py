# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a reader of a comparison is told."""

import dataclasses
import types

from absl.testing import absltest

from tff_partial.evaluation import metric as metric_lib
from tff_partial.evaluation import run_results
from tff_partial.experiments.comparisons import comparison_notes
from tff_partial.experiments.settings import config as config_lib

_TASK = types.SimpleNamespace(demonstration=False)


def _runs(notes):
  """Runs by algorithm, split and seed, with their notes."""
  return {
      run_results.Key(algorithm, split, False, seed): run_results.Run(
          metric=metric_lib.Metric('accuracy', higher_is_better=True),
          percent=True,
          outcomes={},
          notes=tuple(found),
      )
      for (algorithm, split, seed), found in notes.items()
  }


class ComparisonNotesTest(absltest.TestCase):

  def test_runs_that_start_from_nothing(self):
    [note] = comparison_notes.notes(
        _TASK, config_lib.create(pretrain_rounds=0), {}
    )
    self.assertIn('did not start from a trained model', note)

  def test_notes_of_runs_are_said_once(self):
    runs = _runs(
        {
            ('fed_alt', 'output', 0): ['all', 'alt', 'alt 0', 'first'],
            ('fed_alt', 'output', 1): ['all', 'alt'],
            ('fed_apm', 'input', 0): ['all', 'first', 'both'],
            ('fed_apm', 'input', 1): ['all', 'both'],
            ('finetune', 'input', 0): ['all', 'first', 'both'],
            ('finetune', 'input', 1): ['all', 'both'],
        }
    )
    self.assertEqual(
        comparison_notes.notes(_TASK, config_lib.create(), runs),
        [
            'all',
            'fed_alt, output: alt',
            'fed_alt, output (seed 0): alt 0',
            'seed 0: first',
            'fed_apm, input; finetune, input: both',
        ],
    )

  def test_share_of_choices(self):
    costs = {
        ('fed_alt', 'auto', 0): 0.1,
        ('fed_alt', 'auto', 1): 0.2,
        ('fed_alt', 'output', 0): 0,
        ('fed_sim', 'auto', 0): 0.25,
    }
    runs = _runs(dict.fromkeys(costs, ()))
    for (key, run), share in zip(runs.items(), costs.values()):
      outcome = types.SimpleNamespace(cost={'choice_share': share})
      runs[key] = dataclasses.replace(
          run, outcomes={'personalized': outcome, 'finetuned': outcome}
      )
    self.assertEqual(
        comparison_notes.notes(_TASK, config_lib.create(), runs),
        [
            'Share of the time of pretraining, choice and training in which'
            ' runs chose what is personal: fed_alt, auto: 15.0%; fed_sim, auto:'
            ' 25.0% (more than 20%).'
        ],
    )


if __name__ == '__main__':
  absltest.main()
