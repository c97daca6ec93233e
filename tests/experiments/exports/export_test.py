# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""An exported model predicts the same after loading."""

import functools
import json
import pathlib
import resource
import shutil
import string
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

import tasks
from tasks import export_client
from tasks.networks import classification
from tasks.networks import resnet
from tasks.speech import task as speech
from tests.helpers import alone
from tests.helpers import commands
from tests.helpers import emnist_data
from tests.helpers import speech_data
from tests.helpers import stackoverflow_data
from tff_partial.experiments import finished_run
from tff_partial.experiments import parts
from tff_partial.experiments import run_folder
from tff_partial.experiments import task as task_lib
from tff_partial.experiments.exports import export
from tff_partial.experiments.exports import export_forms
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import task_choice
from tff_partial.learning import copied_model
from tff_partial.learning import outlines
from tff_partial.learning import partition
from tff_partial.learning import weights
from tff_partial.runtime import local
from tff_partial.training import personal_store

setUpModule = local.remove_default_context

IMAGES = np.random.default_rng(0).random([3, 28, 28, 1]).astype(np.float32)
TOKENS = np.array([[5, 1, 2, 3], [5, 3, 0, 0]], np.int32)
# Loads whatever it can, where this project cannot be imported.
_LOAD = """
import importlib.util, sys
import numpy as np
import tensorflow as tf
assert importlib.util.find_spec('tff_partial') is None
assert importlib.util.find_spec('tasks') is None
folder, batch, out = sys.argv[1:]
x = np.load(batch)
model = tf.keras.models.load_model(f'{folder}/model.keras', compile=False)
loaded = tf.saved_model.load(f'{folder}/saved_model')
found = loaded.signatures['serving_default'](x=tf.constant(x))['outputs']
np.savez(out, keras=model(x, training=False), saved_model=found)
"""


class ExportTest(parameterized.TestCase):

  exports: dict[str, pathlib.Path] = {}

  @classmethod
  def create_class_folder(cls):
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    return pathlib.Path(folder.name)

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)
    self.run_dir = self.folder / 'run'
    self.out = self.folder / 'out'

  def write_run(self, task_name='emnist', *, finished=True, **settings):
    """Writes a run with random weights and one stored client, 'writer_1'."""
    data = self.folder / 'data'
    data.mkdir()
    if task_name == 'emnist':
      emnist_data.write_folder(str(data), clients=3)
    else:
      people = {f'writer_{i}': stackoverflow_data.SENTENCES for i in range(3)}
      stackoverflow_data.write_folder(str(data), **people)
    self.run_dir.mkdir()
    config = config_lib.create(**settings)
    task = task_lib.create(
        task_choice.TaskChoice(task_name, str(data)), registered=tasks.TASKS
    )
    self.model_fn = parts.build_model_fn(task.model_fn, config)
    self.variables = outlines.describe(self.model_fn)
    rng = np.random.default_rng(1)
    drawn = lambda personal: tff.learning.models.ModelWeights(
        [
            rng.normal(0.1, 0.1, v.shape).astype(np.float32)
            for v in self.variables
            if v.personal == personal
        ],
        [],
    )
    self.shared, self.initial, self.own = drawn(False), drawn(True), drawn(True)
    weights.save(
        self.run_dir / run_folder.WEIGHTS,
        self.variables,
        self.shared,
        self.initial,
    )
    with personal_store.PersonalStore(self.initial, str(self.run_dir)) as store:
      store.write(['writer_1'], [self.own])
      store.commit(1)
    all_settings = {
        'task': task_name,
        'data': str(data),
        'model': None,
        'batch_size': None,
        **config.settings,
    }
    (self.run_dir / 'config.json').write_text(
        json.dumps({'settings': all_settings})
    )
    if finished:
      (self.run_dir / run_folder.REPORT_PAGE).write_text('')
    else:
      for name in (run_folder.WEIGHTS, personal_store.FILE_NAME):
        (self.run_dir / name).unlink()

  def export(self, client_id, folder, *, run=None, **kwargs):
    kwargs.setdefault('registered', tasks.TASKS)
    export.export(str(run or self.run_dir), client_id, str(folder), **kwargs)

  def export_once(self, client_id):
    """The same to `self.out`, where another test may have exported it."""
    config = json.loads((self.run_dir / run_folder.CONFIG).read_text())
    del config['settings']['data']
    key = repr((client_id, config))
    if key not in self.exports:
      folder = self.create_class_folder() / 'out'
      self.export(client_id, folder)
      self.exports[key] = folder
    shutil.copytree(self.exports[key], self.out)

  def expected(self, personal, batch):
    """What the run's model predicts with these personal variables."""
    model = self.model_fn()
    model.assign(self.shared, personal)
    return model.outputs({'x': batch}, training=False).numpy()

  @parameterized.named_parameters(
      ('output', 'emnist', IMAGES, {'personal': 'output'}),
      ('adapter', 'emnist', IMAGES, {'personal': 'adapter'}),
      ('all', 'emnist', IMAGES, {'algorithm': 'finetune', 'personal': 'all'}),
      ('ditto', 'emnist', IMAGES, {'algorithm': 'ditto'}),
      ('apfl', 'emnist', IMAGES, {'algorithm': 'apfl'}),
      ('words', 'stackoverflow', TOKENS, {'personal': 'adapter'}),
  )
  def test_loaded_model_predicts_the_same(self, task, batch, settings):
    self.write_run(task, **settings)
    self.export_once('writer_1')
    expected = self.expected(self.own, batch)
    self.assertGreater(
        np.abs(expected - self.expected(self.initial, batch)).max(), 1e-3
    )
    with self.subTest('TensorFlow'):
      predict = tf.saved_model.load(
          str(self.out / export_forms.SAVED_MODEL)
      ).signatures['serving_default']
      np.testing.assert_allclose(
          predict(x=tf.constant(batch))['outputs'],
          expected,
          rtol=1e-6,
          atol=1e-6,
      )
    if task == 'emnist':
      # Keras's group norm and Lite's kernels add in another order.
      model = tf.keras.models.load_model(self.out / export_forms.KERAS)
      np.testing.assert_allclose(
          model(batch, training=False), expected, rtol=1e-4, atol=1e-5
      )
    with self.subTest('TensorFlow Lite'):
      predict = tf.lite.Interpreter(
          str(self.out / export_forms.TFLITE)
      ).get_signature_runner()
      np.testing.assert_allclose(
          predict(x=batch)['outputs'], expected, rtol=1e-4, atol=1e-5
      )
    with self.subTest('shared model and personal part'):
      values = weights.load(self.out / export.PERSONAL)
      self.assertCountEqual(
          values, [v.path for v in self.variables if v.personal]
      )
      filled = weights.fill(values, self.variables, self.shared, self.initial)
      np.testing.assert_array_equal(
          self.expected(filled.personal, batch), expected
      )

  def test_models_of_speech_and_photos(self):
    rng = np.random.default_rng(0)
    sound = rng.random([2, 30, 8]).astype(np.float32)
    for model_fn, batch in (
        (
            speech.create_model_fn(8, speech_data.TINY, 'adapter'),
            {'features': sound, 'num_frames': np.array([30, 9], np.int32)},
        ),
        (
            classification.create_model_fn(
                functools.partial(
                    resnet.create_resnet8, (32, 32, 3), 5, small_stem=False
                ),
                (32, 32, 3),
                resnet.SPLITS,
                'adapter',
            ),
            rng.random([2, 32, 32, 3]).astype(np.float32),
        ),
    ):
      model = model_fn()
      expected = model.outputs({'x': batch}, training=False)
      if not isinstance(batch, dict):
        batch, expected = {'x': batch}, {'outputs': expected}
      folder = self.folder / str(len(batch))
      folder.mkdir()
      forms = export_forms.write(folder, model)
      self.assertIn('TFLITE_BUILTINS', forms.files[export_forms.TFLITE])
      found = tf.lite.Interpreter(
          str(folder / export_forms.TFLITE)
      ).get_signature_runner()(**batch)
      self.assertCountEqual(found, expected)
      for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5)
      predict = tf.saved_model.load(
          str(folder / export_forms.SAVED_MODEL)
      ).signatures['serving_default']
      found = predict(**{k: tf.constant(v) for k, v in batch.items()})
      for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-6)

  def test_loads_where_the_project_is_not(self):
    self.write_run(personal='adapter')
    self.export_once('writer_1')
    np.save(self.folder / 'x.npy', IMAGES)
    out = self.folder / 'out.npz'
    alone.run(
        '-c', _LOAD, self.out, self.folder / 'x.npy', out, cwd=self.folder
    )
    expected = self.expected(self.own, IMAGES)
    for name, found in np.load(out).items():
      np.testing.assert_allclose(
          found, expected, rtol=1e-4, atol=1e-5, err_msg=name
      )

  def test_example_reads_a_picture(self):
    self.write_run()
    self.export_once('writer_1')
    # A dark 8 x 12 rectangle on light paper, twice as large as the input.
    pixels = np.full([56, 56, 1], 255, np.uint8)
    pixels[16:32, 20:44] = 0
    picture = self.folder / 'character.png'
    picture.write_bytes(tf.io.encode_png(pixels).numpy())
    ink = np.zeros([1, 28, 28, 1], np.float32)
    ink[:, 8:16, 10:22] = 1.0
    chances = tf.nn.softmax(self.expected(self.own, ink)[0]).numpy()
    best = int(np.argmax(chances))
    said = alone.run(self.out / 'example.py', picture, cwd=self.folder)
    names = string.digits + string.ascii_uppercase + string.ascii_lowercase
    self.assertEqual(
        said.splitlines()[0], f'{names[best]}\t{chances[best]:.1%}'
    )
    found = json.loads((self.out / export.DESCRIPTION).read_text())
    self.assertEqual(''.join(found['classes']), names)
    self.assertEqual(found['raw_input'], {'pixels': 'uint8(None, 28, 28)'})
    self.assertIn('divided by 255', found['raw_input_is'])

  def test_example_reads_a_sentence(self):
    self.write_run('stackoverflow', personal='adapter')
    self.export_once('writer_1')
    words = (self.out / 'vocabulary.txt').read_text().split()
    start = len(words) + 2
    tokens = np.array([[start, 1, len(words) + 1, 2]], np.int32)
    logits = self.expected(self.own, tokens)[-1]
    chances = tf.nn.softmax(logits).numpy()
    best = int(np.argmax(chances[1 : len(words) + 1])) + 1
    said = alone.run(
        self.out / 'example.py',
        f'{words[0].upper()} xyzzy {words[1]}',
        cwd=self.folder,
    )
    self.assertEqual(
        said.splitlines()[0], f'{words[best - 1]}\t{chances[best]:.1%}'
    )
    found = json.loads((self.out / export.DESCRIPTION).read_text())
    self.assertIn('TransformerBlock', found['missing'][export_forms.KERAS])

  def test_mixture_by_hand(self):
    self.write_run(algorithm='apfl')
    self.export_once('writer_1')
    paths = [v.path for v in self.variables if v.personal]
    own = dict(zip(paths, self.own.trainable))
    a = own[copied_model.MIXTURE]
    for path, value in keras_values(self.out / export_forms.KERAS):
      u = dict(zip([v.path for v in self.variables], self.shared.trainable))
      np.testing.assert_allclose(
          value,
          a * own[partition.COPY_PREFIX + path] + (1 - a) * u[path],
          rtol=1e-5,
          atol=1e-7,
      )

  def test_personal_variables_in_the_shared_keras_model(self):
    self.write_run(personal='output')
    self.export(None, self.out)
    model = tf.keras.models.load_model(
        self.out / export_forms.KERAS, compile=False
    )
    # Keras's group norm adds in another order.
    np.testing.assert_allclose(
        model(IMAGES, training=False),
        self.expected(self.initial, IMAGES),
        rtol=1e-5,
    )
    shutil.rmtree(self.out)
    self.export_once('writer_1')
    values = weights.load(self.out / export.PERSONAL)
    self.assertLess(
        (self.out / export.PERSONAL).stat().st_size,
        (self.out / export_forms.TFLITE).stat().st_size / 10,
    )
    variables = model.get_weight_paths()
    for path, value in values.items():
      variables[path.replace('/', '.')].assign(value)
    np.testing.assert_allclose(
        model(IMAGES, training=False),
        self.expected(self.own, IMAGES),
        rtol=1e-5,
    )

  @parameterized.parameters(
      ({}, []),
      ({'finetune_epochs': 5}, ['the 5 epochs of fine-tuning.* not finetuned']),
      ({'gate': 0.2}, ['decision of the gate']),
      ({'algorithm': 'finetune', 'gate': 0.2}, ['decision of the gate']),
  )
  def test_says_what_of_the_run_is_not_included(self, settings, expected):
    self.write_run(**settings)
    # Without the files of the model.
    with mock.patch.object(
        export_forms, 'write', return_value=export_forms.Forms()
    ):
      self.export('writer_1', self.out)
    described = json.loads((self.out / export.DESCRIPTION).read_text())
    self.assertLen(described['not_included'], len(expected))
    for found, words in zip(described['not_included'], expected):
      self.assertRegex(found, words)

  @parameterized.parameters('ditto', 'apfl')
  def test_shared_model_where_clients_have_copies(self, algorithm):
    self.write_run(algorithm=algorithm)
    self.export(None, self.out)
    paths = [v.path for v in self.variables if not v.personal]
    shared = dict(zip(paths, self.shared.trainable))
    for path, value in keras_values(self.out / export_forms.KERAS):
      np.testing.assert_allclose(value, shared[path], rtol=1e-6, atol=1e-8)

  def test_description(self):
    self.write_run(personal='adapter')
    self.export('writer_1', self.out)
    found = json.loads((self.out / export.DESCRIPTION).read_text())
    self.assertEqual(found['client'], 'writer_1')
    self.assertEqual(found['run'], 'run')
    self.assertNotIn(str(self.folder), json.dumps(found))
    self.assertEqual(found['tested_as'], 'personalized')
    self.assertEqual(found['input'], {'x': 'float32(None, 28, 28, 1)'})
    self.assertEqual(found['missing'], {})

  def test_shared_model_after_a_clients_model(self):
    self.write_run(algorithm='apfl')
    run = finished_run.FinishedRun(str(self.run_dir), self.model_fn)
    outputs = lambda client_id: run.model(client_id).outputs(
        {'x': IMAGES}, training=False
    )
    before, own, after = outputs(None), outputs('writer_1'), outputs(None)
    np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(own, self.expected(self.own, IMAGES))

  @parameterized.parameters(
      ('writer_0', {}, "took part in training, found 'writer_0', which never"),
      ('bob', {}, "one of the 1 clients .*found 'bob'. Some of them: writer_1"),
      ('writer_1', {'algorithm': 'fed_avg'}, 'all clients have the same model'),
      (
          'writer_1',
          {'algorithm': 'fed_recon'},
          'reconstructs them from a client',
      ),
      ('writer_1', {'finished': False}, 'with a checkpoint .*found none yet'),
  )
  def test_refuses(self, client_id, settings, message):
    self.write_run(**settings)
    with self.assertRaisesRegex(ValueError, message):
      self.export(client_id, self.out)
    self.assertFalse(self.out.exists())

  def test_no_run_and_earlier_export(self):
    with self.assertRaisesRegex(OSError, 'Expected a run in .*found no'):
      self.export(None, self.out, run=self.folder)
    self.write_run()
    self.out.mkdir()
    (self.out / export_forms.TFLITE).write_text('precious')
    with self.assertRaisesRegex(
        ValueError, 'found model.tflite. Use another `export_dir`'
    ):
      self.export(None, self.out)
    self.assertEqual((self.out / 'model.tflite').read_text(), 'precious')

  def test_everything_or_nothing(self):
    self.write_run()
    task = task_lib.create(
        task_choice.TaskChoice('emnist', str(self.folder / 'data')),
        registered=tasks.TASKS,
    )
    self.export(None, self.out, task=task, registered=None)
    self.assertCountEqual(
        [path.name for path in self.out.iterdir()],
        [
            'example.py',
            'export.json',
            'model.keras',
            'model.tflite',
            'model_keras3.h5',
            'personal.safetensors',
            'saved_model',
        ],
    )
    # The operating system limits files to a part of the model's size.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
      with self.assertRaises(OSError):
        self.export(None, self.folder / 'other', task=task)
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    self.assertCountEqual(
        [path.name for path in self.folder.iterdir()], ['data', 'out', 'run']
    )

  def test_command_line(self):
    self.write_run()
    command = (
        export_client,
        f'--run={self.run_dir}',
        f'--export_dir={self.out}',
    )
    status, _, said = commands.call(*command, '--client=writer_0')
    self.assertEqual(status, 1)
    self.assertRegex(
        said, "^Error: .*'writer_0'.*export_client without --client exports"
    )
    self.assertEqual(
        commands.call(*command, '--client=writer_1'),
        (0, f'Exported: {self.out} (the personalized model of writer_1)\n', ''),
    )
    self.assertTrue((self.out / export.DESCRIPTION).exists())

  def test_program_that_a_folder_names_is_not_run_unasked(self):
    self.write_run()
    marker = self.run_dir / 'was_run'
    program = self.run_dir / 'program.py'
    program.write_text(f'open({str(marker)!r}, "w").close()\nf = print\n')
    path = self.run_dir / run_folder.CONFIG
    config = json.loads(path.read_text())
    config['settings']['task'] = f'{program}:f'
    path.write_text(json.dumps(config))
    command = (
        export_client,
        f'--run={self.run_dir}',
        f'--export_dir={self.out}',
    )
    for others in ((), ('--task=emnist',)):
      status, _, said = commands.call(*command, *others)
      self.assertEqual(status, 1)
      self.assertRegex(said, '^Error: Expected --task .*program.py.* trust')
      self.assertFalse(marker.exists())
    _, _, said = commands.call(*command, f'--task={program}:f')
    self.assertRegex(said, 'to return a tff_partial.Task, found NoneType')
    self.assertTrue(marker.exists())


def keras_values(path):
  """Paths and values of a Keras model's variables."""
  model = tf.keras.models.load_model(path, compile=False)
  for name, variable in model.get_weight_paths().items():
    yield name.replace('.', '/'), variable.numpy()


if __name__ == '__main__':
  absltest.main()
