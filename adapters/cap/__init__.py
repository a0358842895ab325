# SPDX-License-Identifier: Apache-2.0
"""CAP 1.2 messages and their feed."""
