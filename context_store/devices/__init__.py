# SPDX-License-Identifier: Apache-2.0
"""The device registry, and how devices and their stations are."""
