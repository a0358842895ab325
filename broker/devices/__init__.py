# SPDX-License-Identifier: Apache-2.0
"""Devices: what they are, how they are registered, what is expected of them."""
