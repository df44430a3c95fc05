"""A tiny llama with random weights as a GGUF file: 2 layers, 64 wide, a vocabulary of bytes, and a chat template.

It says nothing that makes sense, but it says it by all the code that a real model goes through.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

WIDTH, HEADS, KEY_HEADS, LAYERS, INNER = 64, 4, 2, 2, 128
CONTEXT = 2048
CHAT = "{% for m in messages %}<|user|>{{ m['content'] }}{% endfor %}<|assistant|>"


def byte_letters() -> list[str]:
    """Give the letter that stands for each byte in the vocabularies of GPT-2."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def write_vocabulary(writer: gguf.GGUFWriter) -> int:
    """Write the tokens: bytes, four of control, and one merge, without which it would be no vocabulary."""
    controls = ["<|bos|>", "<|eos|>", "<|user|>", "<|assistant|>"]
    tokens = [*byte_letters(), *controls, "th"]
    kinds = [gguf.TokenType.NORMAL] * 256 + [gguf.TokenType.CONTROL] * 4 + [gguf.TokenType.NORMAL]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(257)
    writer.add_add_bos_token(True)
    writer.add_chat_template(CHAT)
    return len(tokens)


def write_weights(writer: gguf.GGUFWriter, tokens: int) -> None:
    """Write random weights, the same each time."""
    random = np.random.default_rng(0)

    def add(name: str, *shape: int) -> None:
        values = np.ones(shape) if len(shape) == 1 else random.standard_normal(shape) * 0.08
        writer.add_tensor(name, values.astype(np.float32))

    keys = WIDTH // HEADS * KEY_HEADS
    add("token_embd.weight", tokens, WIDTH)
    add("output_norm.weight", WIDTH)
    add("output.weight", tokens, WIDTH)
    for layer in range(LAYERS):
        for name, *shape in [
            ("attn_norm", WIDTH),
            ("ffn_norm", WIDTH),
            ("attn_q", WIDTH, WIDTH),
            ("attn_k", keys, WIDTH),
            ("attn_v", keys, WIDTH),
            ("attn_output", WIDTH, WIDTH),
            ("ffn_gate", INNER, WIDTH),
            ("ffn_up", INNER, WIDTH),
            ("ffn_down", WIDTH, INNER),
        ]:
            add(f"blk.{layer}.{name}.weight", *shape)


def write_tiny_gguf(path: Path) -> Path:
    """Write the model, and give where."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    tokens = write_vocabulary(writer)
    writer.add_vocab_size(tokens)
    write_weights(writer, tokens)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
