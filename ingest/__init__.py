# SPDX-License-Identifier: Apache-2.0
"""MQTT readings, from message to committed reading or quarantine."""
