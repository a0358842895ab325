# SPDX-License-Identifier: Apache-2.0
"""What every HTTP request and answer has in common."""
