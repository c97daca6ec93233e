# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Comparisons, from the combinations to the page."""

import collections
import contextlib
import dataclasses
import io
import json
import os
import pathlib
import shutil
import tempfile

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from tests.helpers import small_emnist
from tests.helpers import worker
from tff_partial import errors
from tff_partial.data import sql_writer
from tff_partial.experiments import command
from tff_partial.experiments import parts
from tff_partial.experiments.comparisons import combinations
from tff_partial.experiments.comparisons import compare
from tff_partial.experiments.estimates import choice_extent
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import methods
from tff_partial.experiments.settings import setting
from tff_partial.runtime import sharding as sharding_lib
from tff_partial.training import history

setUpModule, tearDownModule = worker.start, worker.stop

_CONFIG = config_lib.create(
    total_rounds=1,
    clients_per_round=2,
    pretrain_rounds=1,
    rounds_per_evaluation=0,
    max_steps=1,
    finetune_epochs=1,
)


class CombinationsTest(absltest.TestCase):

  def _names(self, algorithms, splits, seeds=(0,), **kwargs):
    config = config_lib.create(**kwargs)
    return [
        c.folder
        for c in combinations.combinations(
            config, algorithms=algorithms, splits=splits, seeds=seeds
        )
    ]

  def test_every_combination_once(self):
    self.assertEqual(
        self._names(['fed_avg', 'finetune'], ['output', 'all'], [3, 5]),
        [
            'fed_avg_none-3',
            'finetune_output-3',
            'finetune_all-3',
            'fed_avg_none-5',
            'finetune_output-5',
            'finetune_all-5',
        ],
    )

  def test_other_splits_have_other_folders(self):
    splits = ['input_norm', 'input+norm', 'regex:a.b', 'regex:a-b']
    names = [combinations.folder_name('fed_alt', split, 0) for split in splits]
    self.assertLen(set(names), 4)
    self.assertEqual(names[0], 'fed_alt_input_norm-0')
    for name in names:
      self.assertRegex(name, r'^[\w+-]+$')

  def test_first_seed_is_run_first_and_then_scheme_by_scheme(self):
    todo = combinations.combinations(
        config_lib.create(),
        algorithms=['fed_avg', 'fed_alt'],
        splits=['output'],
        seeds=[3, 5, 4],
    )
    self.assertEqual(
        [c.folder for c in compare.by_scheme(todo)],
        [
            'fed_avg_none-3',
            'fed_alt_output-3',
            'fed_avg_none-5',
            'fed_avg_none-4',
            'fed_alt_output-5',
            'fed_alt_output-4',
        ],
    )

  def test_nothing_shared_is_left_out(self):
    self.assertEqual(
        self._names(['fed_alt', 'ditto'], ['all', 'input']),
        ['fed_alt_input-0', 'ditto_a_copy_of_all-0'],
    )
    self.assertEqual(
        self._names(['fed_avg', 'fed_alt', 'ditto'], ['input', 'none']),
        ['fed_avg_none-0', 'fed_alt_input-0', 'ditto_a_copy_of_all-0'],
    )
    with self.assertRaisesRegex(ValueError, 'something to share'):
      self._names(['fed_alt'], ['all'])

  def test_fed_sim_gets_the_steps_of_fed_alt(self):
    found = combinations.combinations(
        config_lib.create(epochs=2, personal_epochs=3, max_steps=4),
        algorithms=['fed_sim', 'fed_alt'],
        splits=['output'],
        seeds=[0],
    )
    by_folder = {c.folder: c.config for c in found}
    equal = by_folder['fed_sim_with_equal_steps_output-0']
    alternating = by_folder['fed_alt_output-0']
    phases = lambda config: [
        (phase.epochs, phase.max_steps)
        for phase in parts.build_algorithm(config).phases
    ]
    self.assertEqual(phases(equal), [(3, 4), (2, 4)])
    self.assertEqual(phases(equal), phases(alternating))
    self.assertEqual(phases(by_folder['fed_sim_output-0']), [(2, 4)])
    self.assertLen(found, 3)
    without = combinations.combinations(
        config_lib.Config(),
        algorithms=['fed_sim', 'fed_alt'],
        splits=['output'],
        seeds=[0],
        equal_steps=False,
    )
    self.assertEqual([c.key.algorithm for c in without], ['fed_sim', 'fed_alt'])

  def test_fed_alt_gets_the_passes_of_ffgg(self):
    names = ['fed_alt', 'ffgg']
    found = combinations.combinations(
        config_lib.create(), algorithms=names, splits=['output'], seeds=[0]
    )
    by_name = {c.key.algorithm: c.config for c in found}
    self.assertEqual(
        [*by_name], ['fed_alt', 'fed_alt with equal steps', 'ffgg']
    )
    sizes = np.array([3, 9])
    of_round = lambda name: choice_extent.gradients(
        parts.build_algorithm(by_name[name]).phases, sizes, 4
    )
    self.assertEqual(of_round('fed_alt with equal steps'), of_round('ffgg'))
    self.assertLess(of_round('fed_alt'), of_round('ffgg'))
    # Nothing makes them equal, or they are.
    for settings in ({'personal_epochs': 3}, {'max_steps': 4}, {'epochs': 2}):
      self.assertEqual(
          self._names(names, ['output'], **settings),
          ['fed_alt_output-0', 'ffgg_output-0'],
      )

  def test_all_start_from_the_same_pretrained_model(self):
    # Whatever belongs to personalization, each run has its own value of it.
    for changes in (
        {},
        {'personal_epochs': 3, 'personal_learning_rate': 0.05},
        {'personal_l2': 0.5, 'inner_steps': 2, 'pull': 0.5},
        {'finetune_epochs': 4, 'total_rounds': 7, 'eval_clients': 3},
        {'unseen_clients': 0, 'onboarding': 'none'},
    ):
      found = combinations.combinations(
          config_lib.create(epochs=2, max_steps=9, **changes),
          algorithms=list(methods.METHODS),
          splits=['output', 'adapter', 'all'],
          seeds=[0],
      )
      self.assertIn(
          'fed_sim with equal steps', [c.key.algorithm for c in found]
      )
      before = config_lib.create(
          algorithm='fed_avg', total_rounds=5, epochs=2, max_steps=9
      ).settings
      for combination in found:
        pretraining = combination.config.for_pretraining(5).settings
        for name in ('personal', 'pretrain_rounds', 'finetune_epochs'):
          pretraining[name] = before[name]  # Of no effect in FedAvg.
        self.assertEqual(pretraining, before, combination.folder)

  def test_unknown_names(self):
    with self.assertRaisesRegex(ValueError, "found 'fed_up'"):
      self._names(['fed_alt', 'fed_up'], ['output'])
    with self.assertRaisesRegex(ValueError, 'one value of `seeds`, found none'):
      self._names(['fed_alt'], ['output'], [])


class RunTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)
    data = str(self.folder / 'data')
    os.mkdir(data)
    rng = np.random.default_rng(0)
    features = collections.OrderedDict(
        pixels=tf.TensorSpec([28, 28], tf.float32),
        label=tf.TensorSpec([], tf.int32),
    )
    with sql_writer.train_and_test(data, features) as writers:
      for writer, size in zip(writers, (8, 6)):
        for client_id in 'abc':
          writer.write(
              client_id,
              {
                  'pixels': rng.random((size, 28, 28), np.float32),
                  'label': rng.integers(0, 3, size, np.int32),
              },
          )
    self.task = small_emnist.create_task(data)
    self.out = self.folder / 'out'

  def _run(self, algorithms, splits, seeds, config=_CONFIG):
    todo = combinations.combinations(
        config, algorithms=algorithms, splits=splits, seeds=seeds
    )
    return compare.run(
        self.task,
        todo,
        str(self.out),
        worker_fn=lambda: contextlib.nullcontext(sharding_lib.Sharding()),
        progress=False,
    )

  def test_compares_resumes_and_reports_failures(self):
    self.assertEmpty(self._run(['fed_avg', 'fed_alt'], ['output'], [0]))
    first = json.loads((self.out / 'comparison.json').read_text())
    self.assertEqual(
        [s['name'] for s in first['schemes']],
        ['fed_avg, none', 'fed_alt, output', 'fed_alt, output, finetuned'],
    )
    # Guessing each client's most frequent class is a row and in pairs.
    examples = self.task.labels_fn
    right = tested = 0
    for client_id in 'abc':
      counts = np.bincount(examples(self.task.train.read(client_id)))
      labels = examples(self.task.test.read(client_id))
      right += (labels == counts.argmax()).sum()
      tested += len(labels)
    self.assertAlmostEqual(first['yardstick']['mean'], right / tested)
    guess = 'The client’s most frequent class or word, untrained'
    self.assertEqual(
        [p['first'] for p in first['pairs'] if p['second'] == guess],
        [s['name'] for s in first['schemes']],
    )
    # What clients' own variables add to FedAlt's shared ones.
    self.assertEqual(
        [
            p['first']
            for p in first['pairs']
            if p['second'] == 'its shared variables'
        ],
        ['fed_alt, output'],
    )
    self.assertIn(f'| {guess} |', (self.out / 'comparison.md').read_text())
    self.assertIn(guess, (self.out / 'comparison.html').read_text())
    # All start from one model, so clients' values before are the same.
    self.assertLen({s['baseline'] for s in first['schemes']}, 1)
    self.assertLen(list((self.out / 'pretrained').iterdir()), 1)
    page = self.out / 'fed_alt_output-0' / 'report.html'
    written = page.stat().st_mtime_ns
    # With a second seed, one folder holds something else, and one is new.
    broken = self.out / 'fed_alt_output-1'
    broken.mkdir()
    (broken / 'stranger').write_text('not a run')
    failures = self._run(['fed_avg', 'fed_alt'], ['output'], [0, 1])
    self.assertEqual(list(failures), ['fed_alt_output-1'])
    self.assertIn('empty folder', failures['fed_alt_output-1'])
    self.assertIn('Traceback', (broken / 'error.txt').read_text())
    second = json.loads((self.out / 'comparison.json').read_text())
    self.assertEqual(second['failures'], failures)
    # Every seed has a pretrained model of its own, which its runs start from.
    starts = {}
    for algorithm, seed in (
        ('fed_avg_none', 0),
        ('fed_alt_output', 0),
        ('fed_avg_none', 1),
    ):
      config = self.out / f'{algorithm}-{seed}' / 'config.json'
      settings = json.loads(config.read_text())['settings']
      starts.setdefault(seed, set()).add(settings['init_from'])
    models = [
        (pathlib.Path(start) / 'model.safetensors').read_bytes()
        for seed in starts
        for start in starts[seed]
    ]
    self.assertLen(models, 2)
    self.assertNotEqual(*models)
    self.assertEqual(second['schemes'][0]['seeds'], [0, 1])
    self.assertEqual(second['schemes'][1]['seeds'], [0])
    self.assertIn('There is one seed.', ' '.join(first['notes']))
    self.assertIn('There are two seeds', ' '.join(second['notes']))
    self.assertEqual(page.stat().st_mtime_ns, written)
    html = (self.out / 'comparison.html').read_text()
    self.assertIn('fed_alt_output-1', html)
    self.assertIn('fed_alt_output-1', (self.out / 'comparison.md').read_text())
    for name in ('changes', 'clients'):
      figure = (self.out / f'comparison_{name}.svg').read_text()
      self.assertIn('</svg>', figure)
    # With one split, there are not several sizes to choose from.
    self.assertFalse((self.out / 'comparison_frontier.svg').exists())
    self.assertNotIn('id="frontier"', html)
    # Once the folder is gone, the same command finishes.
    shutil.rmtree(broken)
    self.assertEmpty(self._run(['fed_avg', 'fed_alt'], ['output'], [0, 1]))

  def test_bug_keeps_its_traceback(self):
    def labels(unused_examples):
      raise ZeroDivisionError('a bug')

    self.task = dataclasses.replace(self.task, labels_fn=labels)
    config = setting.replace(_CONFIG, pretrain_rounds=0, total_rounds=1)
    stderr = io.StringIO()
    with (
        contextlib.redirect_stderr(stderr),
        self.assertRaisesRegex(ZeroDivisionError, 'a bug'),
    ):
      self._run(['fed_avg'], ['none'], [0], config)
    self.assertIn('Traceback', stderr.getvalue())
    self.assertIn('ZeroDivisionError: a bug', stderr.getvalue())
    self.assertIn(command.BUG, stderr.getvalue())

  def test_page_without_ids_has_no_messages_that_may_name_somebody(self):
    broken = self.out / 'fed_avg_none-0'
    broken.mkdir(parents=True)
    (broken / 'stranger').write_text('not a run')
    config = setting.replace(
        _CONFIG, pretrain_rounds=0, report_client_ids='hashed'
    )
    with self.assertRaisesRegex(
        errors.SettingsError, 'The first: see error.txt in its folder'
    ):
      self._run(['fed_avg'], ['none'], [0], config)
    self.assertIn('empty folder', (broken / 'error.txt').read_text())

  def test_policies_for_newcomers_side_by_side(self):
    config = setting.replace(
        _CONFIG,
        clients_per_round=2,
        unseen_clients=1,
        onboarding='mean,initial',
        min_clients_for_mean=2,
        personal_epochs=3,
        finetune_epochs=0,
        max_steps=2,
        report_client_ids='hashed',
    )
    self.assertEmpty(self._run(['fed_sim', 'fed_alt'], ['output'], [0], config))
    # FedSim with equal steps starts from the same model as the others.
    self.assertLen(list((self.out / 'pretrained').iterdir()), 1)
    found = json.loads((self.out / 'comparison.json').read_text())
    self.assertLen({s['baseline'] for s in found['schemes']}, 1)
    steps = {
        key: json.loads((self.out / key / 'report.json').read_text())['cost'][
            'gradient_steps'
        ]
        for key in ('fed_sim_with_equal_steps_output-0', 'fed_alt_output-0')
    }
    self.assertLen(set(steps.values()), 1, steps)
    self.assertEqual(
        [s['name'] for s in found['newcomers']],
        [
            f'{algorithm}, output, new_{policy}'
            for algorithm in ('fed_sim', 'fed_sim with equal steps', 'fed_alt')
            for policy in ('initial', 'mean')
        ],
    )
    for scheme in found['newcomers']:
      self.assertEqual(scheme['change']['clients'], 1)
    for scheme in found['schemes']:
      self.assertEqual(scheme['change']['clients'], 2)
    for page in ('comparison.html', 'comparison.md'):
      self.assertIn('new_mean', (self.out / page).read_text())

  def test_pretraining_belongs_to_the_time_of_a_choice(self):
    self.assertEmpty(self._run(['fed_alt'], ['auto'], [0]))
    [metrics] = (self.out / 'pretrained').glob('*/metrics.csv')
    [row] = history.read(metrics)
    found = json.loads((self.out / 'comparison.json').read_text())
    cost = found['schemes'][0]['cost']
    self.assertEqual(cost['pretraining_seconds'], row['seconds'])
    share = cost['choice_seconds'] / (
        cost['choice_seconds'] + row['seconds'] + cost['seconds']
    )
    self.assertIn(f'fed_alt, auto: {share:.1%}', ' '.join(found['notes']))

  def test_bad_split_is_found_before_anything_is_trained(self):
    with self.assertRaisesRegex(ValueError, 'head'):
      self._run(['fed_avg', 'fed_alt'], ['head'], [0])
    self.assertFalse(self.out.exists())


if __name__ == '__main__':
  absltest.main()
