# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Clusters that ask for a token, and clusters that let everybody in.

Each test that connects has a process of its own, because Ray reads the
environment once.
"""

import datetime
import ipaddress
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
import psutil

from tests.helpers import paths
from tff_partial import errors
from tff_partial.runtime import ray_connection

# Connects, and prints what it finds as JSON.
_PROGRAM = """
import json, os, stat, sys
import grpc, psutil, ray
from tff_partial import errors
from tff_partial.runtime import ray_connection

address, insecure = sys.argv[1], sys.argv[2] == 'insecure'
found = {}
before = dict(os.environ)
try:
  with ray_connection.connect(address, insecure_cluster=insecure):
    node = ray.nodes()[0]
    folder = os.path.dirname(os.path.dirname(
        os.path.dirname(node['RayletSocketName'])))
    found['folder'] = folder
    found['mode'] = stat.S_IMODE(os.stat(os.path.dirname(folder)).st_mode)
    found['cores'] = ray_connection.cores_of_nodes()
    target = ray.get_runtime_context().gcs_address
    with grpc.insecure_channel(target) as channel:
      try:
        channel.unary_unary('/ray.rpc.NodeInfoGcsService/CheckAlive')(
            b'', timeout=10)
        found['without_token'] = 'OK'
      except grpc.RpcError as error:
        found['without_token'] = error.code().name
    try:
      with ray_connection.connect('local', insecure_cluster=False):
        pass
    except errors.SettingsError as error:
      found['twice'] = str(error)
except errors.UserError as error:
  found['error'] = str(error)
left = psutil.Process().children(recursive=True)
found['left'] = [str(p) for p in psutil.wait_procs(left, timeout=20)[1]]
found['environment'] = {k for k in before if os.environ.get(k) != before[k]}
found['environment'] |= {k for k in os.environ if k not in before}
found['environment'] = sorted(k for k in found['environment'] if 'TOKEN' in k)
print(json.dumps(found))
"""


def connect(address='local', insecure='', **environment):
  done = subprocess.run(
      [sys.executable, '-c', _PROGRAM, address, insecure],
      cwd=paths.ROOT,
      env={
          **{k: v for k, v in os.environ.items() if not k.startswith('RAY_')},
          **environment,
      },
      capture_output=True,
      text=True,
  )
  if done.returncode:
    raise AssertionError(done.stderr[-3000:])
  return json.loads(done.stdout.splitlines()[-1])


def write_certificate(folder):
  """Writes a certificate for this machine that is its own authority."""
  key = ec.generate_private_key(ec.SECP256R1())
  name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'localhost')])
  now = datetime.datetime.now(datetime.UTC)
  certificate = (
      x509.CertificateBuilder()
      .subject_name(name)
      .issuer_name(name)
      .public_key(key.public_key())
      .serial_number(1)
      .not_valid_before(now - datetime.timedelta(days=1))
      .not_valid_after(now + datetime.timedelta(days=1))
      .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
      .add_extension(
          x509.SubjectAlternativeName(
              [
                  x509.DNSName('localhost'),
                  *(x509.IPAddress(a) for a in _addresses()),
              ]
          ),
          False,
      )
      .sign(key, hashes.SHA256())
  )
  (folder / 'key').write_bytes(
      key.private_bytes(
          serialization.Encoding.PEM,
          serialization.PrivateFormat.PKCS8,
          serialization.NoEncryption(),
      )
  )
  pem = certificate.public_bytes(serialization.Encoding.PEM)
  (folder / 'certificate').write_bytes(pem)


def _addresses():
  """This machine's addresses."""
  return {
      ipaddress.ip_address(address.address)
      for addresses in psutil.net_if_addrs().values()
      for address in addresses
      if address.family == socket.AF_INET
  }


class RayConnectionTest(absltest.TestCase):

  def test_a_cluster_of_its_own_asks_for_a_token(self):
    # Where nobody answers: it is for other clusters.
    found = connect(RAY_ADDRESS='127.0.0.1:1')
    self.assertNotIn('error', found)
    self.assertEqual(found['without_token'], 'UNAUTHENTICATED')
    self.assertEqual(found['mode'], 0o700)
    self.assertFalse(os.path.exists(found['folder']))
    self.assertEqual(found['cores'], [len(os.sched_getaffinity(0))])
    self.assertRegex(found['twice'], 'found one. Call ray.shutdown')
    self.assertEmpty(found['left'])
    self.assertEmpty(found['environment'])

  def test_a_cluster_that_lets_everybody_in_is_refused(self):
    found = connect(RAY_AUTH_MODE='disabled')
    self.assertRegex(
        found['error'],
        'asks for a token, found one that lets everybody in.*insecure_cluster',
    )
    self.assertNotIn('without_token', found)
    self.assertEmpty(found['left'])

  def test_unless_it_is_said_to_be_insecure(self):
    found = connect(insecure='insecure', RAY_AUTH_MODE='disabled')
    self.assertNotIn('error', found)
    self.assertEqual(found['without_token'], 'OK')

  def test_no_cluster(self):
    found = connect('auto')
    self.assertRegex(
        found['error'], 'Expected a Ray cluster at auto, found none.*ray start'
    )

  def test_no_client_server(self):
    with mock.patch.object(ray_connection, '_REACH_SECONDS', 0.5):
      with self.assertRaisesRegex(
          errors.WorkerError, 'Ray cluster at ray://.*, found none.*ray start'
      ):
        with ray_connection.connect(
            'ray://127.0.0.1:1', insecure_cluster=False
        ):
          self.fail('Nobody listens there.')

  def test_encrypted(self):
    folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
    write_certificate(folder)
    found = connect(
        RAY_USE_TLS='1',
        RAY_TLS_SERVER_CERT=str(folder / 'certificate'),
        RAY_TLS_SERVER_KEY=str(folder / 'key'),
        RAY_TLS_CA_CERT=str(folder / 'certificate'),
    )
    self.assertNotIn('error', found)
    # Without encryption, nobody answers.
    self.assertEqual(found['without_token'], 'UNAVAILABLE')


if __name__ == '__main__':
  absltest.main()
