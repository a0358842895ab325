# SPDX-License-Identifier: Apache-2.0
"""Devices: registering, serving, watching them."""
