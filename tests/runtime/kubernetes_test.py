# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The manifest in docs/: by Kubernetes' schemas, and what they cannot know.

Which is that its parts name each other, our programs and our flags.
"""

import copy
import json

from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver
import kubernetes_validate

from tests.helpers import paths
from tff_partial.experiments import flags as flags_lib

_VERSIONS = ('1.25', '1.37')  # Of Kubernetes: the first and last that it has.
_ROOT = paths.ROOT


def validate(item):
  """Raises ValidationError, for a field that Kubernetes does not know too."""
  for version in _VERSIONS:
    kubernetes_validate.validate(item, version, strict=True)


class KubernetesTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    text = (_ROOT / 'docs' / 'kubernetes.json').read_text(encoding='utf-8')
    manifest = json.loads(text)  # JSON is YAML, and kubectl takes both.
    self.assertEqual(manifest['kind'], 'List')
    self.items = {item['kind']: item for item in manifest['items']}
    self.assertLen(self.items, len(manifest['items']))

  def pod(self, kind):
    template = self.items[kind]['spec']['template']
    [container] = template['spec']['containers']
    return template['metadata']['labels'], template['spec'], container

  def test_every_object_is_as_kubernetes_schemas_say(self):
    for kind, item in self.items.items():
      with self.subTest(kind):
        validate(item)
        # The schemas leave names open.
        self.assertRegex(
            item['metadata']['name'], r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'
        )

  def test_a_mistake_is_found(self):
    for change in ({'replicas': '3'}, {'replica': 3}):
      wrong = copy.deepcopy(self.items['StatefulSet'])
      wrong['spec'].update(change)
      with self.assertRaises(kubernetes_validate.ValidationError):
        validate(wrong)

  def test_selectors_find_the_workers_and_nobody_else_reaches_them(self):
    workers, _, _ = self.pod('StatefulSet')
    driver, _, _ = self.pod('Job')
    self.assertNotEqual(workers, driver)
    policy = self.items['NetworkPolicy']['spec']
    for selected in (
        self.items['Service']['spec']['selector'],
        self.items['StatefulSet']['spec']['selector']['matchLabels'],
        policy['podSelector']['matchLabels'],
    ):
      self.assertEqual(selected, workers)
    [rule] = policy['ingress']
    self.assertEqual(rule['from'], [{'podSelector': {'matchLabels': driver}}])

  def test_the_driver_names_every_worker(self):
    _, _, driver = self.pod('Job')
    _, _, worker = self.pod('StatefulSet')
    python, program, *arguments = driver['command']
    self.assertEqual(python, '.venv/bin/python')
    with flagsaver.flagsaver():
      flags_lib.define()
      flags.FLAGS([program, *arguments])
      found = flags.FLAGS.workers
    name = self.items['StatefulSet']['metadata']['name']
    spec = self.items['StatefulSet']['spec']
    [port] = worker['ports']
    self.assertEqual(
        found,
        [
            f'{name}-{i}.{spec["serviceName"]}:{port["containerPort"]}'
            for i in range(spec['replicas'])
        ],
    )
    self.assertEqual(
        spec['serviceName'], self.items['Service']['metadata']['name']
    )
    self.assertEqual(worker['image'], driver['image'])

  def test_workers_listen_at_the_port_of_all(self):
    _, _, worker = self.pod('StatefulSet')
    *program, host, port = worker['command']
    self.assertEqual(
        program, ['.venv/bin/python', '-m', 'tff_partial.runtime.serve_worker']
    )
    self.assertEqual(host, '--host=0.0.0.0')
    number = int(port.removeprefix('--port='))
    self.assertEqual(
        {
            number,
            worker['ports'][0]['containerPort'],
            worker['readinessProbe']['tcpSocket']['port'],
            self.items['Service']['spec']['ports'][0]['port'],
            self.items['NetworkPolicy']['spec']['ingress'][0]['ports'][0][
                'port'
            ],
        },
        {number},
    )

  def test_the_run_is_on_the_volume(self):
    _, pod, driver = self.pod('Job')
    [mount], [volume] = driver['volumeMounts'], pod['volumes']
    self.assertEqual(mount['name'], volume['name'])
    self.assertEqual(
        volume['persistentVolumeClaim']['claimName'],
        self.items['PersistentVolumeClaim']['metadata']['name'],
    )
    for flag in ('--data=', '--output_dir='):
      [path] = [a for a in driver['command'] if a.startswith(flag)]
      self.assertStartsWith(path, f'{flag}{mount["mountPath"]}/')


if __name__ == '__main__':
  absltest.main()
