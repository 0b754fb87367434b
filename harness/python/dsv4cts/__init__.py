# SPDX-License-Identifier: Apache-2.0
"""Ports of the ops in Python: Triton, CuTeDSL, TileLang, FlyDSL, torch, numpy.

    import torch
    from dsv4cts import plugin, port

    plugin(name="acme", version="1.0", device="cuda")

    @port("mtp_concat_aux")
    def concat_aux(first, second, third, out):
        torch.cat([first, second, third], dim=1, out=out)

`dsv4cts check --impl acme.py` or `python -m dsv4cts acme.py` replays the cases against it. A port
is called with the tensors and parameters that it names; it writes into its outputs and returns None.
"""
from .abi import VERSION as __version__
from .ports import Refused, plugin, port
from .tensor import Tensor

__all__ = ["Refused", "Tensor", "plugin", "port"]
