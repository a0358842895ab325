# SPDX-License-Identifier: Apache-2.0
"""Who may pass, and who it was."""
