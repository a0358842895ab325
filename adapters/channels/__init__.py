# SPDX-License-Identifier: Apache-2.0
"""The ways out to people and systems."""
