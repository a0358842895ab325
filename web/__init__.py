# SPDX-License-Identifier: Apache-2.0
"""Static pages served by the hub: everything a browser needs, with no outside address."""
