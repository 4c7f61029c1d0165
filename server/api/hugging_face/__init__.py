"""The Hugging Face inference form: ``POST /hf/{model}``, for clients that are already written."""
