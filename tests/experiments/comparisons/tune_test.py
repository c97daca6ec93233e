# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Searches: what is chosen, what is read for it, and how they resume."""

import contextlib
import dataclasses
import json
import pathlib
import tempfile

from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver
import numpy as np

from tests.helpers import toy
from tests.helpers import toy_task
from tests.helpers import worker
from tff_partial.experiments import flags as flags_lib
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import task as task_lib
from tff_partial.experiments.comparisons import combinations
from tff_partial.experiments.comparisons import search as search_lib
from tff_partial.experiments.comparisons import search_flags
from tff_partial.experiments.comparisons import tune
from tff_partial.experiments.settings import config as config_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import weights
from tff_partial.runtime import sharding as sharding_lib

setUpModule, tearDownModule = worker.start, worker.stop

_DIVERGES = 1e30
_CLIENTS, _COHORT = 5, 3
_ROUNDS = 4  # Training ends with an error after three without a finite update.


@contextlib.contextmanager
def _in_this_context():
  yield sharding_lib.Sharding()


class _Guarded:
  """Clients that raise on a read that is not allowed, or on one too many."""

  def __init__(self, clients):
    self._clients = clients
    self.reads_left = float('inf')

  @property
  def client_ids(self):
    return self._clients.client_ids

  def num_examples(self, client_id):
    return self._clients.num_examples(client_id)

  def read(self, client_id):
    if self.reads_left <= 0:
      raise OSError('No more reads.')
    self.reads_left -= 1
    return self._clients.read(client_id)


def _task():
  task = toy_task.create_task('points')
  for part in ('train', 'test'):
    # Not by `replace`, which would look at the data again.
    clients = _Guarded(toy.random_clients(_CLIENTS, seed=part == 'test'))
    object.__setattr__(task, part, clients)
  return task


def create_task(
    data: str, *, batch_size: int = 4, weight: float = 1.0, words: str = ''
):
  """A task whose loss has a weight."""
  del words
  task = toy_task.create_task(data)

  def model_fn(split):
    rule = partition.rule_by_name(split, task.splits)
    return lambda: partial_model.PartialModel(
        toy.keras_model(),
        rule,
        loss_fn=lambda labels, found: weight * toy.loss(labels, found),
        metric_fns={'squared_error': toy.squared_error},
        input_spec=toy.INPUT_SPEC,
    )

  return dataclasses.replace(
      task,
      model_fn=model_fn,
      client_examples=examples_lib.Tensors(batch_size=batch_size),
  )


def _search(lists, seeds=(0,), **settings):
  return search_lib.Search(
      config=config_lib.create(
          algorithm='fed_avg', clients_per_round=_COHORT, **settings
      ),
      lists=lists,
      schemes=combinations.schemes(['fed_alt'], ['output']),
      validation=0.25,
      tune_seeds=[0],
      seeds=seeds,
  )


def _learned(root):
  """What every run of a search has learned, and the table of the search."""
  files = [*root.glob('grid/*/model.safetensors'), root / 'tuning.json']
  return {str(f.relative_to(root)): f.read_bytes() for f in files}


class TuneTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)

  def choose(self, root, task, search):
    return tune.choose(task, search, root, worker_fn=_in_this_context)

  def test_chooses_without_test_examples_and_compares(self):
    root, task = self.folder, _task()
    search = _search(
        {
            'learning_rate': (_DIVERGES, 0.05),
            'personal_learning_rate': (0.001, 0.2),
        },
        seeds=(0, 1),
        total_rounds=_ROUNDS,
        pretrain_rounds=_ROUNDS,
        rounds_per_evaluation=2,
    )
    task.test.reads_left = 0
    self.choose(root, task, search)
    found = json.loads((root / 'tuning.json').read_text())
    before, grid = found['grids']
    self.assertEqual(
        (before['name'], grid['name']), ('pretraining', 'fed_alt, output')
    )
    self.assertEqual(before['chosen'], {'learning_rate': 0.05})
    self.assertEqual(
        [(t['score'], t['note']) for t in grid['tried'][:2]],
        [(None, 'diverged')] * 2,
    )
    scores = []
    for tried in grid['tried'][2:]:
      rate = tried['values']['personal_learning_rate']
      name = (
          f'fed_alt_output-learning_rate_0.05-personal_learning_rate_{rate:g}'
      )
      report = json.loads(
          (
              root / f'grid/{name}-from_learning_rate_0.05-0/report.json'
          ).read_text()
      )
      # Not all took part in four rounds of three; the score is over everybody.
      groups = report['groups'].values()
      total = sum(
          g['models']['personalized']['weighted_mean'] * g['test_examples']
          for g in groups
      )
      scores.append(total / sum(g['test_examples'] for g in groups))
      self.assertAlmostEqual(tried['score'], scores[-1])
      self.assertEndsWith(
          report['settings']['init_from'],
          'grid/pretraining_none-learning_rate_0.05-0',
      )
    self.assertLess(scores[1], scores[0])  # Squared errors.
    self.assertEqual(
        grid['chosen'], {'learning_rate': 0.05, 'personal_learning_rate': 0.2}
    )
    # The least rate that converges is the least that was tried.
    self.assertEqual(grid['edges'], ['learning_rate', 'personal_learning_rate'])
    self.assertEqual(found['runs'], 2 + 4)

    task.test.reads_left = len(task.test.client_ids) * len(search.seeds)
    failures = tune.run(
        task,
        search,
        str(root),
        worker_fn=_in_this_context,
        progress=False,
    )
    self.assertEmpty(failures)
    self.assertEqual(task.test.reads_left, 0)  # Each was read once by each run.
    compared = json.loads((root / 'comparison.json').read_text())
    self.assertEqual(compared['tuning'], found)
    self.assertEqual(compared['seeds'], [0, 1])
    settings = compared['settings']
    self.assertEqual((settings['validation'], settings['gate']), (0, 0))
    self.assertEqual(settings['personal_learning_rate'], 0.2)
    self.assertIn('Chosen settings', (root / 'comparison.html').read_text())
    self.assertIn(
        '| fed_alt, output | learning_rate 0.05, personal',
        (root / 'comparison.md').read_text(),
    )
    # Every seed has its own pretrained model, of all training examples.
    models = [f.read_bytes() for f in root.glob('pretrained/*/*.safetensors')]
    self.assertLen(set(models), 2)

  def test_resumes_in_the_middle_to_the_last_bit(self):
    whole, stopped = self.folder / 'whole', self.folder / 'stopped'
    whole.mkdir()
    stopped.mkdir()
    search = _search(
        {'personal_learning_rate': (0.001, 0.2)},
        total_rounds=2,
        pretrain_rounds=1,
        rounds_per_evaluation=0,
        seconds_per_checkpoint=0.0,
    )
    self.choose(whole, _task(), search)
    task = _task()
    # Pretraining, a run, and a round of the second one.
    task.train.reads_left = _COHORT + 2 * _COHORT + _CLIENTS + _COHORT
    with self.assertRaisesRegex(OSError, 'No more reads'):
      self.choose(stopped, task, search)
    written = {
        f: f.stat().st_mtime_ns for f in stopped.glob('grid/*/report.html')
    }
    self.assertLen(written, 1)
    self.choose(stopped, _task(), search)
    self.assertEqual(_learned(stopped), _learned(whole))
    for file, time in written.items():
      self.assertEqual(file.stat().st_mtime_ns, time)

  def read(self, *arguments):
    """The task and the search that flags describe."""
    flags_lib.define()
    with flagsaver.flagsaver():
      flags.FLAGS(['', '--tune', f'--task={__name__}:create_task', *arguments])
      return search_flags.read_task()[0], search_flags.read_search()

  def test_numbers_of_the_task_are_lists(self):
    choice, search = self.read(
        '--batch_size=2,8',
        '--task_arg=weight=0.5,1e-3',
        '--task_arg=words=2,b',
        '--learning_rate=0.1,0.2',
        '--pretrain_rounds=1',
        '--clients_per_round=3',
    )
    self.assertEqual(
        (choice.batch_size, choice.task_arg), (None, ('words=2,b',))
    )
    before, [grid] = search.pretraining_grid(), search.grids()
    for found in (before, grid):
      self.assertEqual(found.lists['batch_size'], (2, 8))
      self.assertEqual(found.lists['weight'], (0.5, 1e-3))
      self.assertLen(found.points, 8)
      self.assertLen(found.configs, 4)  # One for each task.
      self.assertLen({str(p.config) for p in found.points}, 8)
    # Computations of each task are its own.
    task = task_lib.create(choice, registered={})
    plans = [plan_lib.build(task, c) for c in grid.configs]
    self.assertEqual(
        [p.client_examples.batch_size for p in plans], [2, 2, 8, 8]
    )
    self.assertLen({id(p.built) for p in plans}, 4)
    again = plan_lib.build(task, grid.configs[0])
    self.assertIs(again.built, plans[0].built)

  def test_searches_numbers_of_the_task(self):
    choice, search = self.read(
        '--task_arg=weight=0.5,1',
        '--algorithm=fed_avg',
        '--pretrain_rounds=1',
        '--total_rounds=1',
        '--clients_per_round=3',
        '--max_steps=1',
        '--learning_rate=0.05',
        '--rounds_per_evaluation=0',
    )
    task = task_lib.create(choice, registered={})
    failures = tune.run(
        task,
        search,
        str(self.folder),
        worker_fn=_in_this_context,
        progress=False,
    )
    self.assertEmpty(failures)
    half, whole = (
        weights.load(
            self.folder
            / f'grid/pretraining_none-weight_{w}-0/model.safetensors'
        )
        for w in ('0.5', '1')
    )
    # After one step from 0.
    np.testing.assert_array_equal(2 * half['line/bias'], whole['line/bias'])
    self.assertTrue(whole['line/bias'].all())
    # The chosen numbers are those of the run and of its start.
    grids = json.loads((self.folder / 'tuning.json').read_text())['grids']
    before, chosen = (grid['chosen']['weight'] for grid in grids)
    run = f'fed_avg_none-weight_{chosen:g}-from_weight_{before:g}-0'
    settings = self.settings(self.folder / run)
    self.assertEqual(settings['task_arg'], [f'weight={chosen}'])
    self.assertNotIn('task_numbers', settings)
    start = self.settings(settings['init_from'])
    self.assertEqual(start['task_arg'], [f'weight={before}'])
    compared = json.loads((self.folder / 'comparison.json').read_text())
    self.assertEqual(compared['settings']['weight'], chosen)

  def settings(self, folder):
    return json.loads(pathlib.Path(folder, 'config.json').read_text())[
        'settings'
    ]


if __name__ == '__main__':
  absltest.main()
