# SPDX-License-Identifier: Apache-2.0
"""Contacts, and what each of them is told."""
