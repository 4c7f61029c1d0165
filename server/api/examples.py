"""A request and its answer for each task, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

EXAMPLES: dict[str, tuple[Json, Json]] = {
    "qa": (
        {
            "story": ["Mary took the milk.", "John went to the garden.", "Mary went to the kitchen."],
            "question": "Where is the milk?",
        },
        {
            "answer": "kitchen",
            "score": 0.98,
            "alternatives": [{"answer": "kitchen", "score": 0.98}, {"answer": "garden", "score": 0.01}],
            "hops": [{"answer": "garden", "score": 0.41}, {"answer": "kitchen", "score": 0.98}],
            "evidence": [
                {"index": 2, "text": "Mary went to the kitchen.", "weight": 0.95},
                {"index": 0, "text": "Mary took the milk.", "weight": 0.9},
            ],
            "attention": {
                "kind": "episodic_gate",
                "normalized_over": "fact",
                "axes": [
                    {"name": "hop", "labels": ["1", "2"]},
                    {
                        "name": "fact",
                        "labels": [
                            "Mary took the milk.",
                            "John went to the garden.",
                            "Mary went to the kitchen.",
                        ],
                    },
                ],
                "weights": [[0.9, 0.04, 0.06], [0.03, 0.02, 0.95]],
                "offset": 0,
            },
            "warnings": [],
            "model": {"name": "dmn-plus-babi", "version": 1},
            "timing_ms": {"queue": 0.05, "compute": 0.6, "total": 0.9},
            "batch_size": 1,
        },
    ),
    "complete": (
        {"text": "Ada Byron sailed to Lisbon. In Lisbon, Ada", "max_words": 1, "top_k": 2},
        {
            "text": " Byron",
            "score": 0.41,
            "words": [
                {
                    "word": "Byron",
                    "text": " Byron",
                    "probability": 0.41,
                    "from_pointer": 0.4,
                    "from_vocabulary": 0.01,
                    "sentinel_gate": 0.55,
                    "alternatives": [
                        {"word": "Byron", "probability": 0.41, "from_pointer": 0.4, "from_vocabulary": 0.01},
                        {"word": "was", "probability": 0.07, "from_pointer": 0.0, "from_vocabulary": 0.07},
                    ],
                    "attention": {
                        "kind": "pointer_mixture",
                        "normalized_over": "window",
                        "axes": [{"name": "window", "labels": ["Ada", "Byron", "sailed", "<sentinel>"]}],
                        "weights": [0.02, 0.4, 0.03, 0.55],
                        "offset": 1,
                    },
                }
            ],
            "state": "AAAA",
            "warnings": [],
            "model": {"name": "pointer-sentinel-wikitext", "version": 1},
            "timing_ms": {"queue": 0.05, "compute": 1.1, "total": 1.6},
            "batch_size": 1,
        },
    ),
    "compute": (
        {"operation": "add", "operands": ["1", "1"], "base": 2},
        {
            "result": "10",
            "score": 0.99,
            "steps": 3,
            "attention": {
                "kind": "memory_activity",
                "normalized_over": None,
                "axes": [
                    {"name": "step", "labels": ["1", "2", "3"]},
                    {"name": "cell", "labels": ["1", "+", "1"]},
                ],
                "weights": [[0.4, 0.3, 0.5], [0.6, 0.2, 0.1], [0.3, 0.2, 0.1]],
                "offset": 0,
            },
            "warnings": [],
            "model": {"name": "neural-gpu-add", "version": 1},
            "timing_ms": {"queue": 0.05, "compute": 0.6, "total": 0.9},
            "batch_size": 1,
        },
    ),
    "point": (
        {"task": "convex_hull", "points": [[0, 0], [4, 0], [2, 1], [1, 3]], "beam_size": 4},
        {
            "indices": [0, 1, 3],
            "valid": True,
            "score": 0.99,
            "measures": {"area_coverage": 1.0},
            "attention": {
                "kind": "pointer",
                "normalized_over": "point",
                "axes": [
                    {"name": "step", "labels": ["1", "2", "3", "4"]},
                    {"name": "point", "labels": ["point 0", "point 1", "point 2", "point 3", "stop"]},
                ],
                "weights": [
                    [0.99, 0.01, 0.0, 0.0, 0.0],
                    [0.0, 1.0, 0.0, 0.0, 0.0],
                    [0.0, 0.0, 0.0, 1.0, 0.0],
                    [0.0, 0.0, 0.0, 0.0, 1.0],
                ],
                "offset": 0,
            },
            "warnings": [],
            "model": {"name": "pointer-convex-hull", "version": 1},
            "timing_ms": {"queue": 0.2, "compute": 1.1, "total": 1.6},
            "batch_size": 1,
        },
    ),
    "read": (
        {
            "document": "The lobster is blue. Cooks know the crab as well.",
            "question": "A @placeholder turns red when it is cooked.",
            "candidates": ["lobster", "crab"],
        },
        {
            "answer": "lobster",
            "score": 0.93,
            "candidates": [
                {"text": "lobster", "score": 0.93, "positions": [{"start": 4, "end": 11, "token": 1}]},
                {"text": "crab", "score": 0.07, "positions": [{"start": 36, "end": 40, "token": 7}]},
            ],
            "attention": {
                "kind": "token",
                "normalized_over": "token",
                "axes": [
                    {"name": "answer", "labels": ["lobster"]},
                    {
                        "name": "token",
                        "labels": [
                            "The",
                            "lobster",
                            "is",
                            "blue",
                            "Cooks",
                            "know",
                            "the",
                            "crab",
                            "as",
                            "well",
                        ],
                    },
                ],
                "weights": [[0.01, 0.78, 0.01, 0.04, 0.05, 0.01, 0.01, 0.06, 0.01, 0.02]],
                "offset": 0,
            },
            "warnings": [],
            "model": {"name": "reader-wikitext", "version": 1},
            "timing_ms": {"queue": 0.05, "compute": 2.1, "total": 2.5},
            "batch_size": 1,
        },
    ),
    "translate": (
        {"text": "A dog runs.", "source": "en", "target": "fr", "beam_size": 4},
        {
            "translations": [
                {
                    "text": "Un chien court.",
                    "score": -0.21,
                    "finish_reason": "end",
                    "source_tokens": ["A", "dog", "runs", ".", "[END]"],
                    "tokens": ["Un", "chien", "court", "."],
                    "attention": {
                        "kind": "alignment",
                        "normalized_over": "source_token",
                        "axes": [
                            {"name": "step", "labels": ["Un", "chien", "court", "."]},
                            {"name": "source_token", "labels": ["A", "dog", "runs", ".", "[END]"]},
                        ],
                        "weights": [
                            [0.92, 0.06, 0.01, 0.0, 0.01],
                            [0.03, 0.94, 0.02, 0.0, 0.01],
                            [0.0, 0.05, 0.93, 0.01, 0.01],
                            [0.0, 0.0, 0.02, 0.95, 0.03],
                        ],
                        "offset": 0,
                    },
                    "sentences": [
                        {
                            "start": 0,
                            "end": 11,
                            "text_start": 0,
                            "text_end": 15,
                            "source_tokens": [0, 5],
                            "tokens": [0, 4],
                            "score": -0.21,
                            "finish_reason": "end",
                            "begins_after": "sentence",
                        }
                    ],
                }
            ],
            "warnings": [],
            "model": {"name": "translate-en-fr-attention", "version": 1},
            "timing_ms": {"queue": 0.1, "compute": 4.2, "total": 4.6},
            "batch_size": 1,
        },
    ),
}
"""For each task a request and the form of its answer; the numbers are made up."""
