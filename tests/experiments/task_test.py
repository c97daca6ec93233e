# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Creating tasks by name, from a module or a file, and with arguments."""

import collections
import dataclasses
import hashlib
import pathlib
import sys
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

import tasks
from tests.helpers import toy
from tests.helpers import toy_task
from tff_partial import errors
from tff_partial.experiments import task as task_lib
from tff_partial.experiments import task_function
from tff_partial.experiments.settings import task_choice
from tff_partial.learning import partial_model
from tff_partial.learning import partition

_MODULE = 'tests.helpers.toy_task:create_task'


class CreateTest(parameterized.TestCase):

  def create(self, reference, *arguments, **kwargs):
    choice = task_choice.TaskChoice(
        reference, 'made up', task_arg=arguments, **kwargs
    )
    return task_lib.create(choice, registered=tasks.TASKS)

  def test_from_a_module(self):
    task = self.create(_MODULE, 'num_clients=7', 'greeting=5')
    self.assertLen(task.train.client_ids, 7)
    self.assertEqual(task.data, 'made up, 5')  # A string, as annotated.
    self.assertEqual(task.client_examples.batch_size, 4)
    self.assertEqual(
        task_choice.from_settings(task.choices),
        task_choice.TaskChoice(
            _MODULE, 'made up', task_arg=('num_clients=7', 'greeting=5')
        ),
    )
    task = self.create(_MODULE, batch_size=2)
    self.assertEqual(task.client_examples.batch_size, 2)

  def test_from_a_file(self):
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder) / 'my_own_task.py'
      path.write_text(
          'import dataclasses\n'
          'import neighbor_of_my_own\n'
          '@dataclasses.dataclass\n'
          'class Needs:\n'
          '  module: int = 1\n'
          'def create_task(data):\n'
          '  return neighbor_of_my_own.create_task(data)\n'
          'def nothing(data):\n'
          '  return data\n'
      )
      (path.parent / 'neighbor_of_my_own.py').write_text(
          'from tests.helpers.toy_task import create_task\n'
      )
      reference = f'{path}:create_task'
      self.assertLen(self.create(reference).train.client_ids, 5)
      self.assertEqual(
          task_function.digest(reference, tasks.TASKS),
          hashlib.sha256(path.read_bytes()).hexdigest(),
      )
      with self.assertRaisesRegex(
          errors.SettingsError, 'tff_partial.Task, found str'
      ):
        self.create(f'{path}:nothing')
    self.assertIsNone(task_function.digest('emnist', tasks.TASKS))

  @parameterized.parameters(
      ('mnist', r'emnist, .*, or package.module:function.*found .mnist.'),
      ('tests.helpers.toy_task', 'package.module:function'),
      ('tests.helpers.toy_task:make', 'function make in tests.helpers.toy_tas'),
      ('no_such_module:create_task', 'found no no_such_module. Run from'),
      ('tests.no_such:create_task', 'found no tests.no_such. Run from'),
      ('no/such/file.py:create_task', 'no/such/file.py, found none'),
  )
  def test_refuses(self, reference, message):
    with self.assertRaisesRegex(errors.UserError, message):
      self.create(reference)

  @parameterized.parameters(
      ('clients=7', r"\(.*num_clients, greeting, with_loss\), found 'clients'"),
      ('data=x', r"\(batch_size, num_clients, .*\), found 'data'"),
      ('num_clients', 'name=value, found .*num_clients'),
      ('1=2', 'name=value, found .*1=2'),
  )
  def test_refuses_arguments(self, argument, message):
    with self.assertRaisesRegex(errors.SettingsError, message):
      self.create(_MODULE, argument)

  def test_variants_have_other_numbers_and_the_same_clients(self):
    task = self.create(_MODULE, 'greeting=hi', batch_size=3)
    self.assertIs(task.variant(()), task)
    other = task.variant((('batch_size', 2),))
    self.assertEqual(other.client_examples.batch_size, 2)
    self.assertEqual(other.data, 'made up, hi')
    self.assertEqual(other.choices['batch_size'], 2)
    self.assertIs(task.variant((('batch_size', 2),)), other)
    with self.assertRaisesRegex(
        errors.SettingsError,
        'same clients .* others with num_clients=7. Search',
    ):
      task.variant((('num_clients', 7),))

  def test_several_values_are_for_searches(self):
    with self.assertRaisesRegex(
        errors.SettingsError, "one value of 'num_clients', found 2. With `tune`"
    ):
      self.create(_MODULE, 'num_clients=5,7')
    self.assertEqual(self.create(_MODULE, 'greeting=5,7').data, 'made up, 5,7')

  @parameterized.parameters(
      ('1,50', (1, 50)),
      ('0.5,1e-3,-2', (0.5, 1e-3, -2)),
      ('1', ()),
      ('1,b', ()),
      ('a,b', ()),
      ('1,', ()),
      ('(3,4)', ()),
      ('"3,4"', ()),
      ('True,False', ()),
  )
  def test_lists_of_numbers(self, text, expected):
    self.assertEqual(task_choice.several_numbers(text), expected)

  def test_arguments_of_registered_tasks_are_kept(self):
    for arguments in ((), ('image_size=28',)):
      choice = task_choice.TaskChoice('toy', 'made up', task_arg=arguments)
      settings = choice.settings({'toy': _MODULE})
      self.assertEqual(settings.get('task_arg', []), [*arguments])
      self.assertEqual('task_arg' in settings, bool(arguments))
      self.assertEqual(task_choice.from_settings(settings), choice)

  def test_error_inside_a_module_keeps_its_traceback(self):
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder) / 'needs_more.py'
      path.write_text('import no_such_package\n')
      sys.path.append(folder)
      self.addCleanup(sys.path.remove, folder)
      with self.assertRaises(ModuleNotFoundError) as raised:
        self.create('needs_more:create_task')
      self.assertNotIsInstance(raised.exception, errors.UserError)


class CheckTest(parameterized.TestCase):

  def task_with(self, **changed):
    """A task whose second client has other examples."""
    fine = toy.examples([1, 2], [3, 4])
    clients = toy.Clients({'first': fine, 'second': {**fine, **changed}})
    return dataclasses.replace(toy_task.create_task('x'), train=clients)

  @parameterized.parameters(
      (
          {'x': np.zeros([2, 3], np.float32)},
          r'x: float32\[None, 1\], found x: ' r'float32\[2, 3\]\.',
      ),
      ({'y': np.zeros([2, 1])}, r'y: float32\[None, 1\], found y: float64'),
      (
          {'y': np.zeros([3, 1], np.float32)},
          r'found x: float32\[2, 1\], y: floa' r't32\[3, 1\]',
      ),
      ({'z': np.zeros([2])}, r'found x: .*, y: .*, z: '),
  )
  def test_names_a_later_client_and_the_field(self, changed, message):
    task = self.task_with(**changed)
    self.assertLen(task.train.read('first'), 2)
    with self.assertRaisesRegex(
        errors.DataError, f"Client 'second' of x does not fit.* {message}"
    ):
      task.train.read('second')

  def test_first_client_and_model_are_checked_when_it_is_made(self):
    task = toy_task.create_task('x')
    with self.assertRaisesRegex(errors.DataError, "Client 'c' of x"):
      wrong = collections.OrderedDict(x=np.zeros([1, 1]), y=np.zeros([1, 1]))
      dataclasses.replace(task, test=toy.Clients({'c': wrong}))

    def model_fn(split):
      del split  # All are the same.
      return lambda: partial_model.PartialModel(
          toy.keras_model(),
          partition.none,
          loss_fn=lambda labels, outputs: tf.square(labels - outputs),
          metric_fns={'squared_error': toy.squared_error},
          input_spec=toy.INPUT_SPEC,
      )

    with self.assertRaisesRegex(errors.SettingsError, 'return a scalar'):
      dataclasses.replace(task, model_fn=model_fn)

  def test_toy_task_has_its_metric(self):
    task = toy_task.create_task('x')
    self.assertEqual(task.metric.name, 'squared_error')


if __name__ == '__main__':
  absltest.main()
