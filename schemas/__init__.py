# SPDX-License-Identifier: Apache-2.0
"""The vocabulary: NGSI-LD terms, bundled JSON-LD contexts, the named river stages. Knows nothing of ours."""
