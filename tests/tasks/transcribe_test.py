# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command that transcribes a recording with the models of a run."""

import json
import os
import tempfile

from absl.testing import absltest
import numpy as np
import soundfile
import tensorflow_federated as tff

from tasks import transcribe
from tasks.speech import ctc
from tasks.speech import task as speech
from tests.helpers import commands
from tests.helpers import small_networks
from tests.helpers import speech_data
from tff_partial.experiments import run_folder
from tff_partial.experiments.settings import config as config_lib
from tff_partial.learning import outlines
from tff_partial.learning import weights
from tff_partial.training import personal_store


class TranscribeTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name
    self.enter_context(small_networks.speech_small())
    self.audio = os.path.join(self.folder, 'hello.wav')
    noise = np.random.default_rng(0).integers(-999, 999, 16_000, np.int16)
    soundfile.write(self.audio, noise, 16_000)

  def write_run(self, *, num_features=80, task='speech'):
    """A run whose model outputs only what its last bias says."""
    variables = outlines.describe(
        speech.create_model_fn(num_features, speech_data.TINY, 'output')
    )

    def values(personal, said):
      trainable = []
      for v in variables:
        value = np.zeros(v.shape, np.float32)
        if v.path == 'head/bias':
          value[said] = 20
        if v.personal == personal:
          trainable.append(value)
      return tff.learning.models.ModelWeights(trainable, [])

    initial = values(True, ctc.BLANK)
    weights.save(
        os.path.join(self.folder, run_folder.WEIGHTS),
        variables,
        values(False, ctc.BLANK),
        initial,
    )
    with personal_store.PersonalStore(initial, self.folder) as store:
      store.write(['ann'], [values(True, ctc.encode('A'))], version=1)
      store.commit(1)
    settings = {'task': task, 'data': 'embedded', 'model': None}
    settings.update(config_lib.create(personal='output').settings)
    with open(os.path.join(self.folder, 'config.json'), 'w') as f:
      json.dump({'settings': settings}, f)

  def transcribe(self, *options):
    return commands.call(
        transcribe, f'--run={self.folder}', self.audio, *options
    )

  def test_shared_and_personal_model(self):
    self.write_run()
    # Blanks become nothing, and a repeated character becomes one.
    self.assertEqual(
        self.transcribe('--client=ann'), (0, 'shared: \nann: A\n', '')
    )

  def test_mistakes(self):
    self.write_run()
    status, _, error = self.transcribe('--client=bob')
    self.assertEqual(status, 1)
    self.assertRegex(error, "found 'bob'. Some of them: ann")
    self.assertRegex(
        self.transcribe('--beam_width=0')[2],
        '--beam_width of at least 1, found 0',
    )
    self.audio = os.path.join(self.folder, 'config.json')
    self.assertRegex(self.transcribe()[2], 'Error: Expected audio in .*json')
    self.audio = os.path.join(self.folder, 'none.flac')
    self.assertRegex(
        self.transcribe()[2], 'Error: Expected a file .*found none'
    )

  def test_runs_of_other_tasks(self):
    self.assertRegex(self.transcribe()[2], 'Error: Expected a run in')
    self.write_run(task='emnist')
    self.assertRegex(self.transcribe()[2], "task 'speech' .* one of 'emnist'")

  def test_model_of_ready_made_features_cannot_transcribe(self):
    self.write_run(num_features=13)
    self.assertRegex(self.transcribe()[2], '80 log-mel .* found one of 13')


if __name__ == '__main__':
  absltest.main()
