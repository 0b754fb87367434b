# SPDX-License-Identifier: Apache-2.0
"""Where the bytes of a cached token lie, from the layout descriptions alone."""
import numpy as np

from .vector import Fault

DATA, SCALES = 448 + 2 * 64, 8
TOKEN = DATA + SCALES


def page_bytes(layout, block_size):
    if layout == "planar":
        return -(-block_size * TOKEN // 576) * 576
    return block_size * {"interleaved": TOKEN, "indexer-fp8": 128 + 4, "indexer-mxfp4": 64 + 4}[layout]


def check_page(tensor, layout, block_size):
    if tensor.layout != layout:
        raise Fault(f"{tensor.name} has layout {tensor.layout}, the parameters imply {layout}")
    if len(tensor.shape) != 2 or tensor.shape[1] != page_bytes(layout, block_size):
        raise Fault(f"{tensor.name} has shape {tensor.shape}; a {layout} page of {block_size} tokens "
                    f"has {page_bytes(layout, block_size)} bytes")


def main_offsets(layout, block_size, j):
    """Offsets in a page of token j's 448 codes (its RoPE part follows) and of its 8 scale bytes."""
    if layout == "planar":
        return j * DATA, block_size * DATA + j * SCALES
    if layout == "interleaved":
        return j * TOKEN, j * TOKEN + DATA
    raise Fault(f"layout {layout} is unknown")


def indexer_offsets(code_bytes, block_size, j):
    """Offsets in a page of token j's codes and of its 4 bytes of scales."""
    return j * code_bytes, block_size * code_bytes + 4 * j


def split(slot, block_size):
    slot = np.asarray(slot, np.int64)
    return slot // block_size, slot % block_size
