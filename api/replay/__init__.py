# SPDX-License-Identifier: Apache-2.0
"""Replaying real floods: simulated devices that publish recorded hydrographs over MQTT, as real devices would."""
