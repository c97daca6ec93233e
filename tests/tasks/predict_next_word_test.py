# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command that predicts next words, and the vocabulary of a run."""

import functools
import json
import os
import tempfile

from absl.testing import absltest
import numpy as np
import tensorflow_federated as tff

from tasks import predict_next_word
from tasks.stackoverflow import task as stackoverflow
from tasks.stackoverflow import vocabulary
from tests.helpers import commands
from tff_partial.experiments import finished_run
from tff_partial.experiments import parts
from tff_partial.experiments import run_folder
from tff_partial.experiments.settings import config as config_lib
from tff_partial.learning import outlines
from tff_partial.learning import weights
from tff_partial.training import personal_store

ABC = vocabulary.Vocabulary(('a', 'b', 'c'))


class PredictNextWordTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name
    self.write_run()

  def write_run(
      self,
      task='stackoverflow',
      algorithm='fed_alt',
      personal='output',
      task_arg=(),
      **settings,
  ):
    """A run whose shared model says b, then a, and ann's c, then b.

    The last layer norm gives 0 but for its bias, so that a token's logit is its
    own bias plus what its embedding has of that bias.
    """
    config = config_lib.create(
        algorithm=algorithm, personal=personal, **settings
    )
    settings = config.settings
    settings.update(task=task, data='there', model=None, batch_size=64)
    settings['task_arg'] = list(task_arg)
    with open(os.path.join(self.folder, 'config.json'), 'w') as f:
      json.dump({'settings': settings}, f)
    vocabulary.save(self.folder, ABC)
    variables = outlines.describe(
        parts.build_model_fn(
            functools.partial(
                stackoverflow.create_model_fn,
                stackoverflow.SIZES['tiny'],
                ABC,
                lora=finished_run.lora_of(settings),
            ),
            config,
        )
    )
    values = {v.path: np.zeros(v.shape, np.float32) for v in variables}
    # Other words (4) and the end (6), which are no words, are likeliest.
    for path, value in values.items():
      if path.endswith('words/bias'):
        value[:] = [0, 1, 2, 0, 8, 0, 9]
      if path.endswith('words/embedding'):
        value[3, 0] = 1
    group = lambda personal: tff.learning.models.ModelWeights(
        [values[v.path] for v in variables if v.personal == personal], []
    )
    weights.save(
        os.path.join(self.folder, 'model.safetensors'),
        variables,
        group(False),
        group(True),
    )
    with personal_store.PersonalStore(group(True), self.folder) as store:
      paths = [v.path for v in variables if v.personal]
      beta_path = 'block_1/norm2/beta'
      if algorithm != 'fed_alt':
        beta_path = f'personal/{beta_path}'
      if not store.contains('ann') and beta_path in paths:
        beta = paths.index(beta_path)
        own = group(True)
        own.trainable[beta] = own.trainable[beta].copy()
        own.trainable[beta][0] = 3
        store.write(['ann'], [own])
        store.commit(1)

  def test_shared_and_personal(self):
    models = predict_next_word.NextWords(self.folder)
    # Probabilities are over all seven numbers.
    shared = np.exp([0, 1, 2, 0, 8, 0, 9])
    self.assertSequenceAlmostEqual(
        [chance for _, chance in models.predict('A x')],
        shared[[2, 1, 3]] / shared.sum(),
        places=6,
    )
    self.assertEqual(
        [word for word, _ in models.predict('A x')], ['b', 'a', 'c']
    )
    self.assertEqual(
        [word for word, _ in models.predict('', 'ann', count=2)], ['c', 'b']
    )
    # That left the shared model unchanged. Long sentences are accepted.
    self.assertEqual(models.predict('a ' * 30)[0][0], 'b')

  def test_run_with_other_low_rank_matrices(self):
    os.remove(os.path.join(self.folder, 'personal_store.sqlite'))
    self.write_run(personal='lora', task_arg=('lora_rank=2',))
    models = predict_next_word.NextWords(self.folder)
    self.assertEqual(
        [word for word, _ in models.predict('A x')], ['b', 'a', 'c']
    )

  def test_run_whose_clients_have_copies(self):
    os.remove(os.path.join(self.folder, 'personal_store.sqlite'))
    self.write_run(algorithm='ditto')
    models = predict_next_word.NextWords(self.folder)
    self.assertEqual(
        [word for word, _ in models.predict('A x')], ['b', 'a', 'c']
    )
    self.assertEqual(
        [word for word, _ in models.predict('', 'ann', count=2)], ['c', 'b']
    )

  def test_client_without_variables(self):
    with self.assertRaisesRegex(ValueError, "found 'bob'. Some of them: ann"):
      predict_next_word.NextWords(self.folder).predict('a', 'bob')

  def test_command_line(self):
    self.assertRegex(
        commands.call(
            predict_next_word, f'--run={self.folder}', '--client=ann', 'a'
        )[1],
        r'^shared: b \S+%  a \S+%  c \S+%\nann: c \S+%  b .*\n$',
    )
    os.remove(os.path.join(self.folder, 'personal_store.sqlite'))
    self.write_run(finetune_epochs=5, gate=0.1)
    self.assertRegex(
        commands.call(
            predict_next_word, f'--run={self.folder}', '--client=ann', 'a'
        )[1],
        r'\nWithout the 5 epochs of fine-tuning .*; and without the decision .*'
        r'\n$',
    )
    status, _, said = commands.call(
        predict_next_word, f'--run={self.folder}', '--client=bob', 'a'
    )
    self.assertEqual(status, 1)
    self.assertStartsWith(said, 'Error: Expected one of the 1 clients')

  def test_run_of_another_task(self):
    self.write_run(task='emnist')
    with self.assertRaisesRegex(ValueError, "found one of 'emnist'"):
      predict_next_word.NextWords(self.folder)

  def test_vocabulary_of_another_size(self):
    vocabulary.save(self.folder, vocabulary.Vocabulary(('a', 'b')))
    with self.assertRaisesRegex(
        ValueError, r'words/embedding of shape \[6, 64'
    ):
      predict_next_word.NextWords(self.folder)

  def test_runs_keep_their_vocabulary(self):
    run_folder.keep_texts(self.folder, {vocabulary.FILE: ABC.text})
    with self.assertRaisesRegex(
        ValueError, 'the vocabulary.txt that the model in .* another one in the'
    ):
      run_folder.keep_texts(self.folder, {vocabulary.FILE: 'a\nc\nb\n'})
    self.assertEqual(vocabulary.load(self.folder), ABC)


if __name__ == '__main__':
  absltest.main()
