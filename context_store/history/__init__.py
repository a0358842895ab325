# SPDX-License-Identifier: Apache-2.0
"""History: instances of attributes, rollups of them, and how long they are kept."""
