"""Language models behind OpenAI's routes `/v1/completions` and `/v1/chat/completions`, so that existing clients work."""
