# SPDX-License-Identifier: Apache-2.0
"""Real servers for tests: a PostgreSQL cluster, a mosquitto, an HTTP receiver. Used by the fixtures of conftest.py."""
