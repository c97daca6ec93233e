# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The manifest in docs/: by Kubernetes' schemas, and what they cannot know.

Which is that its parts name each other, our programs and our flags. Of
KubeRay's own kind, `RayCluster`, the pods are validated and the other fields
compared with those of KubeRay 1.5.1, the first that has tokens.
"""

import copy
import json
import re

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
    text = (_ROOT / 'docs' / 'kuberay.json').read_text(encoding='utf-8')
    manifest = json.loads(text)  # JSON is YAML, and kubectl takes both.
    self.assertEqual(manifest['kind'], 'List')
    self.items = {item['kind']: item for item in manifest['items']}
    self.assertLen(self.items, len(manifest['items']))
    self.cluster = self.items['RayCluster']
    self.head = self.cluster['spec']['headGroupSpec']
    [self.workers] = self.cluster['spec']['workerGroupSpecs']

  def templates(self):
    return (
        self.head['template'],
        self.workers['template'],
        self.items['Job']['spec']['template'],
    )

  def driver(self):
    [container] = self.items['Job']['spec']['template']['spec']['containers']
    return container

  def test_every_object_is_as_kubernetes_schemas_say(self):
    for kind, item in self.items.items():
      with self.subTest(kind):
        if kind != 'RayCluster':
          validate(item)
        # The schemas leave names open.
        self.assertRegex(
            item['metadata']['name'], r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'
        )

  def test_pods_of_the_cluster_are_as_kubernetes_schemas_say(self):
    for group in (self.head, self.workers):
      validate({'apiVersion': 'v1', 'kind': 'Pod', **group['template']})

  def test_the_cluster_has_fields_that_kuberay_knows(self):
    self.assertEqual(self.cluster['apiVersion'], 'ray.io/v1')
    self.assertCountEqual(
        self.cluster['spec'],
        ['rayVersion', 'authOptions', 'headGroupSpec', 'workerGroupSpecs'],
    )
    self.assertCountEqual(self.head, ['rayStartParams', 'template'])
    self.assertCountEqual(
        self.workers,
        ['groupName', 'replicas', 'minReplicas', 'maxReplicas']
        + ['rayStartParams', 'template'],
    )

  def test_a_mistake_is_found(self):
    for change in ({'backoffLimit': '3'}, {'backofLimit': 3}):
      wrong = copy.deepcopy(self.items['Job'])
      wrong['spec'].update(change)
      with self.assertRaises(kubernetes_validate.ValidationError):
        validate(wrong)

  def test_the_version_of_ray_is_the_one_that_is_installed(self):
    lines = (_ROOT / 'requirements.txt').read_text().splitlines()
    version = self.cluster['spec']['rayVersion']
    self.assertIn(f'ray=={version} \\', lines)

  def test_the_driver_has_the_token_that_the_cluster_asks_for(self):
    self.assertEqual(self.cluster['spec']['authOptions'], {'mode': 'token'})
    env = {e['name']: e for e in self.driver()['env']}
    self.assertEqual(env['RAY_AUTH_MODE']['value'], 'token')
    # KubeRay names the secret after the cluster.
    self.assertEqual(
        env['RAY_AUTH_TOKEN']['valueFrom']['secretKeyRef'],
        {'name': self.cluster['metadata']['name'], 'key': 'auth_token'},
    )

  def test_nobody_else_reaches_the_pods(self):
    policy = self.items['NetworkPolicy']['spec']
    labels = policy['podSelector']['matchLabels']
    self.assertEqual(
        policy['ingress'],
        [{'from': [{'podSelector': {'matchLabels': labels}}]}],
    )
    for template in self.templates():
      self.assertEqual(template['metadata']['labels'], labels)

  def test_pods_have_no_rights_that_they_do_not_need(self):
    images = set()
    for template in self.templates():
      self.assertFalse(template['spec']['automountServiceAccountToken'])
      self.assertTrue(template['spec']['securityContext']['runAsNonRoot'])
      [container] = template['spec']['containers']
      self.assertEqual(
          container['securityContext'],
          {
              'allowPrivilegeEscalation': False,
              'capabilities': {'drop': ['ALL']},
          },
      )
      self.assertIn('ephemeral-storage', container['resources']['limits'])
      images.add(container['image'])
    self.assertLen(images, 1)

  def test_no_data_of_this_folder_are_in_the_image(self):
    page = (paths.ROOT / 'docs' / 'scaling.md').read_text(encoding='utf-8')
    copied = {
        name
        for line in re.findall('^COPY (.*)$', page, re.MULTILINE)
        for name in line.split()[:-1]
    }
    # What the command and its installation take; runs and data are elsewhere.
    self.assertEqual(
        copied,
        {
            'Makefile',
            'requirements.txt',
            'requirements-dev.txt',
            'requirements-build.txt',
            'run_experiment.py',
            'tasks',
            'tff_partial',
        },
    )

  def test_the_driver_joins_and_uses_the_cluster(self):
    shell, option, script, name, *arguments = self.driver()['command']
    self.assertEqual((shell, option), ('sh', '-c'))
    cluster = self.cluster['metadata']['name']
    [port] = self.head['template']['spec']['containers'][0]['ports']
    self.assertStartsWith(
        script,
        f'ray start --address={cluster}-head-svc:{port["containerPort"]} ',
    )
    self.assertEndsWith(script, 'python run_experiment.py "$@"')
    with flagsaver.flagsaver():
      flags_lib.define()
      flags.FLAGS([name, *arguments])
      self.assertEqual(flags.FLAGS.cluster, 'auto')
      [worker] = self.workers['template']['spec']['containers']
      self.assertEqual(
          str(flags.FLAGS.actor_cores), worker['resources']['limits']['cpu']
      )

  def test_the_run_is_on_the_volume(self):
    pod = self.items['Job']['spec']['template']['spec']
    [mount], [volume] = self.driver()['volumeMounts'], pod['volumes']
    self.assertEqual(mount['name'], volume['name'])
    self.assertEqual(
        volume['persistentVolumeClaim']['claimName'],
        self.items['PersistentVolumeClaim']['metadata']['name'],
    )
    for flag in ('--data=', '--output_dir='):
      [path] = [a for a in self.driver()['command'] if a.startswith(flag)]
      self.assertStartsWith(path, f'{flag}{mount["mountPath"]}/')


if __name__ == '__main__':
  absltest.main()
