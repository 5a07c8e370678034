"""A Whisper model of the real format with random weights: it hears nothing right, but loads and runs like one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2.specs import WhisperSpec
from faster_whisper.tokenizer import _LANGUAGE_CODES
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

LANGUAGES = [code for code in _LANGUAGE_CODES if code != "yue"]  # which came with a later vocabulary
WIDTH, LAYERS, HEADS, MELS = 16, 2, 2, 80
WORDS = 50_257  # of the real vocabulary; the special tokens follow


def make_model(folder: Path, *, multilingual: bool = True) -> Path:
    """Write model.bin, config.json, vocabulary.json and tokenizer.json (9 MB)."""
    tokens = _tokens(multilingual=multilingual)
    spec = WhisperSpec(LAYERS, HEADS, LAYERS, HEADS)
    _fill(spec, len(tokens), np.random.default_rng(1))
    spec.config.lang_ids = [tokens.index(f"<|{code}|>") for code in LANGUAGES]
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [], [WORDS]
    spec.config.alignment_heads = [(1, 0), (1, 1)]
    spec.register_vocabulary(tokens)
    spec.validate()
    folder.mkdir()
    spec.save(str(folder))
    tokenizer = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.add_special_tokens([token for token in tokens if token.startswith("<|")])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def _tokens(*, multilingual: bool) -> list[str]:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    # "Ġ" is the space before a word. The library takes a model for multilingual by its empty token.
    words = [*letters, *(f"Ġw{number}" for number in range(len(letters), WORDS - 1)), "" if multilingual else "Ġlast"]
    special = ["endoftext", "startoftranscript", *LANGUAGES, "translate", "transcribe", "startoflm", "startofprev"]
    special += ["nospeech", "notimestamps", *(f"{step * 0.02:.2f}" for step in range(1_501))]
    return words + [f"<|{name}|>" for name in special]


def _fill(spec: WhisperSpec, vocabulary: int, random: np.random.Generator) -> None:
    def weights(*shape: int) -> np.ndarray:
        return random.normal(0, 0.5, shape).astype(np.float32)

    def linear(target: Any, outputs: int, inputs: int) -> None:
        target.weight, target.bias = weights(outputs, inputs), np.zeros(outputs, np.float32)

    def norm(target: Any) -> None:
        target.gamma, target.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)

    def attention(target: Any, *outputs: int) -> None:
        norm(target.layer_norm)
        for part, size in zip(target.linear, outputs, strict=True):
            linear(part, size, WIDTH)

    encoder, decoder = spec.encoder, spec.decoder
    for conv, inputs in ((encoder.conv1, MELS), (encoder.conv2, WIDTH)):
        conv.weight, conv.bias = weights(WIDTH, inputs, 3), np.zeros(WIDTH, np.float32)
    encoder.position_encodings.encodings = weights(1_500, WIDTH)
    decoder.position_encodings.encodings = weights(448, WIDTH)
    decoder.embeddings.weight = weights(vocabulary, WIDTH)
    decoder.projection.weight = decoder.embeddings.weight
    # Chance alone would talk without end, and of times beyond the recording: from the 12th token on all it knows is
    # that the text ends. Three times as long as the other vectors, so that none of 50,000 is nearer by chance.
    end = decoder.embeddings.weight[WORDS]
    end *= 6.0 / np.linalg.norm(end)
    decoder.position_encodings.encodings[12:] = 10 * end
    decoder.projection.bias = np.zeros(vocabulary, np.float32)
    decoder.projection.bias[WORDS] = -6.0
    decoder.projection.bias[-1_500:] = -100.0
    for part in (encoder, decoder):
        norm(part.layer_norm)
        for layer in part.layer:
            attention(layer.self_attention, 3 * WIDTH, WIDTH)
            norm(layer.ffn.layer_norm)
            linear(layer.ffn.linear_0, 4 * WIDTH, WIDTH)
            linear(layer.ffn.linear_1, WIDTH, 4 * WIDTH)
    for layer in decoder.layer:
        attention(layer.attention, WIDTH, 2 * WIDTH, WIDTH)
